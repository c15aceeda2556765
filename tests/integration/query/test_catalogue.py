"""Knowing the types that occur changes no answer, even where new types come while a query runs."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from headwater.query import catalogue, reading
from headwater.query.catalogue import TypeCatalogue
from headwater.query.clickhouse import ClickHouseTransport, answer
from headwater.query.definition import METRICS, Definition, parse_definition, paths_of
from headwater.query.statements import Limits, connect
from tests.integration.query.events import SPAN, START, generated
from tests.integration.query.oracle import iso
from tests.querying import event, new_project_id, store

NOW = START + SPAN
PATHS = ("mixed", "number", "integer", "float", "text", "flag", "tags", "user.name", "absent")


@pytest.fixture(autouse=True)
def _ask_small_tables_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "MIN_ROWS", 1)


@pytest.fixture
def client(clickhouse: str) -> Iterator[Client]:
    with closing(connect(clickhouse, Limits())) as client:
        yield client


def ask(client: Client, known: TypeCatalogue, project_id: str, analysis: str, **params: Any) -> Any:
    definition = parse_definition(analysis, {"event_collection": "c", **params}, NOW)
    return answer(client, definition, project_id, Limits(), known).value


def test_answers_are_the_same(clickhouse: str, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    project_id, events = new_project_id(), generated(300, seed=3)
    store(clickhouse, project_id, "c", events[:100])
    store(clickhouse, project_id, "c", events[100:])
    known = TypeCatalogue()
    timeframe = {"start": iso(START), "end": iso(START + SPAN)}

    def answers() -> list[Any]:
        found = []
        for i, path in enumerate(PATHS):
            other = PATHS[i - 1]
            for analysis in METRICS[i % 3 :: 3]:  # a third of them, others at each path
                params = {"target_property": path, "percentile": 75, "group_by": other}
                found.append(ask(client, known, project_id, analysis, **params))
            for operator, value in (
                ("eq", 1),
                ("eq", "x"),
                ("ne", True),
                ("exists", True),
                ("exists", False),
                ("in", [2.5, "red"]),
                ("gt", 0),
            ):
                filters = [{"property_name": path, "operator": operator, "property_value": value}]
                series = {"filters": filters, "timeframe": timeframe, "interval": "weekly"}
                found.append(ask(client, known, project_id, "count", **series))
        return found

    with_types = answers()
    monkeypatch.setattr(catalogue, "MIN_ROWS", 10**9)
    assert _rounded(answers()) == _rounded(with_types)


def _rounded(value: Any) -> Any:
    """Floats without their last digits, which depend on the order of adding."""
    if isinstance(value, float):
        return float(f"{value:.11g}")
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return {name: _rounded(each) for name, each in value.items()} if isinstance(value, dict) else value


def test_only_the_types_that_occur_are_known(clickhouse: str, client: Client) -> None:
    project_id = new_project_id()
    store(clickhouse, project_id, "c", [event({"a": 1, "b": "x", "c": [1]}, START), event({"a": 2.5}, START)])
    definition = parse_definition(
        "sum", {"event_collection": "c", "target_property": "a", "group_by": ["b", "c", "d"]}, NOW
    )
    assert isinstance(definition, Definition)
    found = TypeCatalogue().types(client, f"headwater_{project_id}", "c", paths_of(definition), {})
    assert found == {
        "a": {"Int64", "Float64"},
        "b": {"String"},
        "c": {"Array(Nullable(Int64))"},
        "d": frozenset(),
    }


def test_a_type_that_comes_later(clickhouse: str) -> None:
    project_id = new_project_id()
    with closing(ClickHouseTransport(clickhouse, project_id)) as transport:
        for value, groups in (("x", ["x"]), (5, [5, "x"]), ([1], [5, "x", [1]]), (True, [True, 5, "x", [1]])):
            store(clickhouse, project_id, "c", [event({"a": value}, START)])
            found = transport.run("count", {"event_collection": "c", "group_by": "a"}).value
            assert found == [{"a": group, "result": 1} for group in groups]


def test_a_type_that_comes_while_the_query_runs(
    clickhouse: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event is stored after the parts were asked and before the statement reads: it is counted as what it is."""
    project_id, known = new_project_id(), TypeCatalogue()
    store(clickhouse, project_id, "c", [event({"a": "x"}, START)])
    read, late = client.raw_stream, [event({"a": 5}, START)]

    def read_late(*args: Any, **kwargs: Any) -> Any:
        if late:
            store(clickhouse, project_id, "c", [late.pop()])
        return read(*args, **kwargs)

    monkeypatch.setattr(client, "raw_stream", read_late)
    found = ask(client, known, project_id, "count", group_by="a")
    assert found == [{"a": 5, "result": 1}, {"a": "x", "result": 1}]
    assert not late


def test_objects_are_known_to_be_there(clickhouse: str, client: Client) -> None:
    project_id, known = new_project_id(), TypeCatalogue()
    exists = [{"property_name": "a", "operator": "exists", "property_value": True}]
    for value, there in (("x", 1), ({"b": 1}, 2), ({}, 2), ({"b": {"c": [1]}}, 3)):
        store(clickhouse, project_id, "c", [event({"a": value}, START)])
        assert ask(client, known, project_id, "count", filters=exists) == there


def test_extractions_see_a_type_that_comes_later(clickhouse: str, client: Client) -> None:
    """What is remembered is checked after the events are read, whether their number is asked before or not."""
    project_id, known = new_project_id(), TypeCatalogue()
    filters = [{"property_name": "a", "operator": "in", "property_value": ["x", 5]}]
    for value, found in (("x", ["x"]), (5, ["x", 5]), ("y", ["x", 5])):
        store(clickhouse, project_id, "c", [event({"a": value}, START + len(found))])
        for params in ({}, {"latest": 10}):
            events = ask(client, known, project_id, "extraction", filters=filters, **params)
            assert [one["a"] for one in events] == (found[::-1] if params else found)


def test_events_found_by_key_are_the_same(clickhouse: str, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that was stored twice is judged by what was stored last, by key too."""
    project_id, known = new_project_id(), TypeCatalogue()
    events = generated(300, seed=5)
    store(clickhouse, project_id, "c", events)
    changed = [one | {"processed_at": one["processed_at"] + 1, "properties": {"number": 12}} for one in events[::3]]
    store(clickhouse, project_id, "c", changed)
    filters = [{"property_name": "number", "operator": "gt", "property_value": 4}]
    questions: list[dict[str, Any]] = [
        {},
        {"latest": 7},
        {"timeframe": {"start": iso(START), "end": iso(START + SPAN // 2)}},
    ]

    def found() -> list[Any]:
        return [ask(client, known, project_id, "extraction", filters=filters, **more) for more in questions]

    by_key = found()
    assert sum(one.get("number") == 12 for one in by_key[0]) >= len(changed)
    monkeypatch.setattr(reading, "MOST_KEYS", 0)
    assert found() == by_key
