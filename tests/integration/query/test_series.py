"""Series: random timeframes, zones and intervals against a count over the events, and no event lost between buckets."""

import random
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.query.clickhouse import ClickHouseTransport
from tests.integration.query import oracle
from tests.querying import event, new_project_id, store

# Clocks are changed on 2024-03-10 (New York), 03-31 (Berlin), 04-07 (Lord Howe, by half an hour), and at midnight in Havana.
FIRST = 1_709_251_200_000  # 2024-03-01T00:00Z, a Friday
DAYS = 60
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Havana"]
HOUR = 3_600_000


class Collection:
    """A stored collection, and how to ask about it."""

    def __init__(self, transport: ClickHouseTransport, events: list[oracle.Event]) -> None:
        self.transport = transport
        self.events = events

    def series(self, **params: Any) -> Any:
        return self.transport.run("count", {"event_collection": "c", **params}).value


@pytest.fixture(scope="module")
def collection(clickhouse: str) -> Iterator[Collection]:
    """Events on whole quarters of an hour, where bounds are, and a millisecond beside them."""
    pick, project_id = random.Random(7), new_project_id()
    moments = [FIRST + pick.randrange(DAYS * 96) * HOUR // 4 + pick.choice((-1, 0, 1)) for _ in range(3_000)]
    events = [event({"kind": pick.choice("ab")}, moment) for moment in moments]
    store(clickhouse, project_id, "c", events)
    with closing(ClickHouseTransport(clickhouse, project_id)) as transport:
        yield Collection(transport, events)


def beginning(moment: pd.Timestamp, unit: str) -> datetime:
    """The wall time at which the day, week, month or year of a moment begins."""
    day = moment.to_pydatetime().replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    if unit == "week":
        return day - timedelta(days=(day.weekday() + 1) % 7)
    return day.replace(day=1, month=1 if unit == "year" else day.month) if unit in ("month", "year") else day


def bounds(start: int, end: int, unit: str, number: int, zone: str) -> list[int]:
    """Where buckets begin, clipped: by counting wall time for days and longer, by counting hours for hours."""
    moment = pd.Timestamp(start, unit="ms", tz="UTC").tz_convert(zone)
    first = beginning(moment, unit)
    found, step = [start], 0
    while True:
        step += number
        if unit in ("day", "week"):
            wall = first + timedelta(days=step * (7 if unit == "week" else 1))
        else:
            months = first.year * 12 + first.month - 1 + step * (12 if unit == "year" else 1)
            wall = datetime(months // 12, months % 12 + 1, 1)
        # The first instant of a day: pandas moves a midnight that clocks left out to where the day begins.
        stamp = pd.Timestamp(wall).tz_localize(ZoneInfo(zone), nonexistent="shift_forward", ambiguous=True)
        at = int(stamp.timestamp() * 1000)
        if at >= end:
            return [*found, end]
        found.append(at)


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    zone=st.sampled_from(ZONES),
    unit=st.sampled_from(["day", "week", "month", "year"]),
    number=st.integers(1, 9),
    start=st.integers(-2 * 96, DAYS * 96),
    length=st.integers(1, DAYS * 96),
    grouped=st.booleans(),
)
def test_series_of_days_and_longer(
    collection: Collection, zone: str, unit: str, number: int, start: int, length: int, grouped: bool
) -> None:
    begins = FIRST + start * HOUR // 4
    ends = begins + length * HOUR // 4
    asked = {
        "timeframe": {"start": oracle.iso(begins), "end": oracle.iso(ends)},
        "timezone": zone,
        "interval": f"every_{number}_{unit}s",
    }
    got = collection.series(**asked, **({"group_by": "kind"} if grouped else {}))
    edges = bounds(begins, ends, unit, number, zone)
    stamps = [[pd.Timestamp(bucket["timeframe"][name]) for name in ("start", "end")] for bucket in got]
    assert [(int(a.timestamp() * 1000), int(b.timestamp() * 1000)) for a, b in stamps] == list(pairwise(edges))
    for bucket, (a, b) in zip(got, pairwise(edges), strict=True):
        inside = [one["properties"]["kind"] for one in collection.events if a <= one["timestamp"] < b]
        if grouped:
            kinds = {one["properties"]["kind"] for one in collection.events if begins <= one["timestamp"] < ends}
            assert bucket["value"] == [{"kind": kind, "result": inside.count(kind)} for kind in sorted(kinds)]
        else:
            assert bucket["value"] == len(inside)
    offsets = {stamp.utcoffset() for pair in stamps for stamp in pair}
    local = {pd.Timestamp(edge, unit="ms", tz="UTC").tz_convert(zone).utcoffset() for edge in edges}
    assert offsets == local  # bounds are written in the zone that was asked for


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    zone=st.sampled_from(ZONES),
    interval=st.sampled_from(["hourly", "every_6_hours", "every_90_minutes", "every_7_hours", "daily", "weekly"]),
    start=st.integers(0, 30 * 96),
    length=st.integers(1, 14 * 96),
)
def test_nothing_is_lost_between_buckets(
    collection: Collection, zone: str, interval: str, start: int, length: int
) -> None:
    """Buckets follow each other without a gap, and together have every event of the timeframe once."""
    begins = FIRST + start * HOUR // 4
    timeframe = {"start": oracle.iso(begins), "end": oracle.iso(begins + length * HOUR // 4)}
    got = collection.series(timeframe=timeframe, timezone=zone, interval=interval)
    edges = [(pd.Timestamp(each["timeframe"]["start"]), pd.Timestamp(each["timeframe"]["end"])) for each in got]
    assert all(a[1] == b[0] and a[0] < a[1] for a, b in pairwise(edges))
    assert (edges[0][0], edges[-1][1]) == (pd.Timestamp(timeframe["start"]), pd.Timestamp(timeframe["end"]))
    for bucket, (a, b) in zip(got, edges, strict=True):
        low, high = int(a.timestamp() * 1000), int(b.timestamp() * 1000)
        assert bucket["value"] == sum(low <= one["timestamp"] < high for one in collection.events)
