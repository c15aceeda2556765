"""Timeframes, units and buckets, against a search over instants and pandas' clocks."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.query.calendar import boundaries, floor
from headwater.query.errors import QueryError
from headwater.query.intervals import MAX_BUCKETS, Interval, buckets, parse_interval
from headwater.query.timeframe import EARLIEST, LATEST, Timeframe, parse_moment, parse_timeframe
from headwater.query.zones import from_local, iso, parse_timezone

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo",
         "Pacific/Apia", "America/Havana", "Africa/Casablanca", "Asia/Kathmandu"]  # fmt: skip
LEFT_OUT_DAYS = ["Pacific/Apia"]  # the island had no 30th of December 2011
UNITS = ["minute", "hour", "day", "week", "month", "year"]
INSTANTS = st.integers(from_local(datetime(1971, 1, 1, tzinfo=UTC)), from_local(datetime(2037, 1, 1, tzinfo=UTC)))
NOW = from_local(datetime(2024, 3, 31, 9, 30, tzinfo=UTC))  # a Sunday; Berlin's clocks went forward at 01:00 UTC


def ms(text: str) -> int:
    return from_local(datetime.fromisoformat(text))


def beginning(instant: int, unit: str, zone: str) -> int:
    """The beginning of a unit of days or longer: the first millisecond on or after its first day, found by halving.

    Only instants are turned into wall time here, never wall time into instants, which is what has pitfalls.
    """
    first = day_of(instant, zone)
    if unit == "week":
        first -= timedelta(days=(first.weekday() + 1) % 7)
    elif unit in ("month", "year"):
        first = first.replace(day=1, month=1 if unit == "year" else first.month)
    days_back = (day_of(instant, zone) - first).days + 2
    before, after = instant - days_back * 86_400_000, instant
    while after - before > 1:
        middle = (before + after) // 2
        if day_of(middle, zone) >= first:
            after = middle
        else:
            before = middle
    return after


def day_of(instant: int, zone: str) -> date:
    return datetime.fromtimestamp(instant // 1000, ZoneInfo(zone)).date()


@settings(max_examples=300)
@given(instant=INSTANTS, unit=st.sampled_from(UNITS[2:]), zone=st.sampled_from(ZONES))
def test_days_and_longer_begin_with_their_first_instant(instant: int, unit: str, zone: str) -> None:
    assert floor(instant, unit, ZoneInfo(zone)) == beginning(instant, unit, zone)


@settings(max_examples=300)
@given(instant=INSTANTS, unit=st.sampled_from(UNITS[:2]), zone=st.sampled_from(ZONES))
def test_hours_and_minutes_begin_on_the_clock(instant: int, unit: str, zone: str) -> None:
    begins = floor(instant, unit, ZoneInfo(zone))
    length = 60_000 if unit == "minute" else 3_600_000
    assert 0 <= instant - begins < 2 * length
    wall = pd.Timestamp(begins, unit="ms", tz="UTC").tz_convert(zone)
    skipped = wall.utcoffset() != (wall - timedelta(milliseconds=1)).utcoffset()  # begins where clocks were changed
    assert skipped or (wall.second == 0 and (unit == "minute" or wall.minute == 0))


@settings(max_examples=300)
@given(start=INSTANTS, unit=st.sampled_from(UNITS), number=st.integers(1, 7), zone=st.sampled_from(ZONES))
def test_boundaries_ascend_and_are_beginnings(start: int, unit: str, number: int, zone: str) -> None:
    found = [next_one for _, next_one in zip(range(50), boundaries(start, unit, number, ZoneInfo(zone)), strict=False)]
    assert found[0] == floor(start, unit, ZoneInfo(zone)) <= start
    assert all(a < b for a, b in zip(found, found[1:], strict=False))  # noqa: RUF007 - the lengths differ by one
    assert all(floor(boundary, unit, ZoneInfo(zone)) == boundary for boundary in found)
    if unit not in ("minute", "hour") and zone not in LEFT_OUT_DAYS:
        wanted = [found[0]]
        while len(wanted) <= (len(found) - 1) * number:
            # The next beginning: that of the unit that has the instant a little more than a unit later.
            later = {"day": 30, "week": 180, "month": 32 * 24, "year": 367 * 24}[unit] * 3_600_000
            wanted.append(beginning(wanted[-1] + later, unit, zone))
        assert found == wanted[::number]


@settings(max_examples=200)
@given(
    start=INSTANTS, length=st.integers(1, 90 * 86_400_000), unit=st.sampled_from(UNITS[1:]),
    number=st.integers(1, 12), zone=st.sampled_from(ZONES),
)  # fmt: skip
def test_buckets_cover_the_timeframe(start: int, length: int, unit: str, number: int, zone: str) -> None:
    timeframe = Timeframe(start, start + length)
    found = buckets(timeframe, Interval(unit, number), ZoneInfo(zone))
    assert found[0].start == timeframe.start
    assert found[-1].end == timeframe.end
    assert all(a.end == b.start and a.start < a.end for a, b in zip(found, found[1:], strict=False))  # noqa: RUF007 - as above


def test_a_day_of_23_hours_and_one_of_25() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    for day, hours in (("2024-03-31", 23), ("2024-10-27", 25), ("2024-06-01", 24)):
        following = (datetime.fromisoformat(day) + timedelta(days=1)).date()
        value = {"start": f"{day}T00:00:00{'+02:00' if hours == 25 or hours == 24 else '+01:00'}",
                 "end": f"{following}T00:00:00{'+01:00' if hours == 25 else '+02:00'}"}  # fmt: skip
        timeframe = parse_timeframe(value, berlin, NOW)
        assert len(buckets(timeframe, Interval("hour", 1), berlin)) == hours
        assert len(buckets(timeframe, Interval("day", 1), berlin)) == 1


def test_too_many_buckets() -> None:
    with pytest.raises(QueryError, match=str(MAX_BUCKETS)):
        buckets(Timeframe(0, 86_400_000 * 7), Interval("minute", 1), UTC)
    assert len(buckets(Timeframe(0, MAX_BUCKETS * 60_000), Interval("minute", 1), UTC)) == MAX_BUCKETS


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("this_day", "2024-03-31T00:00+01:00", "2024-03-31T09:30Z"),
        ("today", "2024-03-31T00:00+01:00", "2024-03-31T09:30Z"),
        ("this_1_days", "2024-03-31T00:00+01:00", "2024-03-31T09:30Z"),
        ("this_2_days", "2024-03-30T00:00+01:00", "2024-03-31T09:30Z"),
        ("yesterday", "2024-03-30T00:00+01:00", "2024-03-31T00:00+01:00"),
        ("previous_7_days", "2024-03-24T00:00+01:00", "2024-03-31T00:00+01:00"),
        ("last_7_days", "2024-03-24T00:00+01:00", "2024-03-31T00:00+01:00"),
        ("this_week", "2024-03-31T00:00+01:00", "2024-03-31T09:30Z"),
        ("previous_week", "2024-03-24T00:00+01:00", "2024-03-31T00:00+01:00"),
        ("previous_month", "2024-02-01T00:00+01:00", "2024-03-01T00:00+01:00"),
        ("this_3_months", "2024-01-01T00:00+01:00", "2024-03-31T09:30Z"),
        ("previous_2_years", "2022-01-01T00:00+01:00", "2024-01-01T00:00+01:00"),
        ("previous_12_hours", "2024-03-30T21:00Z", "2024-03-31T09:00Z"),
        ("this_hour", "2024-03-31T09:00Z", "2024-03-31T09:30Z"),
        ("previous_90_minutes", "2024-03-31T08:00Z", "2024-03-31T09:30Z"),
        ('"previous_month"', "2024-02-01T00:00+01:00", "2024-03-01T00:00+01:00"),
    ],
)
def test_relative_timeframes(text: str, start: str, end: str) -> None:
    assert parse_timeframe(text, ZoneInfo("Europe/Berlin"), NOW) == Timeframe(ms(start), ms(end))


@pytest.mark.parametrize(
    "value",
    [
        {"start": "2024-01-02", "end": "2024-01-03"},
        {"start": "2024-01-02T00:00:00.000Z", "end": "2024-01-03T00:00:00.000000+00:00"},
        {"start": "2024-01-02T02:00+02:00", "end": "2024-01-02T16:00:00-0800"},
        '{"start": "2024-01-02T00:00Z", "end": "2024-01-03 00:00:00"}',
    ],
)
def test_absolute_timeframes(value: object) -> None:
    assert parse_timeframe(value, ZoneInfo("Asia/Tokyo"), NOW) == Timeframe(
        ms("2024-01-02T00:00Z"), ms("2024-01-03T00:00Z")
    )


def test_bounds_stay_within_the_years_of_events() -> None:
    everything = parse_timeframe({"start": "0001-01-01", "end": "9999-12-31"}, UTC, NOW)
    assert everything == Timeframe(EARLIEST, LATEST)


def test_a_bound_between_two_milliseconds() -> None:
    """An event at .000 is before .0005, so the span from .0005 begins with .001."""
    value = {"start": "2024-01-01T00:00:00.000500Z", "end": "2024-01-01T00:00:01Z"}
    assert parse_timeframe(value, UTC, NOW).start == ms("2024-01-01T00:00:00.001Z")


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("", "''"), ("soon", "soon"), ("this_0_days", "this_0_days"), ("previous_999999_years", "year 1"), ("{", "JSON"),
        ([], "neither"), (7, "7"), ({}, "start"), ({"start": "2024-01-01"}, "end"),
        ({"start": "2024-01-02", "end": "2024-01-01"}, "not before"), ({"start": "x", "end": "2024-01-01"}, "'x'"),
        ({"start": 5, "end": "2024-01-01"}, "start 5"), ({"start": "2024-02-30", "end": "2024-03-01"}, "2024-02-30"),
    ],
)  # fmt: skip
def test_what_is_no_timeframe(value: object, part: str) -> None:
    with pytest.raises(QueryError, match="You sent in an invalid definition for the timeframe") as caught:
        parse_timeframe(value, UTC, NOW)
    assert caught.value.name == "TimeframeDefinitionError"
    assert part in caught.value.message


@pytest.mark.parametrize(
    ("value", "offset"),
    [
        (None, 0),
        ("", 0),
        ("UTC", 0),
        (-28800, -8),
        ("-28800", -8),
        ("US/Pacific", -7),
        ('"Europe/Berlin"', 2),
        (3600.0, 1),
    ],
)
def test_time_zones(value: object, offset: int) -> None:
    assert datetime(2024, 7, 1, tzinfo=parse_timezone(value)).utcoffset() == timedelta(hours=offset)


@pytest.mark.parametrize(
    "value", ["Mars/Phobos", "../etc/passwd", "Europe", 86_400, "1e9", True, [], "nan", "inf", "a\x00b"]
)
def test_what_is_no_time_zone(value: object) -> None:
    with pytest.raises(QueryError, match="is not a time zone"):
        parse_timezone(value)


def test_how_instants_are_written() -> None:
    assert iso(ms("2024-07-01T00:00:00.5Z"), UTC) == "2024-07-01T00:00:00.500Z"
    assert iso(ms("2024-07-01T00:00Z"), ZoneInfo("Asia/Kolkata")) == "2024-07-01T05:30:00.000+05:30"


@pytest.mark.parametrize(
    ("value", "interval"),
    [("daily", Interval("day", 1)), ("every_1_day", Interval("day", 1)), ("every_15_minutes", Interval("minute", 15))],
)
def test_intervals(value: str, interval: Interval) -> None:
    assert parse_interval(value) == interval


@pytest.mark.parametrize(
    "value", ["", "dayly", "every_0_days", "every_x_days", "every_3_fortnights", 5, None, ["daily"]]
)
def test_what_is_no_interval(value: object) -> None:
    with pytest.raises(QueryError) as caught:
        parse_interval(value)
    assert caught.value.name == "IntervalDefinitionError"


@given(moment=st.datetimes(datetime(1900, 1, 1), datetime(2299, 1, 1)), offset=st.integers(-14 * 60, 14 * 60))
def test_moments_are_read_as_python_reads_them(moment: datetime, offset: int) -> None:
    text = moment.isoformat() + f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02}:{abs(offset) % 60:02}"
    assert parse_moment(text) == datetime.fromisoformat(text)
    assert parse_moment(moment.isoformat()) == moment.replace(tzinfo=UTC)
