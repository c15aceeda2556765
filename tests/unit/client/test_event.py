"""Events on their way out: one id, one time, one JSON text."""

import os
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.client.event import bulk_body, make_event
from headwater.rules import RuleError

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=10).filter(lambda name: name != "keen")
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES: Any = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_what_json_has_is_sent_as_it_is(properties: dict[str, Any]) -> None:
    event = make_event("visits", properties, "2026-01-31T12:00:00Z", "one")
    sent = orjson.loads(event.payload)
    assert sent.pop("keen") == {"uniqueness_token": "one", "timestamp": "2026-01-31T12:00:00Z"}
    assert sent == properties


def test_an_event_without_id_and_time_gets_both() -> None:
    before = datetime.now(UTC)
    one, two = make_event("visits", {}), make_event("visits", {})
    assert UUID(one.id) != UUID(two.id)
    keen = orjson.loads(one.payload)["keen"]
    assert keen["uniqueness_token"] == one.id
    assert before <= datetime.fromisoformat(keen["timestamp"]) <= datetime.now(UTC)


def test_the_time_of_an_event_is_the_clocks_forward_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for microseconds in (1_769_860_800_000_000, 1_769_860_800_000_007, 1_769_860_801_999_999, 1_769_860_799_500_000, 0):
        monkeypatch.setattr("time.time_ns", lambda now=microseconds: now * 1_000 + 999)
        sent = orjson.loads(make_event("visits", {}).payload)["keen"]["timestamp"]
        assert datetime.fromisoformat(sent) == datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)
        assert len(sent) == len("2026-01-31T12:00:00.000000Z")


@pytest.mark.parametrize(
    ("timestamp", "sent"),
    [
        (datetime(2026, 1, 31, 12), "2026-01-31T12:00:00Z"),
        (datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31T12:00:00Z"),
        (datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=2))), "2026-01-31T12:00:00+02:00"),
        ("2026-01-31", "2026-01-31"),
    ],
)
def test_times(timestamp: datetime | str, sent: str) -> None:
    assert orjson.loads(make_event("visits", {}, timestamp).payload)["keen"]["timestamp"] == sent


def test_what_stands_under_keen_is_kept_and_arguments_come_first() -> None:
    keen = {"timestamp": "2026-01-01", "uniqueness_token": "theirs", "addons": [{"name": "x"}]}
    properties = {"a": 1, "keen": keen}
    assert orjson.loads(make_event("visits", properties).payload)["keen"] == keen
    event = make_event("visits", properties, "2026-02-02", "ours")
    assert orjson.loads(event.payload)["keen"] == keen | {"timestamp": "2026-02-02", "uniqueness_token": "ours"}
    assert properties == {"a": 1, "keen": keen}, "what the caller gave is unchanged"


@pytest.mark.parametrize(
    "properties", [{"set": {1}}, {"big": 2**64}, {1: "number for a name"}, {"half": "\ud800"}, {"keen": 5}]
)
def test_what_json_does_not_have_is_refused_at_once(properties: Any) -> None:
    with pytest.raises(ValueError, match="visits"):
        make_event("visits", properties)


def test_a_collection_name_against_the_rules_is_refused_at_once() -> None:
    with pytest.raises(RuleError, match=r"\$money"):
        make_event("$money", {})


@given(st.lists(st.tuples(st.sampled_from(["visits", "sign up", 'quo"te']), st.integers(0, 99)), min_size=1))
def test_a_bulk_body_has_every_event_in_its_collection_in_order(given_events: list[tuple[str, int]]) -> None:
    body, collections = bulk_body([make_event(name, {"n": n}) for name, n in given_events])
    sent = {name: [event["n"] for event in events] for name, events in orjson.loads(body).items()}
    assert sent == {
        name: [n for other, n in given_events if other == name] for name in dict.fromkeys(n for n, _ in given_events)
    }
    assert {name: [event.id for event in events] for name, events in collections.items()} == {
        name: [event["keen"]["uniqueness_token"] for event in events] for name, events in orjson.loads(body).items()
    }


def test_parent_and_child_of_a_fork_give_different_ids() -> None:
    make_event("visits", {})  # ids are drawn ahead
    reading, writing = os.pipe()
    if not (child := os.fork()):
        os.write(writing, make_event("visits", {}).id.encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 100).decode()
    assert UUID(theirs).version == 4
    assert theirs not in {make_event("visits", {}).id for _ in range(200)}
    for end in (reading, writing):
        os.close(end)
