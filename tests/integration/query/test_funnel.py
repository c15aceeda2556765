"""Funnels: random ones over random events against plain Python, ordered and not."""

import random
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.query import QueryError, catalogue
from headwater.query.clickhouse import ClickHouseTransport
from headwater.query.statements import Limits
from tests.integration.query import oracle
from tests.integration.query.events import START
from tests.querying import event, new_project_id, store

HOUR = 3_600_000
ACTORS: list[Any] = ["ann", "bob", "cid", "1", 1, 1.0, 2, 2.5, True, ["a"], None]
COLLECTIONS = ("signed up", "bought", "left", "never seen")
TIMEFRAMES: list[Any] = [
    None,
    {"start": oracle.iso(START), "end": oracle.iso(START + 20 * HOUR)},
    {"start": oracle.iso(START + 10 * HOUR), "end": oracle.iso(START + 40 * HOUR)},
]
FILTERS: list[list[dict[str, Any]]] = [
    [],
    [{"property_name": "n", "operator": "gt", "property_value": 4}],
    [{"property_name": "who", "operator": "exists", "property_value": True}],
]


def steps() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "event_collection": st.sampled_from(COLLECTIONS),
            "actor_property": st.sampled_from(["who", "user.id"]),
            "timeframe": st.sampled_from(TIMEFRAMES),
            "filters": st.sampled_from(FILTERS),
            "inverted": st.booleans(),
            "optional": st.booleans(),
            "with_actors": st.booleans(),
        }
    )


def funnels() -> st.SearchStrategy[list[dict[str, Any]]]:
    first = steps().map(lambda step: step | {"inverted": False, "optional": False})
    return st.tuples(first, st.lists(steps(), max_size=4)).map(lambda both: [both[0], *both[1]])


class Store:
    """Stored collections, and how to ask about them."""

    def __init__(self, transport: ClickHouseTransport, events: dict[str, list[oracle.Event]]) -> None:
        self.transport = transport
        self.events = events

    def funnel(self, **params: Any) -> Any:
        return self.transport.run("funnel", params).value


@pytest.fixture(scope="module")
def stored(clickhouse: str) -> Iterator[Store]:
    """Few actors and few moments, so that much coincides; a part of each collection twice, the older copy with other actors."""
    pick, project_id = random.Random(4), new_project_id()
    events = {
        name: [
            event(
                {"who": pick.choice(ACTORS), "user": {"id": pick.choice(ACTORS)}, "n": pick.randrange(10)},
                START + pick.randrange(48) * HOUR,
            )
            for _ in range(40)
        ]
        for name in COLLECTIONS[:3]
    }
    for name, each in events.items():
        stale = [one | {"processed_at": one["processed_at"] - 1, "properties": {"who": "stale"}} for one in each[::3]]
        store(clickhouse, project_id, name, stale)
        store(clickhouse, project_id, name, each)
    with closing(ClickHouseTransport(clickhouse, project_id)) as transport:
        yield Store(transport, events)


def deeds(stored: Store, step: dict[str, Any]) -> dict[Any, list[int]]:
    """When each actor did a step."""
    found: dict[Any, list[int]] = {}
    frame = step["timeframe"]
    for one in stored.events.get(step["event_collection"], []):
        actor = oracle.value_of(one, step["actor_property"])
        inside = frame is None or frame["start"] <= oracle.iso(one["timestamp"]) < frame["end"]
        if actor is not None and inside and all(oracle.matches(each, one) for each in step["filters"]):
            found.setdefault(oracle.group_key(actor), []).append(one["timestamp"])
    return found


def through(chain: list[list[int]], window: int | None) -> bool:
    """Whether somebody's moments lead through steps, each later than the one before, from any first moment within the window."""
    for first in chain[0]:
        at: int | None = first
        for moments in chain[1:]:
            at = min((moment for moment in moments if at is not None and moment > at), default=None)
        if at is not None and (window is None or at - first <= window):
            return True
    return False


def expected(stored: Store, wanted: list[dict[str, Any]], ordered: bool, window: int | None) -> list[set[Any]]:
    """The actors that pass each step."""
    done = [deeds(stored, step) for step in wanted]
    passed: list[set[Any]] = []
    remaining = set().union(*done)
    chain: list[int] = []
    for index, step in enumerate(wanted):
        did = {
            actor
            for actor in remaining
            if actor in done[index]
            and (not ordered or through([done[k].get(actor, []) for k in [*chain, index]], window))
        }
        passing = remaining - did if step["inverted"] else did
        passed.append(passing)
        if not step["optional"]:
            remaining = passing
            if not step["inverted"]:
                chain.append(index)
    return passed


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=funnels(), hours=st.sampled_from([None, 0, 1, 5, 30]), known=st.booleans())
def test_funnels_count_whom_python_counts(
    stored: Store, wanted: list[dict[str, Any]], hours: int | None, known: bool
) -> None:
    """`hours`: the window of an ordered funnel; 0 is one that is not ordered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "MIN_ROWS", 1 if known else 10**9)
        ordered = hours != 0
        order = {"ordered": True} | ({"window": f"{hours} hours"} if hours else {}) if ordered else {}
        answer = stored.funnel(steps=wanted, **order)
    sets = expected(stored, wanted, ordered, hours * HOUR if hours else None)
    assert answer["result"] == [len(each) for each in sets]
    assert [step["event_collection"] for step in answer["steps"]] == [step["event_collection"] for step in wanted]
    if not any(step["with_actors"] for step in wanted):
        assert "actors" not in answer
        return
    for step, actors, each in zip(wanted, answer["actors"], sets, strict=True):
        assert (actors and [oracle.group_key(actor) for actor in actors]) == (
            sorted(each) if step["with_actors"] else None
        )


def test_shared_timeframe_zone_and_filters(stored: Store) -> None:
    """A step's own timeframe stands; filters hold beside its own."""
    frame, other = TIMEFRAMES[1], TIMEFRAMES[2]
    one = {"event_collection": "bought", "actor_property": "who"}
    above = FILTERS[1]
    shared = stored.funnel(steps=[one, one | {"timeframe": other}], timeframe=frame, filters=above)
    own = stored.funnel(steps=[one | {"timeframe": each, "filters": above} for each in (frame, other)])
    assert shared["result"] == own["result"]
    assert shared["result"] != stored.funnel(steps=[one, one])["result"]
    assert shared["result"][1] > 0
    assert shared["steps"][0]["timeframe"] == frame


def test_as_text_and_with_the_actor_in_a_list(stored: Store) -> None:
    """As URLs carry steps, and as Keen's documents of 2012 write actor_property."""
    text = '[{"event_collection": "bought", "actor_property": ["who"], "filters": null}]'
    step = {"event_collection": "bought", "actor_property": "who"}
    assert stored.funnel(steps=text) == stored.funnel(steps=[step])


def test_a_project_that_has_nothing(clickhouse: str) -> None:
    with closing(ClickHouseTransport(clickhouse, new_project_id())) as transport:
        step = {"event_collection": "c", "actor_property": "a", "with_actors": True}
        value = transport.run("funnel", {"steps": [step, step | {"with_actors": False}]}).value
    assert (value["result"], value["actors"]) == ([0, 0], [[], None])


def test_too_many_actors_to_list(clickhouse: str, stored: Store) -> None:
    project_id = new_project_id()
    store(clickhouse, project_id, "c", [event({"who": n}, START + n) for n in range(5)])
    step = {"event_collection": "c", "actor_property": "who"}
    with closing(ClickHouseTransport(clickhouse, project_id, Limits(groups=4))) as transport:
        assert transport.run("funnel", {"steps": [step]}).value["result"] == [5]
        with pytest.raises(QueryError, match="more than 4 actors") as caught:
            transport.run("funnel", {"steps": [step | {"with_actors": True}]})
    assert caught.value.name == "QueryGroupLimitError"
