"""How much a project may send: a bucket of events and one of bytes for each project that has a limit, in each collector."""

import math
import time
from collections.abc import Callable, Sequence

from collector.errors import ApiError
from collector.records import Record
from headwater import metrics
from headwater.control import ControlPlane

BURST_SECONDS = 5.0  # a bucket holds as much as its rate gives in so long


class Bucket:
    """Fills at `rate` a second up to BURST_SECONDS of it. What is taken may be more than it holds: then it is owed.

    So a request is never too large to pass at all, and after a large one the next waits for longer.
    """

    __slots__ = ("_level", "_seen", "rate")

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self._level = rate * BURST_SECONDS
        self._seen = now

    def wait(self, now: float) -> float:
        """The seconds until something may be taken; 0 where it may now."""
        self._level = min(self.rate * BURST_SECONDS, self._level + (now - self._seen) * self.rate)
        self._seen = now
        return max(0.0, -self._level / self.rate)

    def take(self, amount: float) -> None:
        """Take out of it, once `wait` has said 0."""
        self._level -= amount


class Rates:
    """The limits of all projects, from their settings. For one event loop."""

    def __init__(self, plane: ControlPlane, clock: Callable[[], float] = time.monotonic) -> None:
        self._plane = plane
        self._clock = clock
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def take(self, project_id: str, records: Sequence[Record]) -> None:
        """Count records against the project's limits. Raises ApiError (429, with Retry-After) where it has sent too much, and
        counts nothing then."""
        project = self._plane.project(project_id)
        if project is None:
            return
        settings = project.settings
        if settings.limits_events_per_second is None and settings.limits_bytes_per_second is None:
            return  # as nearly all
        asked = (
            ("events", settings.limits_events_per_second, len),
            ("bytes", settings.limits_bytes_per_second, _size),
        )
        now, taken = self._clock(), []
        for unit, rate, amount in asked:
            if rate is None:
                continue
            bucket = self._buckets.get((project_id, unit))
            if bucket is None or bucket.rate != rate:
                bucket = self._buckets[project_id, unit] = Bucket(rate, now)
            if wait := bucket.wait(now):
                metrics.requests_limited.labels(unit).inc()
                raise _too_many(unit, rate, wait)
            taken.append((bucket, amount))
        for bucket, amount in taken:
            bucket.take(amount(records))


def _size(records: Sequence[Record]) -> int:
    return sum(len(value) for _, value in records)


def _too_many(unit: str, rate: float, wait: float) -> ApiError:
    seconds = str(math.ceil(wait))
    return ApiError(
        429,
        "TooManyEventsError",
        f"The project may send {rate:,.0f} {unit} a second (its setting limits.{unit}_per_second), and has sent more. "
        f"Nothing of this request was stored: send it again in {seconds} s.",
        ((b"retry-after", seconds.encode()),),
    )
