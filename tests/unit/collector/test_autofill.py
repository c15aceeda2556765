"""What a key puts into events: merged object by object, the key's values before the writer's."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from collector.autofill import fill

names = st.sampled_from("abc")
values = st.recursive(
    st.integers() | st.none() | st.lists(st.integers(), max_size=2),
    lambda children: st.dictionaries(names, children, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(names, values, max_size=3)


def merged(event: Any, autofill: Any) -> Any:
    """The rule, written the other way round."""
    if not isinstance(autofill, dict):
        return autofill
    beneath = event if isinstance(event, dict) else {}
    return {
        name: merged(beneath.get(name), autofill[name]) if name in autofill else beneath[name]
        for name in (*beneath, *(name for name in autofill if name not in beneath))
    }


@given(objects, objects)
def test_the_keys_values_win_at_every_depth(event: dict[str, Any], autofill: dict[str, Any]) -> None:
    expected, before = merged(event, autofill), copy.deepcopy(autofill)
    fill(event, autofill)
    assert event == expected
    assert autofill == before


@given(objects)
def test_an_event_shares_no_object_with_the_key(autofill: dict[str, Any]) -> None:
    def spoil(value: Any) -> None:
        if isinstance(value, dict):
            for one in value.values():
                spoil(one)
            value["spoiled"] = True

    before, event = copy.deepcopy(autofill), dict[str, Any]()
    fill(event, autofill)
    spoil(event)
    assert autofill == before
