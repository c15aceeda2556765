"""One child process in a process group of its own, with its log, ended as a whole."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

LAUNCH = Path(__file__).with_name("launch.py")
LOG_MAX_BYTES = 10_000_000  # a longer log is set aside at the next start, and replaces the one set aside before
SAME_PROCESS_SECONDS = 1.0  # psutil's creation time of one process moves a little when the clock is set


class Child:
    """A running child. Start it in the main thread: the kernel ties its life to the thread that started it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log_file: Path) -> None:
        """Start it, standard output and error appended to `log_file`. Raises OSError when it cannot be started."""
        log_file.parent.mkdir(parents=True, exist_ok=True)
        if log_file.exists() and log_file.stat().st_size > LOG_MAX_BYTES:
            log_file.replace(log_file.with_name(log_file.name + ".1"))
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid()), *command],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.created = psutil.Process(self.pid).create_time()  # it is not reaped yet, so it is there

    def exit_code(self) -> int | None:
        """Its exit code once it has ended, negative for a signal; None while it runs. Never blocks."""
        return self._process.poll()

    def terminate(self) -> None:
        """Ask it to end: SIGTERM to the child itself, which ends what it started."""
        if self.exit_code() is None:
            self._process.terminate()

    def kill(self) -> None:
        """SIGKILL to the whole group, also when the child itself has ended; waits for the child."""
        kill_group(self.pid)
        self._process.wait()

    def stop(self, seconds: float) -> bool:
        """Ask it to end, wait up to `seconds`, then kill the group. Returns whether it ended by itself."""
        self.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        willing = self.exit_code() is not None
        self.kill()
        return willing


def kill_group(group: int) -> None:
    """SIGKILL to every process of a group, if there is any."""
    with suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
        os.killpg(group, signal.SIGKILL)


def is_running(pid: int, created: float) -> bool:
    """Whether the process that had this id at that time still runs: ids are used again, after a reset of the machine above all."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - created) < SAME_PROCESS_SECONDS
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_gone(pid: int, created: float, seconds: float) -> bool:
    """Wait until a process that may not be our child is gone. Returns False when it is still there after `seconds`."""
    deadline = time.monotonic() + seconds
    while is_running(pid, created):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
