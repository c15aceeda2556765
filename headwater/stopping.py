"""Ending on time: a process that was told to stop ends within STOP_SECONDS, whatever it waits for, and says what it left undone."""

import os
import threading
from collections.abc import Callable, Mapping

import structlog

STOP_SECONDS = 18.0  # of the twenty that whoever tells it waits before killing
UNDONE = 75  # exit code, EX_TEMPFAIL of sysexits.h: ended as told, and not all was done; nothing is lost

log = structlog.get_logger("headwater.stopping")


class Deadline:
    """Ends this process when stopping takes too long. `undone` gives the words of the line in the log; it must not block."""

    def __init__(self, undone: Callable[[], Mapping[str, object]], seconds: float = STOP_SECONDS) -> None:
        self._undone = undone
        self._seconds = seconds
        self._timer: threading.Timer | None = None

    def begin(self) -> None:
        """It was told to stop: the time runs. A second call changes nothing; for signal handlers too."""
        if self._timer is None:
            self._timer = threading.Timer(self._seconds, self._end)
            self._timer.daemon = True
            self._timer.start()

    def _end(self) -> None:
        end_undone(seconds=self._seconds, **self._undone())


def end_stranded(reason: str) -> None:
    """End this process now, with 1 and a line that says why; a client that waits for Kafka for ever does not hold it up."""
    log.error("ended, to be started again", error=reason)
    os._exit(1)


def end_undone(**what: object) -> None:
    """End this process now, with UNDONE and a line that says what it did not do; threads that wait for Kafka do not hold it up."""
    log.warning("stopped before all was done", **what)
    os._exit(UNDONE)
