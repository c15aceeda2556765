"""Time zones of queries, and instants as Headwater counts them: milliseconds since 1970 UTC."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import orjson

from headwater.query.errors import QueryError, shown

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def parse_timezone(value: object) -> tzinfo:
    """The zone of a `timezone` parameter: an IANA name, seconds east of UTC, either of them quoted; UTC where absent.

    Raises QueryError for anything else.
    """
    if value is None or value == "":
        return UTC
    if isinstance(value, str):
        text = _unquoted(value.strip())
        try:
            seconds = float(text)
        except ValueError:
            return _named(text)
        return _fixed(seconds, value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _fixed(value, value)
    raise _wrong(value)


def to_local(instant: int, zone: tzinfo) -> datetime:
    """An instant on the clocks of a zone."""
    return (EPOCH + timedelta(milliseconds=instant)).astimezone(zone)


def from_local(moment: datetime) -> int:
    """The instant of an aware datetime, rounded up to a millisecond.

    A wall time that a clock skipped is the instant of the skip; one that a clock showed twice is the first, unless
    its `fold` says otherwise (PEP 495).
    """
    return -((EPOCH - moment.astimezone(UTC)) // MILLISECOND)


def iso(instant: int, zone: tzinfo) -> str:
    """An instant as answers write it: 2016-11-02T00:00:00.000Z, or with the zone's offset in place of Z."""
    return to_local(instant, zone).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _unquoted(text: str) -> str:
    if text.startswith('"'):
        try:
            return str(orjson.loads(text))
        except orjson.JSONDecodeError:
            pass
    return text


def _named(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, malformed, a folder of the database
        raise _wrong(name) from None


def _fixed(seconds: float, given: object) -> tzinfo:
    try:
        return timezone(timedelta(seconds=round(seconds)))
    except (ValueError, OverflowError):
        raise _wrong(given) from None


def _wrong(value: object) -> QueryError:
    return QueryError(
        "TimezoneDefinitionError",
        f"timezone {shown(value)} is not a time zone: give an IANA name such as 'Europe/Berlin', "
        "or seconds east of UTC such as -28800.",
    )
