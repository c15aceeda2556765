"""Users of Segment's clients: learned from identify, attached to later events, the same however often a block is processed."""

import io
import random
from collections.abc import Callable
from typing import Any

import fastavro
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.codec import MARKER, codec, schema_fingerprint
from headwater.rules import RuleError
from headwater.segment_users import attachment
from processors.users import Users
from tests.state_in_memory import MemoryTable, state_over

PROJECT, OTHER = "a1" * 12, "b2" * 12
URL = {"name": "keen:url_parser", "input": {"url": "page"}, "output": "parts"}


def identify(users: Users, user: str, traits: Any, at: int, user_id: str | None = None) -> None:
    users.identify(PROJECT, {"user": user, "userId": user_id, "traits": traits}, at)


def compute(users: Users, user: str, traits: Any, at: int, user_id: str | None = None) -> None:
    users.identify(PROJECT, {"user": user, "userId": user_id, "traits": traits, "merge": True}, at)


def attached(users: Users, member: str, user: object, project_id: str = PROJECT) -> Any:
    properties = {"user": {member: user}}
    assert users.attach(project_id, properties, orjson.dumps([attachment(member)]).decode()) is None
    return properties["user"]


def test_the_newest_identify_is_attached() -> None:
    users = Users(state_over(MemoryTable()))
    assert attached(users, "userId", "u") == {"userId": "u"}
    identify(users, "u", {"plan": "pro", "n": [1]}, 5, "u")
    identify(users, "u", {"plan": "late"}, 4, "u")
    assert attached(users, "userId", "u") == {"userId": "u", "traits": {"id": "u", "plan": "pro", "n": [1]}}
    identify(users, "u", {"id": "mine"}, 5, "u")  # it replaces, and does not merge
    assert attached(users, "userId", "u") == {"userId": "u", "traits": {"id": "mine"}}
    identify(users, "a", {"seen": 1}, 1)
    assert attached(users, "anonymousId", "a") == {"anonymousId": "a", "traits": {"seen": 1}}
    assert attached(users, "userId", "u", OTHER) == {"userId": "u"}
    assert attached(users, "userId", 7) == {"userId": 7}


def test_a_computed_trait_leaves_the_others_as_they_are() -> None:
    users = Users(state_over(MemoryTable()))
    identify(users, "u", {"plan": "pro", "ltv": 1}, 5, "u")
    for traits, at in (({"ltv": 7}, 6), ({"big_spender": True}, 7), ({"ltv": 3, "churn": 0}, 4)):  # the last is late
        compute(users, "u", traits, at)
    known = {"id": "u", "plan": "pro", "ltv": 7, "big_spender": True}
    assert attached(users, "userId", "u") == {"userId": "u", "traits": known}
    identify(users, "u", {"plan": "late"}, 6, "u")  # it comes late, and leaves what was computed then or since
    known = {"id": "u", "plan": "late", "ltv": 7, "big_spender": True}
    assert attached(users, "userId", "u")["traits"] == known
    identify(users, "u", {"plan": "later"}, 7, "u")
    known = {"id": "u", "plan": "later", "big_spender": True}
    assert attached(users, "userId", "u")["traits"] == known
    compute(users, "new", {"ltv": 1}, 1, "new")
    assert attached(users, "userId", "new")["traits"] == {"id": "new", "ltv": 1}
    with pytest.raises(RuleError, match="32,768 is the most"):
        compute(users, "u", {"x": "y" * 32_760}, 8)
    assert attached(users, "userId", "u") == {"userId": "u", "traits": known}
    identify(users, "u", {"plan": "free"}, 9, "u")
    assert attached(users, "userId", "u")["traits"] == {"id": "u", "plan": "free"}


VALUES = st.dictionaries(st.sampled_from("abc"), st.integers(0, 9), max_size=3)
SAID = st.lists(st.tuples(st.none() | VALUES, st.none() | VALUES), max_size=5)  # identified, computed: at each time


@given(SAID, st.randoms(use_true_random=False))
def test_what_is_known_does_not_depend_on_the_order_in_which_it_comes(
    said: list[tuple[dict[str, int] | None, dict[str, int] | None]], order: random.Random
) -> None:
    users, expected = Users(state_over(MemoryTable())), dict[str, int]()
    messages: list[tuple[Callable[..., None], dict[str, int], int]] = []
    for at, (identified, computed) in enumerate(said):
        if identified is not None:
            expected = identified
            messages.append((identify, identified, at))
        if computed is not None:
            expected = {**expected, **computed}
            messages.append((compute, computed, at))
    order.shuffle(messages)
    for tell, traits, at in messages:
        tell(users, "u", traits, at)
    assert attached(users, "userId", "u").get("traits", {}) == expected


def test_a_record_of_the_first_version_is_read() -> None:
    schema = next(one for one in codec("user").versions.values() if len(one["fields"]) == 3)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, {"user_id": "u", "traits": '{"plan":"pro"}', "identified_at": 5})
    state = state_over(MemoryTable())
    state.set_user(PROJECT, "u", MARKER + schema_fingerprint(schema) + out.getvalue())
    users = Users(state)
    compute(users, "u", {"ltv": 1}, 6)
    assert attached(users, "userId", "u")["traits"] == {"id": "u", "plan": "pro", "ltv": 1}


def test_other_add_ons_are_left_and_an_event_without_user_is_as_it_was() -> None:
    users = Users(state_over(MemoryTable()))
    properties: dict[str, Any] = {"page": "x"}
    addons = orjson.dumps([URL, attachment("userId")]).decode()
    rest = users.attach(PROJECT, properties, addons)
    assert rest is not None
    assert orjson.loads(rest) == [URL]
    assert properties == {"page": "x"}


def test_a_block_that_is_processed_again_finds_what_it_found() -> None:
    table = MemoryTable()
    state = state_over(table, 3)
    for _ in range(2):  # the first time nothing is kept
        users = Users(state)
        assert attached(users, "userId", "u") == {"userId": "u"}
        identify(users, "u", {"plan": "pro"}, 5, "u")
    users.keep()
    assert attached(Users(state), "userId", "u")["traits"] == {"id": "u", "plan": "pro"}
    state.undo()
    assert attached(Users(state), "userId", "u") == {"userId": "u"}
    users.keep()
    table.apply(state.changes(9, 0))
    state.trim()
    for fresh in (state, state_over(table, 3)):
        assert attached(Users(fresh), "userId", "u")["traits"] == {"id": "u", "plan": "pro"}
    assert state.changes(10, 0).keys() == {b"3/watermark"}


def test_who_is_forgotten_is_nobody_until_identified_again() -> None:
    table = MemoryTable()
    state = state_over(table, 3)
    users = Users(state)
    identify(users, "u", {"plan": "pro"}, 5, "u")
    users.keep()
    table.apply(state.changes(1, 0))
    users = Users(state)
    identify(users, "u", None, 6)
    assert attached(users, "userId", "u") == {"userId": "u"}
    assert "traits" in attached(Users(state), "userId", "u")  # the block may be processed again
    users.keep()
    assert attached(Users(state), "userId", "u") == {"userId": "u"}  # the table does not know it yet
    table.apply(state.changes(2, 0))
    state.trim()
    for known in (state, state_over(table, 3)):
        assert attached(Users(known), "userId", "u") == {"userId": "u"}
    identify(users, "u", {"plan": "free"}, 1)
    assert attached(users, "userId", "u")["traits"] == {"plan": "free"}


def test_what_waited_as_history_is_forgotten_and_what_came_since_is_not() -> None:
    users = Users(state_over(MemoryTable()))
    forget = {"user": "u", "userId": None, "traits": None, "before": 10}
    users.identify(PROJECT, forget, 99)
    identify(users, "u", {"plan": "old"}, 10)
    users.identify(PROJECT, forget, 99)
    assert attached(users, "userId", "u") == {"userId": "u"}
    compute(users, "u", {"ltv": 1}, 11)
    identify(users, "u", {"plan": "old"}, 9)
    users.identify(PROJECT, forget, 99)
    assert attached(users, "userId", "u")["traits"] == {"ltv": 1}
    identify(users, "u", {"plan": "new"}, 12)
    users.identify(PROJECT, forget, 99)
    assert attached(users, "userId", "u")["traits"] == {"plan": "new"}


def test_memory_keeps_what_the_table_does_not_have() -> None:
    table = MemoryTable()
    state = state_over(table, 3)
    state.set_user(PROJECT, "u", b"1")
    table.apply(state.changes(1, 0))
    state.set_user(PROJECT, "v", b"2")  # while the first is being written
    state.trim()
    assert state._users == {(PROJECT, "v"): b"2"}
    assert (state.user(PROJECT, "u"), state.user(PROJECT, "v")) == (b"1", b"2")


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"user": 1, "traits": {}},
        {"user": "u", "traits": []},
        {"user": "u", "traits": {}, "userId": 1},
        {"user": "u", "traits": None, "before": "1"},
    ],
)
def test_what_is_no_identify(properties: dict[str, Any]) -> None:
    with pytest.raises(RuleError, match="identify"):
        Users(state_over(MemoryTable())).identify(PROJECT, properties, 1)
