"""The names of topics: injective, legal for Kafka, found by the sink's pattern."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headwater import topics
from headwater.topics import in_pattern, in_topic, of_in_topic

LEGAL = re.compile(r"[a-zA-Z0-9._-]{1,249}")
project_ids = st.text("0123456789abcdef", min_size=24, max_size=24)
names = st.text(min_size=1, max_size=300)


@given(project_ids, names)
@example("0" * 24, "é" * 200)
@example("0" * 24, "x" * 500)
def test_every_name_is_legal_and_matches_the_pattern(project_id: str, name: str) -> None:
    topic = topics.collection_topic("headwater", project_id, name)
    assert LEGAL.fullmatch(topic)
    assert re.match(topics.collections_pattern("headwater"), topic)


@given(names, names)
@example("a.b", "a_b")
@example("a b", "a-20b")
@example("x" * 300, "x" * 299 + "y")
@example("é" * 100, "é" * 101)
def test_no_two_collections_share_a_topic(one: str, other: str) -> None:
    same = topics.collection_topic("h", "0" * 24, one) == topics.collection_topic("h", "0" * 24, other)
    assert same == (one == other)


def test_a_shortened_name_never_equals_a_whole_one() -> None:
    """`-.` occurs in no escaped name, so nothing that fits whole can look shortened."""
    shortened = topics.collection_topic("h", "0" * 24, "x" * 400).rsplit(".events.", 1)[1][25:]
    assert "-." in shortened
    assert "." not in topics.collection_topic("h", "0" * 24, shortened[:200]).split(".", 3)[3]


def test_plain_names_stay_as_they_are() -> None:
    assert topics.collection_topic("headwater", "a" * 24, "sign_up") == f"headwater.events.{'a' * 24}.sign_up"
    assert (
        topics.collection_topic("headwater", "a" * 24, "User posts.new")
        == f"headwater.events.{'a' * 24}.User-20posts-2enew"
    )


def test_other_topics_are_not_taken_for_collections() -> None:
    pattern = topics.collections_pattern("headwater")
    for name in (
        "headwater.raw",
        "headwater.dead-letters",
        "headwater.control",
        "headwaterXevents." + "a" * 24 + ".x",
        "other.headwater.events.x",
    ):
        assert not re.match(pattern, name)


@given(st.from_regex("[0-9a-f]{24}", fullmatch=True), st.text(st.characters(codec="ascii"), min_size=1, max_size=60))
def test_the_topics_of_producers_name_their_collection(project_id: str, name: str) -> None:
    topic = in_topic("headwater", project_id, name)
    assert re.fullmatch(in_pattern("headwater")[1:], topic)
    assert of_in_topic("headwater", topic) == (project_id, name)


def test_a_topic_of_producers_that_names_none_is_refused() -> None:
    assert of_in_topic("headwater", f"headwater.in.{'a' * 24}.page.views") == ("a" * 24, "page.views")
    for escaped in ("sign-up", "a-2D", "a-", "-41", "a-ff", "-2d-"):
        with pytest.raises(ValueError, match="names no collection"):
            of_in_topic("headwater", f"headwater.in.{'a' * 24}.{escaped}")
    with pytest.raises(ValueError, match="characters"):
        in_topic("headwater", "a" * 24, "-" * 64 + "x" * 30)
