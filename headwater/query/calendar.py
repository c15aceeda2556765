"""Calendar units on the clocks of a zone: where one begins, and where the next one does."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta, tzinfo
from typing import Literal

from headwater.query.zones import from_local, to_local

Unit = Literal["minute", "hour", "day", "week", "month", "year"]
_FIXED = {"minute": 60_000, "hour": 3_600_000}


def floor(instant: int, unit: str, zone: tzinfo) -> int:
    """The beginning of the unit that an instant is in. Weeks begin on Sunday."""
    local = to_local(instant, zone)
    if unit == "minute":
        return from_local(local.replace(second=0, microsecond=0))
    if unit == "hour":
        return from_local(local.replace(minute=0, second=0, microsecond=0))
    return _midnight(_first_day(local.date(), unit), zone)


def back(boundary: int, unit: str, number: int, zone: tzinfo) -> int:
    """The boundary `number` units before a boundary. Raises OverflowError or ValueError before the year 1."""
    if unit in _FIXED:
        return floor(boundary - number * _FIXED[unit], unit, zone)
    return _midnight(_shifted(to_local(boundary, zone).date(), unit, -number), zone)


def boundaries(start: int, unit: str, number: int, zone: tzinfo) -> Iterator[int]:
    """The beginnings of every `number`-th unit, ascending, from the beginning of the unit that `start` is in.

    Minutes and hours are counted as they pass, days and longer units on the calendar. Ends with the year 9999.
    """
    boundary = floor(start, unit, zone)
    yield boundary
    if unit in _FIXED:
        step = number * _FIXED[unit]
        while True:
            following, ahead = boundary, 0
            while following <= boundary:  # a clock set back makes one hour longer than an hour
                ahead += step if ahead == 0 else _FIXED[unit]
                following = floor(boundary + ahead, unit, zone)
            boundary = following
            yield boundary
    first = to_local(boundary, zone).date()
    count = 0
    while True:
        count += number
        try:
            following = _midnight(_shifted(first, unit, count), zone)
        except (OverflowError, ValueError):
            return
        if following > boundary:  # a day that a zone left out has no length
            boundary = following
            yield boundary


def _first_day(day: date, unit: str) -> date:
    if unit == "day":
        return day
    if unit == "week":
        return day - timedelta(days=day.isoweekday() % 7)
    return day.replace(day=1) if unit == "month" else day.replace(month=1, day=1)


def _shifted(day: date, unit: str, number: int) -> date:
    """The first day of the unit that is `number` units after the one that begins on `day`."""
    if unit in ("day", "week"):
        return day + timedelta(days=number * (7 if unit == "week" else 1))
    months = day.year * 12 + day.month - 1 + number * (12 if unit == "year" else 1)
    return date(months // 12, months % 12 + 1, 1)


def _midnight(day: date, zone: tzinfo) -> int:
    return from_local(datetime(day.year, day.month, day.day, tzinfo=zone))
