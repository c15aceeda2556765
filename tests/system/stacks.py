"""Stacks of a test's own, through the command line: they are started, looked at and stopped as a user does it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from headwater.local.state import read_state

START_LIMIT = 240.0


class Stack:
    """The command line with one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "headwater.cli", *arguments, "--data-dir", str(self.data_dir)]

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        # Returns only when nobody holds the pipes: so it also shows that `up --detach` lets go of them.
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=START_LIMIT, check=False
        )
        assert done.returncode == code, done.stderr
        return done

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return answer

    def came_back(self, names: Iterable[str]) -> bool:
        """Whether these services were started again and are ready; all others are ready too."""
        state = read_state(self.data_dir)
        return state is not None and state.ready and all(state.services[name].restarts for name in names)

    def runs(self, word: str) -> bool:
        """Whether a process with this word in its command line was started for this data directory."""
        with suppress(psutil.NoSuchProcess):
            return any(word in process.cmdline() for process in self.processes())
        return False

    def processes(self) -> list[psutil.Process]:
        """All processes that were started for this data directory, whoever their parent is now."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if any(str(self.data_dir) in word for word in (*process.cmdline(), *process.environ().values())):
                    found.append(process)
        return [process for process in found if process.pid != os.getpid()]


@pytest.fixture
def new_stack(tmp_path: Path) -> Iterator[Callable[[str], Stack]]:
    """Makes stacks by their names; what still runs of them at the end is told to stop."""
    stacks: list[Stack] = []

    def make(name: str) -> Stack:
        stacks.append(Stack(tmp_path / name))
        return stacks[-1]

    yield make
    for stack in stacks:
        if stack.processes():
            stack.run("down")
