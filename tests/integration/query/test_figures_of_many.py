"""Every analysis, plain, grouped, in intervals and both, in several zones, over 50,000 events of mixed types, against pandas:
in parts that are merged, that overlap, and with every event in several copies."""

import math
import random
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pandas as pd
import pytest

from headwater.query.clickhouse import ClickHouseTransport
from headwater.query.definition import METRICS
from sinks.clickhouse import ClickHouse
from tests.integration.query import oracle
from tests.integration.query.events import SPAN, START, generated
from tests.querying import new_project_id, store

EVENTS = 50_000
TIMEFRAME = {"start": oracle.iso(START), "end": oracle.iso(START + SPAN)}
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata")
TARGET, GROUP = "number", "text"


class Collection:
    """A stored collection, and its events as a frame."""

    def __init__(self, transport: ClickHouseTransport, events: list[oracle.Event]) -> None:
        self.transport = transport
        self.frame = pd.DataFrame(
            {
                "at": pd.to_datetime([one["timestamp"] for one in events], unit="ms", utc=True),
                "mixed": pd.Series([one["properties"].get("mixed") for one in events], dtype="object"),
                "number": pd.Series([one["properties"].get("number") for one in events], dtype="float64"),
                "text": pd.Series([one["properties"].get("text") for one in events], dtype="object"),
            }
        )

    def ask(self, analysis: str, **params: Any) -> Any:
        more = {"percentile": 90} if analysis == "percentile" else {}
        question = {"event_collection": "c", "target_property": TARGET, **more, **params}
        return self.transport.run(analysis, question).value


@pytest.fixture(scope="module", params=["merged", "overlapping", "duplicated"])
def collection(request: pytest.FixtureRequest, clickhouse: str) -> Iterator[Collection]:
    project_id, events = new_project_id(), generated(EVENTS, seed=21)
    parts = [events[n::5] for n in range(5)]
    if request.param == "duplicated":
        stale = [one | {"processed_at": one["processed_at"] - 1, "properties": {"number": 7}} for one in events]
        parts = [random.Random(1).sample(events, EVENTS), stale, *parts]
    for part in parts:
        store(clickhouse, project_id, "c", part)
    if request.param == "merged":
        with closing(ClickHouse(clickhouse)) as engine:
            engine.command(f"OPTIMIZE TABLE `headwater_{project_id}`.c FINAL")
    with closing(ClickHouseTransport(clickhouse, project_id)) as transport:
        yield Collection(transport, events)


def figure(analysis: str, rows: pd.DataFrame) -> Any:
    """The result of an analysis by pandas."""
    numbers = rows["number"].dropna()
    if analysis == "count":
        return len(rows)
    if analysis == "count_unique":
        return int(numbers.nunique())
    if analysis == "select_unique":
        return sorted(numbers.unique().tolist())
    if analysis == "sum":
        return float(numbers.sum())
    if numbers.empty:
        return None
    if analysis in ("median", "percentile"):
        rank = math.ceil((50 if analysis == "median" else 90) * len(numbers) / 100)
        return float(numbers.sort_values().iloc[rank - 1])
    if analysis == "standard_deviation":
        return None if len(numbers) == 1 else float(numbers.std())
    return float({"average": numbers.mean, "minimum": numbers.min, "maximum": numbers.max}[analysis]())


def same(got: Any, wanted: Any) -> bool:
    if wanted is None or isinstance(wanted, list):
        return bool(got == wanted)
    return got is not None and math.isclose(got, wanted, rel_tol=1e-9, abs_tol=1e-9)


def local_days(frame: pd.DataFrame, zone: str) -> pd.Series:
    """The day of each event on the clocks of a zone."""
    return frame["at"].dt.tz_convert(zone).dt.normalize()


def weeks(frame: pd.DataFrame, zone: str) -> pd.Series:
    """The Sunday on which the week of each event began, but for the first week, which begins with the timeframe."""
    naive = local_days(frame, zone).dt.tz_localize(None)
    sundays = (naive - pd.to_timedelta((naive.dt.day_of_week + 1) % 7, unit="D")).dt.tz_localize(zone)
    return sundays.where(sundays > pd.Timestamp(TIMEFRAME["start"]), pd.Timestamp(TIMEFRAME["start"]).tz_convert(zone))


@pytest.mark.parametrize("analysis", METRICS)
def test_plain_and_grouped(collection: Collection, analysis: str) -> None:
    assert same(collection.ask(analysis), figure(analysis, collection.frame))
    got = collection.ask(analysis, group_by=GROUP)
    groups = dict(tuple(collection.frame.groupby(collection.frame[GROUP].fillna(""))))
    assert [group[GROUP] or "" for group in got] == sorted(groups)
    assert all(same(group["result"], figure(analysis, groups[group[GROUP] or ""])) for group in got)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("analysis", METRICS)
def test_in_intervals_and_both(collection: Collection, analysis: str, zone: str) -> None:
    frame = collection.frame
    days = dict(tuple(frame.groupby(local_days(frame, zone))))
    empty = frame.iloc[:0]
    asked = {"timeframe": TIMEFRAME, "timezone": zone}
    for bucket in (series := collection.ask(analysis, interval="daily", **asked)):
        day = pd.Timestamp(bucket["timeframe"]["start"]).tz_convert(zone).normalize()
        assert same(bucket["value"], figure(analysis, days.get(day, empty))), day
    assert len(series) >= 45
    both = dict(tuple(frame.groupby([weeks(frame, zone), frame[GROUP].fillna("")])))
    names = sorted(frame[GROUP].fillna("").unique())
    for bucket in collection.ask(analysis, interval="weekly", group_by=GROUP, **asked):
        start = pd.Timestamp(bucket["timeframe"]["start"]).tz_convert(zone)
        assert [group[GROUP] or "" for group in bucket["value"]] == names
        for group in bucket["value"]:
            wanted = figure(analysis, both.get((start, group[GROUP] or ""), empty))
            assert same(group["result"], wanted), (start, group)


@pytest.mark.parametrize("zone", ZONES)
def test_mixed_types(collection: Collection, zone: str) -> None:
    """Counts of each value of a property of every type: 1 is 1.0, and neither "1" nor true."""
    keys = [
        repr(oracle.group_key(oracle.plain(value)))
        for value in collection.frame["mixed"].where(collection.frame["mixed"].notna(), None)
    ]
    wanted = pd.Series(keys).value_counts().to_dict()
    got = collection.ask("count", group_by="mixed", timezone=zone)
    assert {repr(oracle.group_key(oracle.plain(group["mixed"]))): group["result"] for group in got} == wanted
