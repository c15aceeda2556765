"""Timeframes: which span of time a query asks about.

Relative ones follow Keen's reference: `this_N_units` is the current unit and the N-1 before it, until now; `previous_N_units` is
the N complete units before the current one. Weeks start on Sunday.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

import orjson

from headwater.query.calendar import back, floor
from headwater.query.errors import QueryError, shown
from headwater.query.zones import from_local

EARLIEST = from_local(datetime(1900, 1, 1, tzinfo=UTC))
LATEST = from_local(datetime(2300, 1, 1, tzinfo=UTC))
_RELATIVE = re.compile(r"(this|previous|last)_(?:([0-9]{1,6})_)?(minute|hour|day|week|month|year)s?")
_MOMENT = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(?::(\d{2})(?:[.,](\d+))?)?\s*(Z|z|[+-]\d{2}(?::?\d{2})?)?)?", re.ASCII
)
_WORDS = {"today": "this_day", "yesterday": "previous_day"}


@dataclass(frozen=True)
class Timeframe:
    """From `start` to before `end`, in milliseconds since 1970 UTC."""

    start: int
    end: int


def parse_timeframe(value: object, zone: tzinfo, now: int) -> Timeframe:
    """The span that a `timeframe` parameter names, seen at the instant `now` in `zone`.

    Takes {"start", "end"}, that object as JSON text, a relative timeframe, or one in JSON quotes. Raises QueryError.
    """
    if isinstance(value, str):
        text = value.strip()
        if text[:1] in ("{", '"'):
            try:
                value = orjson.loads(text)
            except orjson.JSONDecodeError:
                raise _wrong(f"{shown(value)} is not JSON") from None
        if isinstance(value, str):
            return _relative(value.strip(), zone, now)
    if isinstance(value, dict):
        return _absolute(value)
    raise _wrong(f"{shown(value)} is neither a relative timeframe nor an object with start and end")


def parse_moment(text: str) -> datetime | None:
    """The instant that an ISO 8601 text names, UTC where it has no zone; None where it is no such text.

    Hours and minutes are needed where there is a time at all; seconds may miss; fractions beyond microseconds are cut.
    """
    match = _MOMENT.fullmatch(text.strip())
    if not match:
        return None
    day, minutes, seconds, fraction, offset = match.groups()
    offset = "+00:00" if offset in (None, "Z", "z") else offset
    if len(offset) == 3:
        offset += ":00"
    elif ":" not in offset:
        offset = f"{offset[:3]}:{offset[3:]}"
    try:
        moment = datetime.fromisoformat(
            f"{day}T{minutes or '00:00'}:{seconds or '00'}.{(fraction or '0')[:6]:0<6}{offset}"
        )
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _absolute(value: dict[str, object]) -> Timeframe:
    start, end = _bound(value, "start"), _bound(value, "end")
    if start >= end:
        raise _wrong(f"its start {shown(value['start'])} is not before its end {shown(value['end'])}")
    return _bounded(start, end)


def _bound(value: dict[str, object], name: str) -> int:
    if name not in value:
        raise _wrong(f"it has no {name}: an absolute timeframe has start and end")
    given = value[name]
    moment = parse_moment(given) if isinstance(given, str) else None
    if moment is None:
        raise _wrong(f"its {name} {shown(given)} is not an ISO 8601 time such as '2016-11-02T00:00:00Z'")
    return from_local(moment)


def _relative(text: str, zone: tzinfo, now: int) -> Timeframe:
    match = _RELATIVE.fullmatch(_WORDS.get(text, text))
    if not match:
        raise _wrong(f"{shown(text)} is not a relative timeframe such as 'this_7_days', 'previous_month' or 'today'")
    which, number, unit = match[1], int(match[2] or 1), match[3]
    if number == 0:
        raise _wrong(f"{shown(text)} counts no units: the number must be 1 or more")
    current = floor(now, unit, zone)
    try:
        if which == "this":
            return _bounded(back(current, unit, number - 1, zone), max(now, current + 1))
        return _bounded(back(current, unit, number, zone), current)
    except (OverflowError, ValueError):
        raise _wrong(f"{shown(text)} begins before the year 1") from None


def _bounded(start: int, end: int) -> Timeframe:
    """Within the years that event times can have."""
    start = min(max(start, EARLIEST), LATEST - 1)
    return Timeframe(start, min(max(end, start + 1), LATEST))


def _wrong(what: str) -> QueryError:
    return QueryError("TimeframeDefinitionError", f"You sent in an invalid definition for the timeframe: {what}.")
