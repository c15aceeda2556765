"""The rolling aggregates against a model that keeps every event."""

from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.aggregates import (
    AHEAD,
    DAY,
    HOUR,
    KEPT,
    MINUTE,
    Aggregates,
    LiveFigures,
    TableKey,
    Windows,
    merge,
    parse_key,
    table_key,
)
from headwater.codec import CodecError

NOW = int(datetime(2026, 11, 22, 18, 0, 30, tzinfo=UTC).timestamp() * 1000)


class Event(NamedTuple):
    time: int
    received: int
    size: int


near = st.integers(NOW - 70 * MINUTE, NOW + 10 * MINUTE)
anywhere = st.integers(-2_208_988_800_000, 10_413_791_999_999)  # 1900 to 2299
times = near | st.integers(NOW - 40 * DAY, NOW) | anywhere
events = st.builds(Event, times, st.integers(NOW - 70 * MINUTE, NOW), st.integers(2, 1_000_000))
blocks = st.lists(st.lists(events, min_size=1, max_size=8), max_size=6)


def counted(blocks: list[list[Event]], now: int = NOW) -> Aggregates:
    aggregates, offset = Aggregates(), -1
    for block in blocks:
        offset += len(block)
        aggregates.add([e.time for e in block], [e.received for e in block], [e.size for e in block], offset, now)
    return aggregates


def expected(pairs: list[tuple[int, int]], length: int) -> Windows:
    """Windows by definition: one pass over (time, size) for each window that is kept."""
    current = NOW // length
    windows: Windows = {}
    for start in range(current - KEPT[length] + 1, (NOW + AHEAD) // length + 1):
        sizes = [size for time, size in pairs if start * length <= time < (start + 1) * length and time <= NOW + AHEAD]
        if sizes:
            windows[start] = [len(sizes), sum(sizes)]
    return windows


@given(blocks)
def test_counts_equal_the_model(blocks: list[list[Event]]) -> None:
    aggregates = counted(blocks)
    every = [event for block in blocks for event in block]
    past = [event.time for event in every if event.time <= NOW + AHEAD]
    assert aggregates.events == len(every)
    assert aggregates.size == sum(event.size for event in every)
    assert aggregates.offset == len(every) - 1
    assert aggregates.last_event_at == max(past, default=None)
    for windows, length in ((aggregates.minutes, MINUTE), (aggregates.hours, HOUR), (aggregates.days, DAY)):
        assert windows == expected([(event.time, event.size) for event in every], length)
    assert aggregates.received_minutes == expected([(event.received, event.size) for event in every], MINUTE)


@given(blocks)
def test_record_keeps_everything(blocks: list[list[Event]]) -> None:
    aggregates = counted(blocks)
    assert Aggregates.decode(aggregates.encode()) == aggregates


@given(blocks, st.lists(st.integers(0, 2), min_size=6, max_size=6))
def test_merging_partitions_is_counting_them_together(blocks: list[list[Event]], partitions: list[int]) -> None:
    parts = [counted([block for block, p in zip(blocks, partitions, strict=False) if p == n]) for n in range(3)]
    before = [part.encode() for part in parts]
    merged, together = merge(parts, NOW), counted(blocks)
    together.offset = -1
    assert merged == together
    assert [part.encode() for part in parts] == before


@given(blocks, st.integers(0, 40 * DAY))
def test_passed_windows_go_and_the_others_stay(blocks: list[list[Event]], later: int) -> None:
    aggregates = counted(blocks)
    minutes, now = dict(aggregates.minutes), NOW + later
    aggregates.prune(now)
    assert aggregates.minutes == {s: c for s, c in minutes.items() if s > now // MINUTE - KEPT[MINUTE]}
    assert len(aggregates.hours) <= KEPT[HOUR] + 1  # the next hour may have begun for a clock that is ahead
    assert len(aggregates.days) <= KEPT[DAY] + 1


def test_live_has_the_agreed_shape() -> None:
    aggregates = counted([[Event(NOW - DAY, NOW, 10), Event(NOW, NOW, 5), Event(NOW + 2 * MINUTE, NOW, 1)]])
    assert aggregates.live(NOW) == {
        "events": 3,
        "bytes": 16,
        "last_event_at": "2026-11-22T18:02:30.000Z",
        "received": {"minutes": [["2026-11-22T18:00:00.000Z", 3]]},
        "event_time": {
            "minutes": [["2026-11-22T18:00:00.000Z", 1]],  # the one ahead of the clock shows when its minute begins
            "hours": [["2026-11-21T18:00:00.000Z", 1], ["2026-11-22T18:00:00.000Z", 2]],
            "days": [["2026-11-21T00:00:00.000Z", 1], ["2026-11-22T00:00:00.000Z", 2]],
        },
        "event_time_bytes": {
            "minutes": [["2026-11-22T18:00:00.000Z", 5]],
            "hours": [["2026-11-21T18:00:00.000Z", 10], ["2026-11-22T18:00:00.000Z", 6]],
            "days": [["2026-11-21T00:00:00.000Z", 10], ["2026-11-22T00:00:00.000Z", 6]],
        },
    }


@given(st.integers(0, 999), st.text(min_size=1))
def test_keys_are_read_back(partition: int, collection: str) -> None:
    project = "a1" * 12
    assert parse_key(table_key(partition, "watermark")) == TableKey(partition, "watermark")
    if collection.isprintable():
        key = table_key(partition, "aggregates", project, collection)
        assert parse_key(key) == TableKey(partition, "aggregates", project, collection)


def test_live_figures_follow_the_records() -> None:
    figures, one, other = LiveFigures(), "a1" * 12, "b2" * 12
    figures.apply(table_key(0, "watermark"), b"ignored")
    figures.apply(table_key(0, "aggregates", one, "a/b"), counted([[Event(NOW, NOW, 1)]]).encode())
    figures.apply(table_key(0, "aggregates", one, "a/b"), counted([[Event(NOW, NOW, 2)] * 2]).encode())
    figures.apply(table_key(3, "aggregates", one, "a/b"), counted([[Event(NOW, NOW, 3)]]).encode())
    figures.apply(table_key(3, "aggregates", other, "c"), counted([[Event(NOW, NOW, 4)]]).encode())
    answer = figures.figures(one, NOW)["collections"]
    assert {name: (live["events"], live["bytes"]) for name, live in answer.items()} == {"a/b": (3, 7)}
    figures.apply(table_key(3, "aggregates", other, "c"), None)
    assert figures.figures(other, NOW) == {"collections": {}}


def test_foreign_bytes_are_refused() -> None:
    with pytest.raises(CodecError, match="not a aggregates record"):
        Aggregates.decode(b"{}")
