"""Becomes the given command, as a process that the kernel kills when the process that started it dies.

Run as a script, with nothing but the standard library: `python -I -S launch.py PARENT_PID COMMAND...`. PR_SET_PDEATHSIG
(prctl(2)) outlives exec, so the command itself needs to know nothing. Where there is no prctl the next `headwater up` ends
what a killed supervisor left.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Replaces this process; returns only by raising OSError."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel knew of our wish
            sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 - the supervisor's own list of commands, no shell


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
