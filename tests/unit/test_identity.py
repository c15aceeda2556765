"""Ids are the same at every hop and on every retry."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from headwater import identity


@given(st.uuids(), st.booleans())
def test_a_uuid_is_kept(value: uuid.UUID, upper: bool) -> None:
    text = str(value).upper() if upper else str(value)
    assert identity.event_id("0" * 24, text) == str(value)


@given(st.text(max_size=80), st.text(max_size=80))
def test_other_ids_are_uuid5_and_injective(one: str, other: str) -> None:
    first, second = identity.event_id("0" * 24, one), identity.event_id("0" * 24, other)
    assert uuid.UUID(first).version == 5 or one.lower() == first
    assert (first == second) == (one == other)


def test_the_same_id_in_two_projects_is_two_events() -> None:
    assert identity.event_id("0" * 24, "order-7") != identity.event_id("1" * 24, "order-7")


def test_derived_ids_never_change() -> None:
    """Pinned: another value would double every event that is sent again after an upgrade."""
    assert identity.event_id("0" * 24, "order-7") == "d89f6699-f2f5-58b2-b644-e37b116dac3a"
    assert identity.origin_id("headwater.raw", 3, 77) == "c04c0dcc-0ccf-5225-83fd-2c87562c5868"


@given(st.text("0123456789abcdef-", max_size=40))
def test_it_agrees_with_the_standard_library(name: str) -> None:
    namespace = uuid.uuid5(identity.NAMESPACE, "0" * 24)
    assert identity.event_id("0" * 24, "x" + name) == str(uuid.uuid5(namespace, "x" + name))


@given(st.integers(1, 20))
def test_fresh_ids_are_random_uuids(count: int) -> None:
    ids = identity.new_event_ids(count)
    assert len(set(ids)) == count
    for text in ids:
        assert (str(uuid.UUID(text)), uuid.UUID(text).version, uuid.UUID(text).variant) == (text, 4, uuid.RFC_4122)
