"""`python -m collector.judge`: judges large bodies for a collector, which asks over standard input and reads standard output.

It ends with its standard input, and so with its collector, however that ends.
"""

import gc
import os
import pickle
import signal
import struct
import sys
from contextlib import suppress
from pathlib import Path
from time import process_time
from typing import BinaryIO

from collector.errors import ApiError
from collector.judging import Done

NICENESS = 10  # who waits for a small request comes first
LENGTH = struct.Struct("<I")


def main() -> None:
    """Answer until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C in a terminal is for the collector, which ends this one
    _step_back()
    # Millions of objects and no cycles: looking for some while a body is read would take most of the time.
    gc.disable()
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    while (task := _read(asked)) is not None:
        body = _read(asked)
        if body is None:
            return
        _answer(task, body, answers)
        answers.flush()
        gc.collect()


def _step_back() -> None:
    """Let all else on this machine go first.

    A nice value counts only within its session where Linux groups processes by it (sched(7), "The autogroup feature"): against Kafka, and
    clients, the session's own does. So this one has a session of its own.
    """
    os.nice(NICENESS)
    with suppress(OSError):  # it has one; no Linux, or no such groups
        os.setsid()
        Path("/proc/self/autogroup").write_text(str(NICENESS))


def _answer(task: bytes, body: bytes, answers: BinaryIO) -> None:
    """Write the parts that the task makes of the body, and Done."""
    began = process_time()
    refusal = None
    try:
        for part in pickle.loads(task).judge(body):  # noqa: S301 - the collector's own
            _write(answers, part)
    except ApiError as error:
        refusal = error
    _write(answers, Done(process_time() - began, refusal))


def _write(file: BinaryIO, part: object) -> None:
    text = pickle.dumps(part, pickle.HIGHEST_PROTOCOL)
    file.write(LENGTH.pack(len(text)) + text)


def _read(file: BinaryIO) -> bytes | None:
    """The next message; None at the end."""
    head = file.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    [size] = LENGTH.unpack(head)
    text = file.read(size)
    return text if len(text) == size else None


if __name__ == "__main__":
    main()
