"""When a service stops rather than give up everything: limits in the style of Sentry Arroyo's. Pure: no clock.

Counted are only faults of the service's own: an add-on that breaks, a table that refuses what it should take, a schema that it does
not know. What a sender does wrong (garbage, names against the rules, an add-on that there is not) counts neither way, so nobody
can stop the service by it. And while any project's records come through, the service works: one project that has found a
fault of ours does not stop the others; its letters can be replayed when the fault is mended.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from headwater.metrics import dead_letter_limit_reached

STRETCH = 1_000  # records of a project over which, and over the stretch before it, its ratio is taken
HEARD_SECONDS = 30.0  # for so long after a record came through its project is taken to work
FEW = 10  # failures in a row that say nothing of a project
STOPPED_SECONDS = (
    240.0  # how long a service that stops is there, not ready, until it ends, is started again and tries anew
)
HOLD_SECONDS = 5.0  # how long failures in a row may stay unsettled while it is open whether they reach the limit

Counts = Mapping[str | None, int]  # records by project; None for those of which only we know nothing: an unknown schema

log = structlog.get_logger("headwater.dead_letters")


class LimitReachedError(Exception):
    """The service must not give up more; the message says why."""


@dataclass(slots=True)
class _Project:
    """What became of one project's records."""

    run: int = 0  # own faults since anything came through
    good: int = 0  # in this stretch and in the one before it
    bad: int = 0
    good_before: int = 0
    bad_before: int = 0
    worked_at: float = float("-inf")

    def add(self, good: int, bad: int, now: float) -> None:
        self.run = 0 if good else self.run + bad
        if good:
            self.worked_at = now
        self.good += good
        self.bad += bad
        if self.good + self.bad >= STRETCH:
            self.good_before, self.bad_before, self.good, self.bad = self.good, self.bad, 0, 0

    @property
    def ratio(self) -> float:
        """The share of own faults; 0 where there are too few records to tell."""
        total = self.good + self.bad + self.good_before + self.bad_before
        return (self.bad + self.bad_before) / total if total >= STRETCH else 0.0


def say_limit_reached(stage: str, reason: str) -> None:
    """Say that a service stops."""
    dead_letter_limit_reached.labels(stage).set(1)
    log.error(
        "the service stops rather than give up everything; mend it, what it has not committed is read again",
        stage=stage,
        reason=reason,
    )


class Limit:
    """Judges one service. `max_ratio` of 1 and `max_run` of 0 are no limits. Times are seconds of one clock."""

    def __init__(self, max_ratio: float, max_run: int) -> None:
        self._max_ratio = max_ratio
        self._max_run = max_run
        self._projects: dict[str | None, _Project] = {}
        self._held_since: float | None = None
        self.reached = ""  # why the service has to stop

    def add(self, good: Counts, bad: Counts, now: float) -> None:
        """A batch has so many records that come through, and so many that fail by a fault of ours. Raises LimitReachedError.

        After that the batch must not be given up. Records in a batch are taken to come at once: where one of a project comes
        through, its failures are none in a row.
        """
        if self.reached:
            raise LimitReachedError(self.reached)
        total = sum(good.values())
        if None in bad or None in self._projects:
            good = {**good, None: total}
        for project in good.keys() | bad.keys():
            self._of(project).add(good.get(project, 0), bad.get(project, 0), now)
        if bad:
            self.reached = self._reason(now)
        if self.reached:
            raise LimitReachedError(self.reached)

    @property
    def problems(self) -> list[str]:
        """Why the service does not work, where it has to stop."""
        return [f"too much would be given up: {self.reached}"] if self.reached else []

    def holds(self, now: float) -> bool:
        """Whether what was given up lately should wait: nothing but failures came, and soon it will be known whether too many did."""
        if self._max_run and any(one.run for one in self._projects.values()) and not self._works(now):
            if self._held_since is None:
                self._held_since = now
            if now - self._held_since < HOLD_SECONDS:
                return True
        self._held_since = None
        return False

    def _reason(self, now: float) -> str:
        for project, one in self._projects.items():
            why = ""
            if self._max_run and one.run >= self._max_run:
                why = f"{one.run} records in a row failed by a fault of ours; HEADWATER_DEAD_LETTER_MAX_RUN is {self._max_run}"
            elif one.ratio > self._max_ratio:
                why = (
                    f"{one.ratio:.0%} of the last records failed by a fault of ours; HEADWATER_DEAD_LETTER_MAX_RATIO is "
                    f"{self._max_ratio:g}"
                )
            if why and (project is None or not self._works(now)):
                return why
        return ""

    def _works(self, now: float) -> bool:
        """Whether records of any project come through."""
        return any(
            project is not None
            and now - one.worked_at <= HEARD_SECONDS
            and one.run <= FEW
            and one.ratio <= self._max_ratio
            for project, one in self._projects.items()
        )

    def _of(self, project: str | None) -> _Project:
        found = self._projects.get(project)
        if found is None:
            found = self._projects[project] = _Project()
        return found
