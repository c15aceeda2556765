"""Ids and times that a field of an event says."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.fields import SECONDS_UNTIL, as_id, as_moment, as_time, member
from headwater.rules import TIMESTAMP_MAX, TIMESTAMP_MIN, RuleError, parse_timestamp


def may_be_a_date(number: int) -> bool:
    try:
        date(number // 10_000, number // 100 % 100, min(number % 100, 28) if number % 100 <= 31 else 0)
    except ValueError:
        return False
    return 1900 <= number // 10_000 <= 2299


@given(st.integers(-2_208_988_800, 4_102_444_800).filter(lambda value: not may_be_a_date(value)), st.integers(0, 999))
def test_whole_numbers_are_the_times_that_python_makes_of_them(seconds: int, milliseconds: int) -> None:
    assert as_time(seconds, "at") == datetime.fromtimestamp(seconds, UTC).isoformat()
    value = seconds * 1000 + milliseconds
    if abs(value) >= SECONDS_UNTIL:
        assert as_time(value, "at") == datetime.fromtimestamp(value / 1000, UTC).isoformat()


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("2026-01-31", "2026-01-31"),
        (1769860800, "2026-01-31T12:00:00+00:00"),
        (1769860800.25, "2026-01-31T12:00:00.250000+00:00"),
        (1769860800250, "2026-01-31T12:00:00.250000+00:00"),
        (0, "1970-01-01T00:00:00+00:00"),
        (-86400, "1969-12-31T00:00:00+00:00"),
        ("1769860800", "2026-01-31T12:00:00+00:00"),
        ("1769860800250", "2026-01-31T12:00:00.250000+00:00"),
        ("20260131", "20260131"),  # a date
        ("2026013112", "2026013112"),  # and an hour
        ("202601311200", "202601311200"),
    ],
)
def test_times_are_text_or_seconds_or_milliseconds(value: Any, time: str) -> None:
    assert as_time(value, "when") == time


def test_a_field_is_a_member_or_with_dots_within_one() -> None:
    event = {"a": {"b": {"c": 1}}, "x.y": 2, "x": {"y": 3}, "n": None}
    found = [member(event, field) for field in ("a.b.c", "x.y", "n", "n.m", "a.b.c.d", "none", "a..b")]
    assert found == [1, 2, None, None, None, None, None]


@given(st.integers(18_000_000, 24_000_000), st.sampled_from([int, float]), st.sampled_from([as_time, as_moment]))
def test_a_number_that_may_be_a_date_is_refused(
    value: int, kind: type[int] | type[float], read: Callable[[object, str], object]
) -> None:
    if may_be_a_date(value):
        with pytest.raises(ValueError, match="a date, or seconds since 1970"):
            read(kind(value), "when")
    else:
        assert read(kind(value), "when")


@pytest.mark.parametrize("value", [None, "", True, [], {}, 1e300, float("nan")])
def test_what_is_no_time_is_named(value: Any) -> None:
    with pytest.raises(ValueError, match="'when'"):
        as_time(value, "when")


@given(
    st.integers()
    | st.integers(TIMESTAMP_MIN, TIMESTAMP_MAX)
    | st.integers(-SECONDS_UNTIL, SECONDS_UNTIL)
    | st.text()
    | st.sampled_from(["2026-01-31", TIMESTAMP_MIN - 1, TIMESTAMP_MIN, TIMESTAMP_MAX, TIMESTAMP_MAX + 1])
)
def test_a_moment_is_the_time_that_its_text_is(value: int | str) -> None:
    def read(make: Callable[[object, str], str]) -> int | None:
        try:
            return parse_timestamp(make(value, "at"))
        except (ValueError, RuleError):
            return None

    assert read(as_moment) == read(as_time)  # type: ignore[arg-type]


@pytest.mark.parametrize(("value", "event_id"), [("A-1", "A-1"), (17, "17"), (-3, "-3"), (1.0, "1")])
def test_ids_are_text_or_whole_numbers(value: Any, event_id: str) -> None:
    assert as_id(value, "order") == event_id


@pytest.mark.parametrize("value", [None, "", True, 1.5, 2.0**53, [[]], {"a": "x" * 1_000}])
def test_what_is_no_id_is_named_and_not_repeated_at_length(value: Any) -> None:
    with pytest.raises(ValueError, match="'order'") as error:
        as_id(value, "order")
    assert len(str(error.value)) < 200
