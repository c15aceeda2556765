"""The property catalogue and the shapes that make it cheap."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.rules import RuleError
from processors.catalogue import BITS, EMPTY_OBJECT, Catalogue, Seen, Shapes

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
    paths = {}
    for name, value in event.items():
        if isinstance(value, dict) and value:
            paths |= paths_of(value, f"{parent}{name}.")
        else:
            paths[parent + name] = EMPTY_OBJECT if isinstance(value, dict) else BITS[type(value)]
    return paths


@given(st.lists(events, max_size=12))
def test_the_paths_of_each_event_are_found_whatever_was_seen_before(block: list[dict[str, Any]]) -> None:
    shapes = Shapes(100)
    for event in block:
        assert dict(shapes.of(event).paths) == paths_of(event)


@given(events)
def test_events_that_differ_in_values_only_share_a_shape(event: dict[str, Any]) -> None:
    def changed(value: Any) -> Any:
        match value:
            case dict():
                return {name: changed(member) for name, member in value.items()}
            case list():
                return [changed(member) for member in value]
            case str() | float():
                return value * 2
            case bool():
                return not value
            case int():
                return value + 1
        return value

    shapes = Shapes(100)
    assert shapes.of(changed(event)) is shapes.of(event)


@given(st.lists(st.lists(st.tuples(events, st.integers(0, 99)), min_size=1, max_size=4), max_size=4))
def test_counting_equals_the_model(blocks: list[list[tuple[dict[str, Any], int]]]) -> None:
    shapes, catalogue, expected = Shapes(100), Catalogue(), {}
    for block in blocks:
        tally: dict[Any, list[int]] = {}
        for event, received in block:
            seen = tally.setdefault(shapes.of(event), [0, received, received])
            seen[0] += 1
            seen[1], seen[2] = min(seen[1], received), max(seen[2], received)
            for path, bit in paths_of(event).items():
                entry = expected.setdefault(path, [0, received, received, 0])
                entry[0] |= bit
                entry[1], entry[2] = min(entry[1], received), max(entry[2], received)
                entry[3] += 1
        catalogue.add({shape: Seen(*seen) for shape, seen in tally.items()}, 7, 1_000)
    assert catalogue.paths == expected
    assert Catalogue.decode(catalogue.encode()) == catalogue


def test_beyond_the_cap_paths_are_counted_and_known_ones_go_on() -> None:
    shapes, catalogue = Shapes(100), Catalogue()
    for name in ("a", "b", "c", "a"):
        catalogue.add({shapes.of({name: 1}): Seen(2, 5, 6)}, 0, 2)
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
def test_names_and_nesting_against_the_rules_are_refused_every_time(event: dict[str, Any]) -> None:
    shapes = Shapes(3)
    for _ in range(2):
        with pytest.raises(RuleError):
            shapes.of(event)
    assert shapes.of({"a": {"b": 1}}).paths == (("a.b", 2),)


def test_a_list_hides_no_name_behind_a_known_shape() -> None:
    shapes = Shapes(100)
    shapes.of({"a": [{"b": 1}], "c": [1]})
    with pytest.raises(RuleError):
        shapes.of({"a": [{"$b": 1}], "c": [1]})
    with pytest.raises(RuleError):
        shapes.of({"a": [{"b": 1}, {"$b": 1}], "c": [1]})
    with pytest.raises(RuleError):
        shapes.of({"a": [{"b": 1}], "c": [{"$b": 1}]})
