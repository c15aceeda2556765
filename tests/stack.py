"""A whole local stack, started and used through its command line, that tests share."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import headwater
from headwater.client.client import Client
from headwater.settings import PREFIX

START_LIMIT = 240.0


@dataclass
class RunningStack:
    """A stack that is ready; `status` is what `headwater status --json` says."""

    data_dir: Path
    status: dict[str, Any] = field(default_factory=dict)

    def run(self, *arguments: str, code: int | None = 0, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        """A `headwater` command in this stack's data directory; fails the test where it ends with another exit code."""
        done = subprocess.run(
            self.command(*arguments),
            input=stdin,
            env=environment(),
            capture_output=True,
            timeout=START_LIMIT,
            check=False,
        )
        text = subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
        assert code is None or text.returncode == code, text.stdout + text.stderr
        return text

    def command(self, *arguments: str) -> list[str]:
        """The command line of `run`."""
        return [sys.executable, "-m", "headwater.cli", *arguments, "--data-dir", str(self.data_dir)]

    def client(self, **options: Any) -> Client:
        """A client of the stack's project."""
        return headwater.connect(data_dir=self.data_dir, **options)


@contextmanager
def running_stack(folder: Path) -> Iterator[RunningStack]:
    """`headwater up --detach`, and `headwater down` at the end."""
    stack = RunningStack(folder)
    try:
        stack.run("up", "--detach")
        stack.status = json.loads(stack.run("status", "--json").stdout)
        yield stack
    finally:
        stack.run("down")


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack that the tests of the package share whose conftest.py has this; each takes collections of its own.

    Not of the whole session: a stack that has nothing to do takes a sixth of a processor all the same.
    """
    with running_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


def environment() -> dict[str, str]:
    """The process environment without the developer's settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
