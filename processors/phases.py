"""Where a processor's time goes, told by block and not by event."""

from time import perf_counter
from typing import Literal

from headwater.metrics import processor_phase_seconds

Phase = Literal["prepare", "survey", "produce", "count", "settle", "wait", "flush", "commit"]


class Phases:
    """Adds up the time of the event loop by what it went to; what is left over was waiting. For the event loop's thread."""

    def __init__(self) -> None:
        self._since = perf_counter()
        self._busy = 0.0

    def spent(self, phase: Phase, seconds: float) -> None:
        """The loop did this for so long, and nothing else."""
        self._busy += seconds
        processor_phase_seconds.labels(phase).inc(seconds)

    def beside(self, phase: Phase, seconds: float) -> None:
        """This took so long in another thread."""
        processor_phase_seconds.labels(phase).inc(seconds)

    def tell(self) -> None:
        """What of the time since the last call was not spent was waiting."""
        now = perf_counter()
        processor_phase_seconds.labels("wait").inc(max(0.0, now - self._since - self._busy))
        self._since, self._busy = now, 0.0
