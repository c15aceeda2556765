"""An event's id and time where a field of its own says them, in files and in NDJSON."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from headwater.rules import Moment

SECONDS_UNTIL = (
    100_000_000_000  # a number for a time is in seconds below this (until the year 5138), else in milliseconds
)


EPOCH = re.compile(
    r"1[0-8]\d{8}(\d{3})?", re.ASCII
).fullmatch  # in a text: 2001 to 2030; others may be dates without separators
DATES = 1900_01_01, 2299_12_31  # numbers that may be dates without separators; as seconds, some weeks of 1970
EXACT = 2**53  # below, a float is the whole number that was meant


def member(event: Mapping[str, Any], field: str) -> object:
    """The value of a field: of a member of that name, else where the name's dots lead; None where nothing is."""
    value: Any = event.get(field)
    if value is None and "." in field:
        value = event
        for name in field.split("."):
            value = value.get(name) if isinstance(value, dict) else None
    return value


def as_id(value: object, field: str) -> str:
    """A field's value as an event's id. Raises ValueError for what is neither text nor a whole number."""
    if type(value) is float and value.is_integer() and abs(value) < EXACT:
        value = int(value)  # as data frames have a whole number where others are missing
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ValueError(f"the field {field!r:.80} is {_shown(value)}: an id is text or a whole number")
    return str(value)


def as_time(value: object, field: str) -> str:
    """A field's value as ISO 8601 text: text as it is, a number as seconds or milliseconds since 1970, which a text may be, too,
    of the years 2001 to 2030.
    Raises ValueError; also for a number that may be a date."""
    if type(value) is str and EPOCH(value):
        value = int(value)
    _check_no_date(value, field)
    try:
        if type(value) is int:
            seconds, milliseconds = (value, 0) if -SECONDS_UNTIL < value < SECONDS_UNTIL else divmod(value, 1000)
            minute, second = divmod(seconds, 60)
            return _minute(minute) + _SECONDS[second] + _MILLISECONDS[milliseconds]
        if isinstance(value, str) and value:
            return value
        if type(value) is float:
            return datetime.fromtimestamp(value if abs(value) < SECONDS_UNTIL else value / 1000, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"the field {field!r:.80} is {_shown(value)}: that is no time") from None
    raise ValueError(f"the field {field!r:.80} is {_shown(value)}: a time is ISO 8601 text or a number since 1970")


def as_moment(value: object, field: str) -> str | Moment:
    """As `as_time`, but for whole numbers, which need not become text to be read again."""
    if type(value) is int:
        _check_no_date(value, field)
        return Moment(value * 1000 if -SECONDS_UNTIL < value < SECONDS_UNTIL else value)
    return as_time(value, field)


def _check_no_date(value: object, field: str) -> None:
    if (
        isinstance(value, int | float)
        and DATES[0] <= value <= DATES[1]
        and 1 <= value // 100 % 100 <= 12
        and 1 <= value % 100 <= 31
    ):
        raise ValueError(
            f"the field {field!r:.80} is {_shown(value)}: a date, or seconds since 1970? A date is text; in a file, "
            "--timestamp-format %Y%m%d says that it is one"
        )


# The parts of a time's text: to make one anew from numbers costs more than all else that a field takes.
_SECONDS = tuple(f"{second:02}" for second in range(60))
_MILLISECONDS = tuple(f".{part:03}000+00:00" if part else "+00:00" for part in range(1000))


@lru_cache(maxsize=4096)
def _minute(minutes: int) -> str:
    """How the times of a minute begin, given its number since 1970."""
    return datetime.fromtimestamp(minutes * 60, UTC).isoformat()[:17]


def _shown(value: object) -> str:
    """A value as an error names it, however large or deep it is."""
    if value is None or isinstance(value, str | int | float):
        return f"{value!r:.80}"
    return "an object" if isinstance(value, dict) else "a list"
