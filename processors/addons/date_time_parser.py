"""keen:date_time_parser: the parts of a date and time."""

from datetime import UTC, datetime, timedelta

from headwater.settings import Settings
from processors.addons.addon import Addon, Field, LookUp, Result, cached

MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
CACHED_TIMES = 2_000  # times seldom repeat, but one event may parse the same one twice


def load(settings: Settings) -> LookUp:
    """The parser, with a small cache."""
    return cached(parse_date_time, CACHED_TIMES)


def parse_date_time(text: str) -> Result | None:
    """The parts of an ISO 8601 time, in its own offset; without one it is UTC. None for anything else."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    offset = time.utcoffset() or timedelta()
    return {
        "year": time.year,
        "quarter": (time.month + 2) // 3,
        "month": time.month,
        "month_string": MONTHS[time.month - 1],
        "day": time.day,
        "day_string": DAYS[time.weekday()],
        "day_of_week": time.isoweekday(),
        "hour": time.hour,
        "minute": time.minute,
        "second": time.second,
        "millisecond": time.microsecond // 1_000,
        "timezone": _shown(offset),
        "timezone_offset": offset.days * 86_400 + offset.seconds,
    }


def _shown(offset: timedelta) -> str:
    minutes = abs(offset) // timedelta(minutes=1)
    return f"{'-' if offset < timedelta() else '+'}{minutes // 60:02}:{minutes % 60:02}"


ADDON = Addon(
    name="keen:date_time_parser",
    meaning="The parts of a time, as clocks showed them where it was written: in the offset that the text has, UTC without one.",
    inputs=(Field("date_time", "The property with the time as ISO 8601 text, such as keen.timestamp."),),
    outputs=(
        Field("year", "The year."),
        Field("quarter", "The quarter of the year, 1 to 4."),
        Field("month", "The month, 1 to 12."),
        Field("month_string", 'The month\'s English name, such as "January".'),
        Field("day", "The day of the month, 1 to 31."),
        Field("day_string", 'The weekday\'s English name, such as "Monday".'),
        Field("day_of_week", "The weekday, 1 for Monday to 7 for Sunday."),
        Field("hour", "The hour, 0 to 23."),
        Field("minute", "The minute, 0 to 59."),
        Field("second", "The second, 0 to 59."),
        Field("millisecond", "The millisecond, 0 to 999."),
        Field("timezone", 'The offset from UTC as text, such as "+02:00".'),
        Field("timezone_offset", "The offset from UTC in seconds."),
    ),
    load=load,
)
