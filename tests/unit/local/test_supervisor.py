"""The supervisor's own troubles: a stack goes on whatever becomes of its state file."""

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from headwater.control.model import Project
from headwater.local import supervisor
from headwater.local.services import BACKENDS, Service
from headwater.local.state import State, last_state, run_folder, write_state
from headwater.local.supervisor import Supervisor

PROJECT = Project("p" * 24, "main", 1, master_key="m", write_key="w", read_key="r")


class Disk:
    """Takes the state file, but for a few times, counted from the first that a service is running."""

    def __init__(self, failing: int, recovered: Callable[[], None]) -> None:
        self._failing = failing
        self._recovered = recovered

    def write(self, folder: Path, state: State) -> None:
        if not state.started:
            write_state(folder, state)
        elif self._failing:
            self._failing -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        else:
            write_state(folder, state)
            self._recovered()


def test_a_full_disk_does_not_end_the_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    service = Service("sleeper", BACKENDS, sleeper, os.environ, tmp_path / "log", 1, lambda: True)
    readies: list[State] = []
    written: list[State | None] = []

    def recovered() -> None:
        written.append(last_state(tmp_path))
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(supervisor, "write_state", Disk(3, recovered).write)
    run_folder(tmp_path).mkdir()
    state = State(os.getpid(), 0.0, "http://127.0.0.1:1", "k", "c", "s")
    Supervisor(tmp_path, [service], state, lambda: PROJECT, readies.append).run()
    assert [one.ready for one in readies] == [True], "it said that it is ready, once"
    assert written, "what could not be written was written as soon as it could be"
    assert written[0] is not None
    assert written[0].started


def test_a_stack_that_ends_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    service = Service("sleeper", BACKENDS, sleeper, os.environ, tmp_path / "log", 1, lambda: True)
    seen: list[bool] = []

    def write(folder: Path, state: State) -> None:
        seen.append(state.ready)

    monkeypatch.setattr(supervisor, "write_state", write)
    run_folder(tmp_path).mkdir()
    state = State(os.getpid(), 0.0, "http://127.0.0.1:1", "k", "c", "s")
    Supervisor(tmp_path, [service], state, lambda: PROJECT, lambda _: os.kill(os.getpid(), signal.SIGTERM)).run()
    assert seen[-2:] == [True, False]
