"""The property catalogue, and the survey of a block by columns."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headwater.rules import RuleError, check_event
from processors.catalogue import Catalogue, Surveyor
from processors.shapes import BITS, EMPTY_OBJECT, shape_of

names = st.sampled_from(["a", "b", "c", "d"])
scalars = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-1, 1) | st.sampled_from(["", "x"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
events = st.dictionaries(names, values, max_size=4)


def paths_of(event: dict[str, Any], parent: str = "") -> dict[str, int]:
    """Path and type bit by definition."""
    paths: dict[str, int] = {}
    for name, value in event.items():
        if isinstance(value, dict) and value:
            paths |= paths_of(value, f"{parent}{name}.")
        else:
            paths[parent + name] = EMPTY_OBJECT if isinstance(value, dict) else BITS[type(value)]
    return paths


def counted(block: list[tuple[dict[str, Any], int]], into: dict[str, list[int]]) -> None:
    """Add what a block brings, event by event."""
    for event, received in block:
        for path, bit in paths_of(event).items():
            entry = into.setdefault(path, [0, received, received, 0])
            entry[0] |= bit
            entry[1], entry[2] = min(entry[1], received), max(entry[2], received)
            entry[3] += 1


@given(events)
def test_the_shape_of_an_object_is_its_paths(event: dict[str, Any]) -> None:
    assert dict(shape_of(event)) == paths_of(event)
    assert shape_of(event) == shape_of(dict(event))


blocks = st.lists(st.lists(st.tuples(events, st.integers(0, 99)), max_size=8), max_size=4)


@given(blocks)
def test_counting_by_columns_equals_counting_by_events(blocks: list[list[tuple[dict[str, Any], int]]]) -> None:
    surveyor, catalogue = Surveyor(100), Catalogue()
    expected: dict[str, list[int]] = {}
    for block in blocks:
        found, refused = surveyor.survey([event for event, _ in block], [received for _, received in block])
        assert refused == {}
        by_events: dict[str, list[int]] = {}
        counted(block, by_events)
        assert found == by_events
        catalogue.add(found, 7, 1_000)
        counted(block, expected)
    assert catalogue.paths == expected
    assert Catalogue.decode(catalogue.encode()) == catalogue


def test_beyond_the_cap_paths_are_counted_and_known_ones_go_on() -> None:
    catalogue = Catalogue()
    for name in ("a", "b", "c", "a"):
        catalogue.add({name: [2, 5, 6, 2]}, 0, 2)
    assert catalogue.paths == {"a": [2, 5, 6, 4], "b": [2, 5, 6, 2]}
    assert catalogue.beyond == 2


@pytest.mark.parametrize(
    "event",
    [
        {"a.b": 1},
        {"": 1},
        {"$a": 1},
        {"a": {"$b": 1}},
        {"a": [{"b.c": 1}]},
        {"a": [[1, [{"": 1}]]]},
        {"a" * 256: 1},
        {"a": {"b": {"c": {"d": 1}}}},
    ],
)
def test_an_event_against_the_rules_is_refused_every_time_and_the_others_are_not(event: dict[str, Any]) -> None:
    surveyor, good = Surveyor(3), {"a": {"b": 1}}
    for _ in range(2):
        found, refused = surveyor.survey([good, event, good, event], [1, 2, 3, 4])
        assert refused.keys() == {1, 3}
        assert found == {"a.b": [2, 1, 3, 2]}
    assert surveyor.survey([good], [0]) == ({"a.b": [2, 0, 0, 1]}, {})


@given(st.lists(st.one_of(events, st.just({"$x": 1}), st.just({"a": [{"x.y": 1}]})), max_size=10), st.integers(2, 6))
@example([{"a": {"a": {}}}], 2)
def test_refused_are_those_that_the_rules_refuse(block: list[dict[str, Any]], max_depth: int) -> None:
    def allowed(event: dict[str, Any]) -> bool:
        try:
            check_event(event, max_depth)
        except RuleError:
            return False
        return True

    found, refused = Surveyor(max_depth).survey(block, [0] * len(block))
    assert refused.keys() == {position for position, event in enumerate(block) if not allowed(event)}
    by_events: dict[str, list[int]] = {}
    counted([(event, 0) for event in block if allowed(event)], by_events)
    assert found == by_events
