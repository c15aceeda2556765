"""Names that properties may not have."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headwater.names import with_good_names
from headwater.rules import check_event


def test_dots_and_dollars_become_underscores() -> None:
    assert with_good_names({"a.b.c": {"$d": [{"e.f": 1}]}, "a_b_c": 2}) == {"a_b_c": 2}
    assert with_good_names({"a.b.c": {"$d": [{"e.f": 1}]}}) == {"a_b_c": {"_d": [{"e_f": 1}]}}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.$", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text("ab.$", min_size=1, max_size=3), JSON, max_size=4))
def test_renamed_properties_keep_the_rules_and_others_are_untouched(properties: dict[str, Any]) -> None:
    renamed = with_good_names(properties)
    check_event(renamed, 100)
    assert with_good_names(renamed) == renamed
