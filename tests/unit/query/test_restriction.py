"""Forced filters reach every place of a query that chooses events, in every form that it may arrive in."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.query import QueryError
from headwater.query.definition import parse_definition
from headwater.query.filters import parse_filters
from headwater.query.funnel import Funnel
from headwater.query.restriction import restrict

OWN = {"property_name": "city", "operator": "eq", "property_value": "Rome"}
FORCED = {"property_name": "account", "operator": "eq", "property_value": 4}

names = st.sampled_from(["event_collection", "filters", "steps", "first", "analyses", "timeframe", "x"])
filters = st.sampled_from([None, "", [], [OWN], OWN, json.dumps([OWN]), {"operator": "or", "operands": [OWN]}])
parts = st.recursive(
    st.none() | st.integers() | st.sampled_from(["", "a", "[", "{", '"{}"', "purchases"]),
    lambda children: (
        st.lists(children, max_size=3)
        | st.fixed_dictionaries({"event_collection": st.just("c")}, optional={"filters": filters, "x": children})
        | st.dictionaries(names.filter(lambda name: name != "filters"), children, max_size=3)
    ),
    max_leaves=12,
)
parts_or_text = parts | parts.map(json.dumps)


def choosing(value: Any) -> list[dict[str, Any]]:
    """Every object in a query that chooses events, also where it stands as JSON text."""
    if isinstance(value, str):
        try:
            inner = orjson.loads(value)
        except orjson.JSONDecodeError:
            return []
        return [] if isinstance(inner, str) else choosing(inner)
    if isinstance(value, list):
        return [found for one in value for found in choosing(one)]
    if not isinstance(value, dict):
        return []
    inside = [found for name, one in value.items() if name != "filters" for found in choosing(one)]
    return [value, *inside] if "event_collection" in value or "filters" in value else inside


@given(st.dictionaries(names.filter(lambda name: name != "filters"), parts_or_text, max_size=4), filters)
def test_every_part_that_chooses_events_has_the_filters(params: dict[str, Any], own: Any) -> None:
    restricted = restrict("retention", params | {"filters": own}, [FORCED])
    assert restricted["filters"][-1] == FORCED
    for part in choosing(restricted):
        assert part["filters"][-1] == FORCED
    before, after = choosing(params), choosing({name: one for name, one in restricted.items() if name != "filters"})
    assert len(before) == len(after)


@given(st.dictionaries(names.filter(lambda name: name != "filters"), parts_or_text, max_size=4), filters)
def test_a_funnels_filters_are_its_own_and_hold_for_every_step(params: dict[str, Any], own: Any) -> None:
    restricted = restrict("funnel", params | {"filters": own}, [FORCED])
    assert restricted.pop("filters")[-1] == FORCED
    assert restricted == params
    step = {"event_collection": "c", "actor_property": "a", "filters": own}
    asked = {"steps": [step, step], "filters": own}
    funnel = parse_definition("funnel", restrict("funnel", asked, [FORCED]), 0)
    plain = parse_definition("funnel", asked, 0)
    assert isinstance(funnel, Funnel)
    assert isinstance(plain, Funnel)
    assert all(one.deed.filters[-1] == parse_filters([FORCED])[0] for one in funnel.steps)
    assert [one.echo for one in funnel.steps] == [one.echo for one in plain.steps]


@given(st.dictionaries(names, parts_or_text, max_size=4))
def test_without_forced_filters_nothing_changes(params: dict[str, Any]) -> None:
    assert restrict("count", params, []) == params


def test_own_filters_stay() -> None:
    other = {"property_name": "city", "operator": "eq", "property_value": "Oslo"}
    steps = [
        {"event_collection": "a", "filters": [other]},
        {"event_collection": "b"},
        {"event_collection": "c", "filters": []},
    ]
    for given_steps in (steps, json.dumps(steps), [json.dumps(step) for step in steps]):
        restricted = restrict("retention", {"steps": given_steps, "filters": json.dumps(OWN)}, [FORCED])
        assert [step["filters"] for step in restricted["steps"]] == [[other, FORCED], [FORCED], [FORCED]]
        assert restricted["filters"] == [OWN, FORCED]


@pytest.mark.parametrize("own", ["[", '"text"', 5, [5], "5", [{"operator": "nor"}], [[]]])
def test_filters_that_are_none_are_refused(own: Any) -> None:
    with pytest.raises(QueryError):
        restrict("count", {"event_collection": "a", "filters": own}, [FORCED])
    with pytest.raises(QueryError):
        restrict("retention", {"steps": [{"event_collection": "a", "filters": own}]}, [FORCED])


def test_a_query_nested_without_end_is_refused() -> None:
    nested: Any = {"event_collection": "a"}
    for _ in range(60):
        nested = [nested]
    with pytest.raises(QueryError, match="deep"):
        restrict("count", {"steps": nested}, [FORCED])
