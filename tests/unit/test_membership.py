"""When a consumer counts as one that has lost its group for good."""

import orjson
import pytest

from headwater import membership
from headwater.membership import FORLORN_SECONDS, SAID_SECONDS, STRANDED_SECONDS, Membership, StrandedError
from headwater.settings import load_settings


class Clock:
    """Time that passes when it is told to, and a Kafka that answers or not."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.answers = True
        self.asked = 0

    def monotonic(self) -> float:
        return self.now

    def answer(self) -> bool:
        self.asked += 1
        return self.answers


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("headwater.membership.time.monotonic", clock.monotonic)
    monkeypatch.setattr("headwater.readiness.monotonic", clock.monotonic)
    return clock


@pytest.fixture
def member(clock: Clock) -> Membership:
    return Membership(load_settings(), "sinks", clock.answer)


def statistics(state: str, join_state: str = "steady", source: str = "learned") -> str:
    brokers = {":0/internal": {"source": "internal"}, "k:9092/1": {"source": source}}
    return orjson.dumps({"brokers": brokers, "cgrp": {"state": state, "join_state": join_state}}).decode()


def pass_seconds(clock: Clock, member: Membership, seconds: float) -> None:
    """A poll each second, as the thread of a consumer does."""
    end = clock.now + seconds
    while clock.now < end:
        clock.now += 1
        member.check()


def test_a_member_is_not_asked_after(clock: Clock, member: Membership) -> None:
    member.told(statistics("up"))
    pass_seconds(clock, member, 100)
    assert (member.problems(), clock.asked) == ([], 0)


@pytest.mark.parametrize(
    ("state", "join_state"),
    [("query-coord", "init"), ("wait-broker-transport", "steady"), ("up", "wait-incr-unassign-to-complete")],
)
def test_one_that_lost_its_group_while_others_find_it_is_stranded(
    clock: Clock, member: Membership, state: str, join_state: str
) -> None:
    member.told(statistics(state, join_state))
    pass_seconds(clock, member, SAID_SECONDS)
    assert member.problems() == ["the consumer group's coordinator is not found, for 5 s"]
    with pytest.raises(StrandedError):
        pass_seconds(clock, member, STRANDED_SECONDS)


def test_one_that_has_no_broker_at_all_is_stranded_sooner(clock: Clock, member: Membership) -> None:
    member.told(statistics("query-coord", source="logical"))
    with pytest.raises(StrandedError):
        pass_seconds(clock, member, FORLORN_SECONDS + 5)
    assert clock.now < 1_000 + STRANDED_SECONDS


def test_one_that_waits_for_others_to_join_is_a_member(clock: Clock, member: Membership) -> None:
    member.told(statistics("up", "wait-join"))
    pass_seconds(clock, member, 300)
    assert member.problems() == []


def test_nothing_is_begun_anew_while_kafka_is_away_nor_at_once_when_it_is_back(
    clock: Clock, member: Membership
) -> None:
    clock.answers = False
    member.told(statistics("query-coord"))
    pass_seconds(clock, member, 1_000)
    assert member.problems() == ["the consumer group's coordinator is not found, for 1000 s"]
    clock.answers = True
    pass_seconds(clock, member, STRANDED_SECONDS - 2)
    member.told(statistics("up"))
    pass_seconds(clock, member, 1_000)
    member.told(statistics("query-coord"))
    pass_seconds(clock, member, STRANDED_SECONDS - 2)  # counted from its beginning
    with pytest.raises(StrandedError):
        pass_seconds(clock, member, 5)


def test_a_client_without_a_group_says_nothing(member: Membership) -> None:
    member.told("{}")
    assert member.problems() == []
    config = member.config()
    assert (config["group.id"], config["statistics.interval.ms"]) == ("sinks", membership.STATISTICS_SECONDS * 1000)
