"""Every analysis, plain, grouped, in intervals and both, in several zones, against pandas: over 50,000 events of mixed types, and
over the flights of six weeks; in parts that are merged, that overlap, and with every event in several copies."""

import math
import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import Any

import pandas as pd
import pytest

from headwater.demo.flights import flights_file, read_flights
from headwater.query.clickhouse import ClickHouseTransport
from headwater.query.definition import METRICS
from sinks.clickhouse import ClickHouse
from tests.integration.query import oracle
from tests.integration.query.events import SPAN, START, generated
from tests.querying import event, new_project_id, store

EVENTS = 50_000
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata")
FLIGHTS = {
    "start": "2013-02-20T05:00:00.000Z",
    "end": "2013-04-04T04:00:00.000Z",
}  # clocks are changed on March 10th and 31st
PARTS = ("merged", "overlapping", "duplicated")


@dataclass(frozen=True, eq=False)
class Source:
    """Events, and which of their properties are looked at: `number` and `group` by every analysis, `values` counted value by value."""

    events: list[oracle.Event]
    timeframe: dict[str, str]
    number: str
    group: str
    values: str
    frame: pd.DataFrame


def source_of(events: list[oracle.Event], timeframe: dict[str, str], number: str, group: str, values: str) -> Source:
    def column(name: str, dtype: str) -> pd.Series:
        return pd.Series([one["properties"].get(name) for one in events], dtype=dtype)

    at = pd.to_datetime([one["timestamp"] for one in events], unit="ms", utc=True)
    columns = {"at": at, "values": column(values, "object"), "number": column(number, "float64")}
    frame = pd.DataFrame({**columns, "group": column(group, "object").fillna("")})
    return Source(events, timeframe, number, group, values, frame)


@cache
def source(name: str) -> Source:
    if name == "generated":
        timeframe = {"start": oracle.iso(START), "end": oracle.iso(START + SPAN)}
        return source_of(generated(EVENTS, seed=21), timeframe, "number", "text", "mixed")
    events = [
        event(flight.properties, pd.Timestamp(flight.timestamp).value // 1_000_000)
        for flight in read_flights(flights_file())
        if FLIGHTS["start"] <= flight.timestamp < FLIGHTS["end"]
    ]
    return source_of(events, FLIGHTS, "arr_delay", "carrier", "tailnum")


class Collection:
    """A source's events, stored."""

    def __init__(self, transport: ClickHouseTransport, name: str) -> None:
        self.transport = transport
        self.name = name
        self.source = source(name)

    def ask(self, analysis: str, **params: Any) -> Any:
        more = {"percentile": 90} if analysis == "percentile" else {}
        question = {"event_collection": "c", "target_property": self.source.number, **more, **params}
        return self.transport.run(analysis, question).value


@pytest.fixture(
    scope="module",
    params=[(name, parts) for name in ("generated", "flights") for parts in PARTS],
    ids=lambda param: "-".join(param),
)
def collection(request: pytest.FixtureRequest, clickhouse: str) -> Iterator[Collection]:
    name, kind = request.param
    project_id, events, number = new_project_id(), source(name).events, source(name).number
    parts = [events[n::5] for n in range(5)]
    if kind == "duplicated":
        stale = [one | {"processed_at": one["processed_at"] - 1, "properties": {number: 7}} for one in events]
        parts = [random.Random(1).sample(events, len(events)), stale, *parts]
    for part in parts:
        store(clickhouse, project_id, "c", part)
    if kind == "merged":
        with closing(ClickHouse(clickhouse)) as engine:
            engine.command(f"OPTIMIZE TABLE `headwater_{project_id}`.c FINAL")
    with closing(ClickHouseTransport(clickhouse, project_id)) as transport:
        yield Collection(transport, name)


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


def weeks(name: str, zone: str) -> pd.Series:
    """The Sunday on which the week of each event began, but for the first week, which begins with the timeframe."""
    naive = local_days(source(name).frame, zone).dt.tz_localize(None)
    sundays = (naive - pd.to_timedelta((naive.dt.day_of_week + 1) % 7, unit="D")).dt.tz_localize(zone)
    begin = pd.Timestamp(source(name).timeframe["start"])
    return sundays.where(sundays > begin, begin.tz_convert(zone))


# What pandas finds does not depend on how the events are stored.


@cache
def of_groups(name: str, analysis: str) -> dict[str, Any]:
    frame = source(name).frame
    return {str(group): figure(analysis, rows) for group, rows in frame.groupby("group")}


@cache
def of_days(name: str, analysis: str, zone: str) -> dict[Any, Any]:
    frame = source(name).frame
    return {day: figure(analysis, rows) for day, rows in frame.groupby(local_days(frame, zone))}


@cache
def of_groups_in_weeks(name: str, analysis: str, zone: str) -> dict[Any, Any]:
    frame = source(name).frame
    return {key: figure(analysis, rows) for key, rows in frame.groupby([weeks(name, zone), frame["group"]])}


@pytest.mark.parametrize("analysis", METRICS)
def test_plain_and_grouped(collection: Collection, analysis: str) -> None:
    assert len(collection.source.events) > 30_000
    assert same(collection.ask(analysis), figure(analysis, collection.source.frame))
    group = collection.source.group
    got = {one[group] or "": one["result"] for one in collection.ask(analysis, group_by=group)}
    wanted = of_groups(collection.name, analysis)
    assert list(got) == sorted(wanted)
    assert all(same(result, wanted[name]) for name, result in got.items())


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("analysis", METRICS)
def test_in_intervals_and_both(collection: Collection, analysis: str, zone: str) -> None:
    of, group = collection.source, collection.source.group
    nothing = figure(analysis, of.frame.iloc[:0])
    asked = {"timeframe": of.timeframe, "timezone": zone}
    days = of_days(collection.name, analysis, zone)
    for bucket in (series := collection.ask(analysis, interval="daily", **asked)):
        day = pd.Timestamp(bucket["timeframe"]["start"]).tz_convert(zone).normalize()
        assert same(bucket["value"], days.get(day, nothing)), day
    assert len(series) >= len(days) > 40
    both = of_groups_in_weeks(collection.name, analysis, zone)
    names = sorted(of.frame["group"].unique())
    for bucket in collection.ask(analysis, interval="weekly", group_by=group, **asked):
        start = pd.Timestamp(bucket["timeframe"]["start"]).tz_convert(zone)
        got = {one[group] or "": one["result"] for one in bucket["value"]}
        assert list(got) == names
        for name, result in got.items():
            assert same(result, both.get((start, name), nothing)), (start, name)


def test_values_of_every_type(collection: Collection) -> None:
    """Counts of each value: 1 is 1.0, and neither "1" nor true."""
    values = collection.source.frame["values"]
    keys = [repr(oracle.group_key(oracle.plain(value))) for value in values.where(values.notna(), None)]
    wanted = pd.Series(keys).value_counts().to_dict()
    name = collection.source.values
    got = collection.ask("count", group_by=name)
    assert {repr(oracle.group_key(oracle.plain(group[name]))): group["result"] for group in got} == wanted
