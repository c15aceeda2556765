"""Groups by buckets and ranges, and several figures at once, against plain Python and the single analyses."""

from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from headwater.query import catalogue
from headwater.query.clickhouse import ClickHouseTransport
from headwater.query.definition import METRICS
from tests.integration.query import oracle
from tests.integration.query.events import SPAN, START, generated
from tests.querying import event, new_project_id, store

TIMEFRAME = {"start": oracle.iso(START), "end": oracle.iso(START + SPAN)}
TENTHS = [n / 10 for n in range(-30, 31)]


class Collection:
    """A stored collection, and how to ask about it."""

    def __init__(self, transport: ClickHouseTransport, events: list[oracle.Event]) -> None:
        self.transport = transport
        self.events = events

    def ask(self, analysis: str, **params: Any) -> Any:
        return self.transport.run(analysis, {"event_collection": "c", **params}).value


@pytest.fixture(scope="module")
def collection(clickhouse: str) -> Iterator[Collection]:
    project_id, events = new_project_id(), generated(400, seed=8)
    events += [event({"tenth": value, "mixed": "x"}, START + i) for i, value in enumerate(TENTHS)]
    store(clickhouse, project_id, "c", events)
    with closing(ClickHouseTransport(clickhouse, project_id)) as transport:
        yield Collection(transport, events)


def counted(collection: Collection, path: str, group: Any) -> dict[Any, int]:
    counts: dict[Any, int] = {}
    for one in collection.events:
        value = oracle.value_of(one, path)
        key = group(value) if oracle.kind(value) == "number" else None
        counts[key] = counts.get(key, 0) + 1
    return counts


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(["number", "integer", "big", "float", "mixed", "tenth", "text", "user.level", "absent"]),
    size=st.sampled_from([1, 2, 10, 7, 0.1, 0.25, 2.5, 1000, 1e6, 0.3]),
    known=st.booleans(),
)
def test_buckets(collection: Collection, path: str, size: float, known: bool) -> None:
    """A bucket is called by its lower bound, a multiple of the size; whatever is no number is the group null."""
    assume(path not in ("big", "mixed") or float(size).is_integer())  # a float has not the digits

    def bucket(value: Any) -> Any:
        number = value if float(size).is_integer() else float(value)  # as the engine divides
        exact = Fraction(str(number)) // Fraction(str(size)) * Fraction(str(size))
        return int(exact) if exact.denominator == 1 else float(exact)

    wanted = counted(collection, path, bucket)
    key: dict[str, Any] = (
        {"property_name": path, "buckets": {"size": size}} if known else {"property": path, "size": size}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "MIN_ROWS", 1 if known else 10**9)
        got = collection.ask("count", group_by=[key])
    assert {group[path]: group["result"] for group in got} == wanted
    numbers = [group[path] for group in got if group[path] is not None]
    assert numbers == sorted(numbers)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(["number", "integer", "mixed", "tenth", "text"]),
    bounds=st.lists(
        st.tuples(st.sampled_from([None, -5, -0.5, 0, 1.5]), st.sampled_from([None, 2, 3.5, 40])),
        min_size=1,
        max_size=4,
    ),
)
def test_ranges(collection: Collection, path: str, bounds: list[tuple[Any, Any]]) -> None:
    """The first range that holds a number counts; ranges come in the order in which they are given."""
    bounds = [one for one in dict.fromkeys(bounds) if one != (None, None)]
    if not bounds:
        return
    labels = [f"< {b}" if a is None else f">= {a}" if b is None else f"[{a}, {b})" for a, b in bounds]

    def named(value: Any) -> Any:
        for label, (a, b) in zip(labels, bounds, strict=True):
            if (a is None or value >= a) and (b is None or value < b):
                return label
        return None

    ranges = [{"from": a, "to": b} for a, b in bounds]
    got = collection.ask("count", group_by={"property_name": path, "ranges": ranges})
    assert {group[path]: group["result"] for group in got} == counted(collection, path, named)
    order = [group[path] for group in got if group[path] is not None]
    assert order == [label for label in labels if label in order]
    backwards = collection.ask(
        "count",
        group_by={"property_name": path, "ranges": ranges},
        order_by={"property_name": path, "direction": "DESC"},
        limit=3,
    )
    assert backwards == got[::-1][:3]


def test_buckets_beside_properties_and_in_intervals(collection: Collection) -> None:
    group_by = [{"property_name": "integer", "buckets": {"size": 25}}, "flag"]
    groups = collection.ask("count", group_by=group_by)
    series = collection.ask("count", group_by=group_by, timeframe=TIMEFRAME, interval="every_2_weeks")
    identity = [(group["integer"], group["flag"]) for group in groups]
    assert all([(one["integer"], one["flag"]) for one in bucket["value"]] == identity for bucket in series)
    sums = [sum(bucket["value"][i]["result"] for bucket in series) for i in range(len(groups))]
    assert sums == [group["result"] for group in groups]


SHAPES: list[dict[str, Any]] = [
    {},
    {"group_by": ["flag", "text"]},
    {"timeframe": TIMEFRAME, "interval": "weekly", "timezone": "Europe/Berlin"},
    {"timeframe": TIMEFRAME, "interval": "weekly", "timezone": "Europe/Berlin", "group_by": "mixed"},
    {"timeframe": TIMEFRAME, "interval": "daily", "group_by": "mixed", "zero_fill": False},
]


@pytest.mark.parametrize("shape", SHAPES, ids=range(len(SHAPES)))
def test_several_figures_are_those_of_the_single_analyses(collection: Collection, shape: dict[str, Any]) -> None:
    single = {
        name: {"target_property": "number"} | ({"percentile": 90} if name == "percentile" else {}) for name in METRICS
    }
    analyses = {f"the {name}": {"analysis_type": name, **params} for name, params in single.items()}
    analyses["other"] = {"analysis_type": "sum", "target_property": "integer"}
    together = collection.ask("multi_analysis", analyses=analyses, **shape)
    for name, params in [*single.items(), ("sum", {"target_property": "integer"})]:
        label = "other" if params["target_property"] == "integer" else f"the {name}"
        assert _picked(together, label, shape) == collection.ask(name, **params, **shape), label


def _picked(value: Any, label: str, shape: dict[str, Any]) -> Any:
    """One figure out of several, in the shape that it has alone."""
    if "interval" in shape:
        inner = {name: each for name, each in shape.items() if name != "interval"}
        return [bucket | {"value": _picked(bucket["value"], label, inner)} for bucket in value]
    if "group_by" not in shape:
        return value[label]
    keys = shape["group_by"] if isinstance(shape["group_by"], list) else [shape["group_by"]]
    return [{key: group[key] for key in keys} | {"result": group[label]} for group in value]


def test_figures_are_ordered_by_their_labels(collection: Collection) -> None:
    analyses = {"n": {"analysis_type": "count"}, "total": {"analysis_type": "sum", "target_property": "integer"}}
    order = [{"property_name": "n", "direction": "DESC"}, {"property_name": "total"}]
    whole = collection.ask("multi_analysis", analyses=analyses, group_by="mixed", order_by=order)
    assert [(-group["n"], group["total"]) for group in whole] == sorted(
        (-group["n"], group["total"]) for group in whole
    )
    assert collection.ask("multi_analysis", analyses=analyses, group_by="mixed", order_by=order, limit=4) == whole[:4]
