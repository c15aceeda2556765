"""Every analysis, plain, grouped, in intervals and both, against an oracle over the same events."""

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest

from headwater.query.clickhouse import ClickHouseTransport
from tests.integration.query import oracle
from tests.integration.query.events import SPAN, START, generated
from tests.querying import new_project_id, store

ANALYSES: list[tuple[str, dict[str, Any]]] = [
    ("count", {}),
    *((analysis, {}) for analysis in ("count_unique", "sum", "average", "minimum", "maximum", "median")),
    *(("percentile", {"percentile": p}) for p in (1, 33.33, 90, 100)),
    ("standard_deviation", {}),
    ("select_unique", {}),
]
TARGETS = ("mixed", "number", "integer", "big", "float", "user.level", "text", "absent")
GROUPS = (["text"], ["mixed"], ["user.level", "flag"], ["absent"], ["odd.`tick.'; DROP TABLE t --", "integer"])
TIMEFRAME = {"start": oracle.iso(START), "end": oracle.iso(START + SPAN)}


@dataclass
class Collection:
    """A stored collection, and how to ask about it."""

    transport: ClickHouseTransport
    events: list[oracle.Event]

    def ask(self, analysis: str, target: str | None, **params: Any) -> Any:
        target_property = {} if target is None else {"target_property": target}
        return self.transport.run(analysis, {"event_collection": "odd events", **target_property, **params}).value


@pytest.fixture(scope="module")
def collection(clickhouse: str) -> Iterator[Collection]:
    """Events in several parts; a third of them twice, the older copy with other properties."""
    project_id, events = new_project_id(), generated(700, seed=1)
    stale = [one | {"processed_at": one["processed_at"] - 1, "properties": {"integer": 999}} for one in events[::3]]
    for part in (stale[:100], events[:300], events[300:], stale[100:]):
        store(clickhouse, project_id, "odd events", part)
    with closing(ClickHouseTransport(clickhouse, project_id)) as transport:
        yield Collection(transport, events)


def equal(got: Any, wanted: Any) -> bool:
    """Whether results are the same: exact but for the last digits of floats. Wanted select_unique is [(key, value)]."""
    if isinstance(got, list):
        return [(oracle.group_key(value), value) for value in got] == wanted
    if isinstance(got, float) or isinstance(wanted, float):
        return got is not None and wanted is not None and math.isclose(got, wanted, rel_tol=1e-9, abs_tol=1e-9)
    return type(got) is type(wanted) and bool(got == wanted)


def targets(analysis: str) -> tuple[str | None, ...]:
    if analysis == "count":
        return (None,)
    # Sums of large numbers that nearly cancel have no digits to compare.
    return tuple(t for t in TARGETS if t != "big" or analysis not in ("average", "standard_deviation"))


@pytest.mark.parametrize(("analysis", "params"), ANALYSES)
def test_plain(collection: Collection, analysis: str, params: dict[str, Any]) -> None:
    for target in targets(analysis):
        wanted = oracle.analysed(analysis, target, params.get("percentile"), collection.events)
        assert equal(collection.ask(analysis, target, **params), wanted), target


@pytest.mark.parametrize(("analysis", "params"), ANALYSES)
def test_grouped(collection: Collection, analysis: str, params: dict[str, Any]) -> None:
    for paths in GROUPS:
        groups = oracle.grouped(collection.events, paths)
        for target in targets(analysis)[:3]:
            got = collection.ask(analysis, target, group_by=paths, **params)
            keys = [tuple(oracle.group_key(group[path]) for path in paths) for group in got]
            assert keys == sorted(groups)
            for key, group in zip(keys, got, strict=True):
                wanted = oracle.analysed(analysis, target, params.get("percentile"), groups[key])
                assert equal(group["result"], wanted), (paths, target, key)


@pytest.mark.parametrize(("analysis", "params"), ANALYSES)
@pytest.mark.parametrize(
    ("interval", "unit", "zone"),
    [
        ("daily", "day", "Europe/Berlin"),
        ("hourly", "hour", "UTC"),
        ("weekly", "week", "America/New_York"),
        ("monthly", "month", "Asia/Tokyo"),
        ("yearly", "year", "UTC"),
    ],
)
def test_intervals(
    collection: Collection, analysis: str, params: dict[str, Any], interval: str, unit: str, zone: str
) -> None:
    starts = oracle.bucket_starts(collection.events, unit, zone)
    buckets: dict[pd.Timestamp, list[oracle.Event]] = {}
    first = pd.Timestamp(START, unit="ms", tz="UTC")
    for start, one in zip(starts, collection.events, strict=True):
        buckets.setdefault(max(start.tz_convert("UTC"), first), []).append(one)
    for target in targets(analysis)[:2]:
        got = collection.ask(analysis, target, timeframe=TIMEFRAME, interval=interval, timezone=zone, **params)
        assert got[0]["timeframe"]["start"] == pd.Timestamp(TIMEFRAME["start"]).tz_convert(zone).isoformat(
            timespec="milliseconds"
        ).replace("+00:00", "Z")
        assert pd.Timestamp(got[-1]["timeframe"]["end"]) == pd.Timestamp(TIMEFRAME["end"])
        assert all(a["timeframe"]["end"] == b["timeframe"]["start"] for a, b in pairwise(got))
        found = {pd.Timestamp(bucket["timeframe"]["start"]).tz_convert("UTC"): bucket["value"] for bucket in got}
        assert set(buckets) <= set(found)
        for start, value in found.items():
            wanted = oracle.analysed(analysis, target, params.get("percentile"), buckets.get(start, []))
            assert equal(value, wanted), (target, start)


@pytest.mark.parametrize(("analysis", "params"), ANALYSES)
@pytest.mark.parametrize("zero_fill", [True, False])
def test_groups_in_intervals(collection: Collection, analysis: str, params: dict[str, Any], zero_fill: bool) -> None:
    zone, paths = "Europe/Berlin", ["user.level", "flag"]
    every = sorted(oracle.grouped(collection.events, paths))
    starts = oracle.bucket_starts(collection.events, "week", zone)
    for target in targets(analysis)[:2]:
        got = collection.ask(
            analysis,
            target,
            timeframe=TIMEFRAME,
            interval="weekly",
            timezone=zone,
            group_by=paths,
            zero_fill=zero_fill,
            **params,
        )
        for i, bucket in enumerate(got):
            start = pd.Timestamp(bucket["timeframe"]["start"])
            week = start - pd.Timedelta(days=(start.day_of_week + 1) % 7) if i == 0 else start
            inside = [one for at, one in zip(starts, collection.events, strict=True) if at == week]
            groups = oracle.grouped(inside, paths)
            keys = [tuple(oracle.group_key(group[path]) for path in paths) for group in bucket["value"]]
            assert keys == (every if zero_fill else sorted(groups))
            for key, group in zip(keys, bucket["value"], strict=True):
                wanted = oracle.analysed(analysis, target, params.get("percentile"), groups.get(key, []))
                assert equal(group["result"], wanted), (target, start, key)


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize(("analysis", "params"), [a for a in ANALYSES if a[0] != "select_unique"])
def test_order_and_limit(collection: Collection, analysis: str, params: dict[str, Any], descending: bool) -> None:
    """A limited answer is the head of the whole one, which is in order; null is last either way."""
    order = [{"property_name": "result", "direction": "DESC" if descending else "ASC"}, {"property_name": "mixed"}]
    for target in targets(analysis)[:1]:
        shape = {"group_by": ["mixed", "flag"], "order_by": order, **params}
        whole = collection.ask(analysis, target, **shape)
        results = [group["result"] for group in whole if group["result"] is not None]
        assert results == sorted(results, reverse=descending)
        assert [group["result"] for group in whole[len(results) :]] == [None] * (len(whole) - len(results))
        for limit in (1, 7, 1000):
            assert collection.ask(analysis, target, limit=limit, **shape) == whole[:limit]
        both = {"timeframe": TIMEFRAME, "interval": "every_10_days", **shape}
        for zero_fill in (True, False):
            series = collection.ask(analysis, target, zero_fill=zero_fill, **both)
            limited = collection.ask(analysis, target, zero_fill=zero_fill, limit=3, **both)
            assert [bucket["value"] for bucket in limited] == [bucket["value"][:3] for bucket in series]


def test_orders_of_keys(collection: Collection) -> None:
    order = [{"property_name": "flag", "direction": "DESC"}, {"property_name": "mixed", "direction": "ASC"}]
    whole = collection.ask("count", None, group_by=["mixed", "flag"], order_by=order)
    ranks = [(oracle.group_key(group["flag"]), oracle.group_key(group["mixed"])) for group in whole]
    flags = [flag for flag, _ in ranks]
    assert flags == sorted(flags, reverse=True)
    for flag in set(flags):
        mixed = [key for each, key in ranks if each == flag]
        assert mixed == sorted(mixed)
    assert collection.ask("count", None, group_by=["mixed", "flag"], order_by=order, limit=5) == whole[:5]


def test_extraction_gives_events_as_they_were_sent(collection: Collection) -> None:
    got = collection.ask("extraction", None)
    wanted = sorted(collection.events, key=lambda one: (one["timestamp"], one["id"]))
    assert len(got) == len(wanted)
    for event, sent in zip(got, wanted, strict=True):
        assert event.pop("keen") == {
            "timestamp": oracle.iso(sent["timestamp"]),
            "created_at": oracle.iso(sent["received_at"]),
            "id": sent["id"],
        }
        assert event == _kept(sent["properties"])


def _kept(properties: dict[str, Any]) -> dict[str, Any]:
    """Without null and {}, which the JSON type does not keep."""
    kept = {name: _kept(value) if isinstance(value, dict) else value for name, value in properties.items()}
    return {name: value for name, value in kept.items() if value is not None and value != {}}


def test_latest_and_property_names(collection: Collection) -> None:
    newest = sorted(collection.events, key=lambda one: (one["timestamp"], one["id"]), reverse=True)[:5]
    got = collection.ask("extraction", None, latest=5, property_names=["user.name", "keen.id", "absent"])
    for event, sent in zip(got, newest, strict=True):
        name = oracle.value_of(sent, "user.name")
        assert event == {"keen": {"id": sent["id"]}} | ({} if name is None else {"user": {"name": name}})
    assert all("keen" not in event for event in collection.ask("extraction", None, latest=5, property_names="text"))


def test_times_and_ids_are_properties(collection: Collection) -> None:
    times = sorted(oracle.iso(one["timestamp"]) for one in collection.events)
    assert collection.ask("minimum", "keen.timestamp") == times[0]
    assert collection.ask("maximum", "keen.timestamp") == times[-1]
    assert collection.ask("count_unique", "keen.id") == len(collection.events)
    groups = collection.ask("count", None, group_by="keen.timestamp", order_by="keen.timestamp", limit=3)
    assert [group["keen.timestamp"] for group in groups] == list(dict.fromkeys(times))[:3]
