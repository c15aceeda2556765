"""Filters and names: random filters against a plain Python evaluator, and names that try to leave their quotes."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.query import QueryError
from headwater.query.clickhouse import ClickHouseTransport
from tests.integration.query import oracle
from tests.integration.query.events import MIXED, NUMBERS, START, generated
from tests.querying import event, new_project_id, store

PATHS = ("mixed", "number", "integer", "big", "text", "flag", "tags", "user", "user.name", "user.level", "absent")
SCALARS = [value for value in MIXED if not isinstance(value, list | dict)] + NUMBERS + [2**62 + 1, "x", "ann", "it's"]
TEXTS = [value for value in SCALARS if isinstance(value, str)] + ["e", "20", "\\", "'", "`", "\t", "{p0:String}"]
REGEXES = ["^a", "e$", "^$", "r.d|blue", r"\d{4}-\d\d", "line.break", "(?i)RED", "ä", "it's", "[^a-z]", "\t"]


def scalars() -> st.SearchStrategy[Any]:
    return st.sampled_from(SCALARS)


def conditions() -> st.SearchStrategy[dict[str, Any]]:
    def with_value(operator: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries(
            {"property_name": st.sampled_from(PATHS), "operator": st.just(operator), "property_value": values}
        )

    ordered = st.sampled_from([v for v in SCALARS if v is not None and not isinstance(v, bool)])
    return st.one_of(
        *(with_value(operator, scalars()) for operator in ("eq", "ne")),
        *(with_value(operator, ordered) for operator in ("lt", "lte", "gt", "gte")),
        *(with_value(operator, st.sampled_from([*TEXTS, 1, 2.5, True])) for operator in ("contains", "not_contains")),
        with_value("exists", st.booleans()),
        with_value("in", st.lists(scalars(), max_size=5)),
        with_value("regex", st.sampled_from(REGEXES)),
    )


def filters() -> st.SearchStrategy[dict[str, Any]]:
    return st.recursive(
        conditions(),
        lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda each: {"operator": "or", "operands": each}),
        max_leaves=5,
    )


@dataclass
class Collection:
    """A stored collection, and how to ask about it."""

    transport: ClickHouseTransport
    events: list[oracle.Event]

    def ids(self, wanted: list[dict[str, Any]]) -> set[str]:
        params = {"event_collection": "c", "filters": wanted, "property_names": ["keen.id"]}
        return {one["keen"]["id"] for one in self.transport.run("extraction", params).value}


@pytest.fixture(scope="module")
def collection(clickhouse: str) -> Iterator[Collection]:
    """Events in two parts, every fifth also as an older copy that filters must not see."""
    project_id, events = new_project_id(), generated(250, seed=2)
    stale = [one | {"processed_at": one["processed_at"] - 1, "properties": {"mixed": "a"}} for one in events[::5]]
    store(clickhouse, project_id, "c", stale)
    store(clickhouse, project_id, "c", events)
    with closing(ClickHouseTransport(clickhouse, project_id)) as transport:
        yield Collection(transport, events)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=st.lists(filters(), max_size=3))
def test_filters_choose_what_python_chooses(collection: Collection, wanted: list[dict[str, Any]]) -> None:
    passing = {one["id"] for one in collection.events if all(oracle.matches(each, one) for each in wanted)}
    assert collection.ids(wanted) == passing


@pytest.mark.parametrize("name", ["keen.timestamp", "keen.created_at"])
@pytest.mark.parametrize("operator", ["eq", "ne", "lt", "lte", "gt", "gte", "in"])
def test_times(collection: Collection, name: str, operator: str) -> None:
    stamp = collection.events[7][oracle.TIMES[name]]
    wanted = {"property_name": name, "operator": operator, "property_value": oracle.iso(stamp)}
    if operator == "in":
        wanted["property_value"] = [oracle.iso(stamp)]
    passing = {one["id"] for one in collection.events if oracle.matches(wanted, one)}
    assert collection.ids([wanted]) == passing
    assert passing


HOSTILE = [
    "a`b", "\\", "\\`", "x'; DROP TABLE c", '"', "{p0:String}", "{database:Identifier}", "%s", "%(p0)s", "?", ":Int64", "^n",
    "😀", "line\nbreak", "tab\t", "\x00", "-- comment", "/*", "$$", " ", "properties", "timestamp", "k" * 255, "bucket", "NULL",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_only_names(clickhouse: str, name: str) -> None:
    """As a property, nested, as a value, in every place that takes a name."""
    project_id = new_project_id()
    store(
        clickhouse,
        project_id,
        "c",
        [event({name: n, "outer": {name: f"{name}{n}"}, "text": name}, START + n) for n in range(4)],
    )
    with closing(ClickHouseTransport(clickhouse, project_id)) as transport:

        def ask(analysis: str, **params: Any) -> Any:
            return transport.run(analysis, {"event_collection": "c", **params}).value

        nested = f"outer.{name}"
        assert ask("sum", target_property=name) == 6
        assert ask("select_unique", target_property=nested) == [f"{name}{n}" for n in range(4)]
        grouped = ask("count", group_by=[nested, name], order_by={"property_name": name, "direction": "DESC"}, limit=1)
        assert grouped == [{nested: f"{name}3", name: 3, "result": 1}]
        for operator, value, found in (("eq", name, 4), ("in", [name], 4), ("ne", name, 0), ("contains", name, 4)):
            filters = [{"property_name": "text", "operator": operator, "property_value": value}]
            assert ask("count", filters=filters) == found
        assert ask("extraction", property_names=[name], latest=1) == [{name: 3}]


@pytest.mark.parametrize("name", [name for name in HOSTILE if name.isascii() and name.isprintable()])
def test_hostile_collections_are_only_names(clickhouse: str, name: str) -> None:
    project_id = new_project_id()
    with closing(ClickHouseTransport(clickhouse, project_id)) as transport:
        assert transport.run("count", {"event_collection": name}).value == 0
        if len(name) <= 64:
            store(clickhouse, project_id, name, [event({"n": 1}, START)])
            assert transport.run("count", {"event_collection": name}).value == 1


def test_a_long_list_of_values(collection: Collection) -> None:
    """Larger than a URL may be."""
    wanted = [
        {"property_name": "text", "operator": "in", "property_value": [f"value {n}" for n in range(20_000)] + ["red"]}
    ]
    passing = {one["id"] for one in collection.events if one["properties"].get("text") == "red"}
    assert collection.ids(wanted) == passing


def test_a_regex_that_is_none(collection: Collection) -> None:
    with pytest.raises(QueryError, match="RE2") as caught:
        collection.ids([{"property_name": "text", "operator": "regex", "property_value": "("}])
    assert caught.value.name == "InvalidPropertyValueError"
