"""What is known of the stack that runs in a data directory: read by every command and by `headwater.connect()`.

The supervisor holds a lock on `run/` for as long as it lives and rewrites `run/state.json` whenever something changes. The
lock is the kernel's and goes with the process, so a state file without it is what a killed supervisor, or a machine that
was reset, has left. Standard library only: the light client install reads it too.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from headwater.atomic_file import replace_file

READER_SECONDS = 0.5
STARTING_SECONDS = 2.0


class AlreadyRunningError(Exception):
    """Another supervisor holds the data directory."""


@dataclass(frozen=True)
class ServiceState:
    """One child of the supervisor."""

    pid: int
    ready: bool
    restarts: int  # how often it was started again because it had ended
    port: int
    created: float  # creation time of the process, seconds since 1970: tells it from a later one with the same id


@dataclass(frozen=True)
class State:
    """A local stack. What belongs to the project is None until the project is made, at the first start."""

    supervisor_pid: int
    supervisor_created: float
    url: str
    kafka: str  # bootstrap servers
    clickhouse: str  # URL with user and password
    secret: str = field(repr=False)
    ready: bool = False  # all services are
    started: bool = False  # all services have been ready once
    project_id: str | None = None
    database: str | None = None
    master_key: str | None = field(default=None, repr=False)
    write_key: str | None = field(default=None, repr=False)
    read_key: str | None = field(default=None, repr=False)
    services: Mapping[str, ServiceState] = field(default_factory=dict)
    failure: str | None = None  # why the supervisor gave up, in a state that one has left


def run_folder(data_dir: Path) -> Path:
    """Where the state of the running stack is."""
    return data_dir / "run"


def read_state(data_dir: Path) -> State | None:
    """The stack that runs in `data_dir`; None when none does.

    Blocks only for the moment in which a supervisor has just started, or is about to end, and has no state file.
    """
    deadline = time.monotonic() + STARTING_SECONDS
    while is_running(data_dir):
        state = last_state(data_dir)
        if state is not None or time.monotonic() > deadline:
            return state
        time.sleep(0.02)
    return None


def last_state(data_dir: Path) -> State | None:
    """The state file, whether or not its supervisor still runs; None when there is none that this version can read."""
    try:
        content: dict[str, Any] = json.loads((run_folder(data_dir) / "state.json").read_bytes())
        services = {name: ServiceState(**service) for name, service in content.pop("services").items()}
        known = {member.name for member in fields(State)}
        return State(**{name: value for name, value in content.items() if name in known}, services=services)
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
        return None


def write_state(data_dir: Path, state: State) -> None:
    """Replace the state file in one step; only this user can read it."""
    write_private(run_folder(data_dir) / "state.json", asdict(state))


def remove_state(data_dir: Path) -> None:
    """Remove the state file, if there is one."""
    with suppress(FileNotFoundError, NotADirectoryError):
        (run_folder(data_dir) / "state.json").unlink()


def write_private(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON in one step to a file that only this user can read."""
    replace_file(path, json.dumps(content, indent=1).encode(), 0o600)


def is_running(data_dir: Path) -> bool:
    """Whether a supervisor holds the data directory. Raises PermissionError where it is another user's."""
    try:
        descriptor = os.open(run_folder(data_dir), os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def hold(data_dir: Path) -> Iterator[None]:
    """Hold the data directory as its supervisor to the end of the context.

    Raises AlreadyRunningError when another process holds it.
    """
    folder = run_folder(data_dir)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        deadline = time.monotonic() + READER_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:  # no reader that looks whether somebody holds it takes so long
                    raise AlreadyRunningError(f"a stack runs in {data_dir} already") from None
                time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)
