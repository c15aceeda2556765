"""keen:date_time_parser against the calendar."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.addons.date_time_parser import ADDON, parse_date_time


def test_all_parts_in_the_texts_own_offset() -> None:
    assert parse_date_time("2026-11-22T23:05:09.123456-03:30") == {
        "year": 2026,
        "quarter": 4,
        "month": 11,
        "month_string": "November",
        "day": 22,
        "day_string": "Sunday",
        "day_of_week": 7,
        "hour": 23,
        "minute": 5,
        "second": 9,
        "millisecond": 123,
        "timezone": "-03:30",
        "timezone_offset": -12_600,
    }


@pytest.mark.parametrize("text", ["2012-08-13T19:00Z", "2012-08-13T19:00:00+00:00", "2012-08-13 19:00:00", "2012-08-13T19:00:00.0Z", "2012-08-13T19:00:00-0000"])  # fmt: skip
def test_forms_that_clients_send(text: str) -> None:
    parsed = parse_date_time(text)
    assert parsed is not None
    assert (parsed["hour"], parsed["day_string"], parsed["timezone"]) == (19, "Monday", "+00:00")


@pytest.mark.parametrize("text", ["", "yesterday", "2012-13-01", "2012-08-13T25:00", "1345000000", "2012-08-13T19:00:00+99:00", "é" * 100])  # fmt: skip
def test_anything_else_has_no_output(text: str) -> None:
    assert parse_date_time(text) is None


@given(st.datetimes(), st.integers(-14 * 60, 14 * 60))
def test_parts_make_the_time_again(time: datetime, minutes: int) -> None:
    time = time.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    parsed = parse_date_time(time.isoformat())
    assert parsed is not None
    assert list(parsed) == [field.name for field in ADDON.outputs]
    made = datetime(
        *(parsed[name] for name in ("year", "month", "day", "hour", "minute", "second")),
        tzinfo=timezone(timedelta(seconds=parsed["timezone_offset"])),
    )
    assert made == time.replace(microsecond=0)
    assert parsed["quarter"] == (time.month - 1) // 3 + 1
    assert time.astimezone(UTC).utcoffset() == timedelta()
    assert parsed["month_string"] == time.strftime("%B")
    assert parsed["day_string"] == time.strftime("%A")
    assert time.isoformat().endswith(parsed["timezone"])
