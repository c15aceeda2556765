"""Intervals: the buckets of time that a timeframe is cut into.

Buckets follow the calendar of the query's zone and are clipped to the timeframe. `every_N_units` counts from the beginning of the
unit that the timeframe starts in, so `every_1_days` is `daily`.
"""

import re
from dataclasses import dataclass
from datetime import tzinfo
from itertools import pairwise

from headwater.query.calendar import boundaries
from headwater.query.errors import QueryError, shown
from headwater.query.timeframe import Timeframe

MAX_BUCKETS = 9_000
_NAMES = {
    "minutely": "minute",
    "hourly": "hour",
    "daily": "day",
    "weekly": "week",
    "monthly": "month",
    "yearly": "year",
}
_EVERY = re.compile(r"every_([0-9]{1,6})_(minute|hour|day|week|month|year)s?")


@dataclass(frozen=True)
class Interval:
    """The length of a bucket: so many units."""

    unit: str
    number: int


def parse_interval(value: object) -> Interval:
    """The interval that a parameter names. Raises QueryError."""
    if isinstance(value, str):
        if value in _NAMES:
            return Interval(_NAMES[value], 1)
        match = _EVERY.fullmatch(value)
        if match and int(match[1]) > 0:
            return Interval(match[2], int(match[1]))
    raise QueryError(
        "IntervalDefinitionError",
        f"interval {shown(value)} is not an interval: give one of {', '.join(_NAMES)}, "
        "or every_N_units such as 'every_15_minutes'.",
    )


def buckets(timeframe: Timeframe, interval: Interval, zone: tzinfo) -> list[Timeframe]:
    """The buckets of a timeframe, ascending, without gaps; the first and the last may be clipped.

    Raises QueryError where they are more than MAX_BUCKETS.
    """
    edges = [timeframe.start]
    for boundary in boundaries(timeframe.start, interval.unit, interval.number, zone):
        if boundary >= timeframe.end:
            break
        if boundary > timeframe.start:
            edges.append(boundary)
        if len(edges) > MAX_BUCKETS:
            raise QueryError(
                "IntervalDefinitionError",
                f"the timeframe has more than {MAX_BUCKETS} intervals: choose a longer interval or a shorter timeframe.",
            )
    edges.append(timeframe.end)
    return [Timeframe(start, end) for start, end in pairwise(edges)]
