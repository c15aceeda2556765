"""Batching against a model: an offset is given out only when everything before it is stored, and everything gets stored."""

import math
from typing import Any

import pytest
from confluent_kafka import Message
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sinks.batches import Batch, Batches, Limits, Partition

LIMITS = Limits(records=5, bytes=100, seconds=1.0)


def record(topic: str, partition: int, offset: int, size: int = 10) -> Message:
    return Message(topic=topic, partition=partition, offset=offset, value=b"x" * size)


def records(topic: str, partition: int, offsets: range, size: int = 10) -> list[Message]:
    return [record(topic, partition, offset, size) for offset in offsets]


def offsets(batch: Batch | None) -> list[tuple[Any, Any]]:
    assert batch is not None
    return [(one.partition(), one.offset()) for one in batch.records]


def quiet(limits: Limits = LIMITS) -> Batches:
    """Batches whose topic `t` had a batch taken at time 0, the insert of which took long, so that ages count."""
    batches = Batches(limits)
    batches.add("t", 9, records("t", 9, range(1)), -math.inf)
    batch = batches.take(0.0)
    assert batch is not None
    batches.settle(batch, 9.0)
    batches.committable()
    return batches


def test_a_batch_is_due_at_its_number_of_records() -> None:
    batches = quiet()
    batches.add("t", 0, records("t", 0, range(4)), 0.1)
    assert batches.take(0.1) is None
    batches.add("t", 0, records("t", 0, range(4, 7)), 0.1)
    assert offsets(batches.take(0.1)) == [(0, n) for n in range(5)]
    assert batches.take(0.1) is None


def test_a_batch_is_due_at_its_bytes_and_ends_with_the_record_that_reaches_them() -> None:
    batches = quiet()
    batches.add("t", 0, records("t", 0, range(3), size=49), 0.1)
    assert offsets(batches.take(0.1)) == [(0, 0), (0, 1), (0, 2)]
    batches.add("t", 0, records("t", 0, range(3, 5), size=100), 0.1)
    assert offsets(batches.take(0.1)) == [(0, 3)]
    assert offsets(batches.take(0.1)) == [(0, 4)]


def test_a_batch_is_due_a_second_after_the_one_before() -> None:
    batches = quiet()
    batches.add("t", 0, records("t", 0, range(1)), 0.4)
    assert batches.take(0.9) is None
    assert offsets(batches.take(1.0)) == [(0, 0)]


def test_batches_follow_sooner_where_inserts_are_quick() -> None:
    batches = Batches(LIMITS)
    for taken, took, due in ((0.0, 0.07, 0.25), (0.25, 0.175, 0.75), (0.75, 0.01, 1.0)):
        batches.add("t", 0, records("t", 0, range(1)), taken)
        batch = batches.take(taken)
        assert batch is not None
        batches.settle(batch, taken + took)
        batches.add("t", 0, records("t", 0, range(1)), taken + took)
        assert batches.take(due - 0.01) is None
        batches.drop([("t", 0)])


def test_many_topics_share_the_server() -> None:
    batches = Batches(LIMITS)
    for topic in map(str, range(10)):
        batches.add(topic, 0, records(topic, 0, range(1)), 0.0)
    taken = [batches.take(0.0) for _ in range(10)]
    batch = taken[0]
    assert batch is not None
    batches.settle(batch, 0.03)
    batches.add(batch.topic, 0, records(batch.topic, 0, range(1, 2)), 0.03)
    assert batches.take(0.8) is None
    assert batches.take(0.86) is not None


def test_the_first_record_after_a_quiet_time_does_not_wait() -> None:
    batches = quiet()
    batches.add("t", 0, records("t", 0, range(1)), 7.0)
    assert offsets(batches.take(7.0)) == [(0, 0)]


def test_everything_is_taken_at_the_end() -> None:
    batches = quiet()
    batches.add("t", 0, records("t", 0, range(1)), 0.1)
    assert offsets(batches.take(0.1, everything=True)) == [(0, 0)]


def test_the_topic_that_waits_longest_comes_first() -> None:
    batches = Batches(LIMITS)
    batches.add("late", 0, records("late", 0, range(1)), 2.0)
    batches.add("early", 0, records("early", 0, range(1)), 1.0)
    first = batches.take(3.0)
    assert first is not None
    assert first.topic == "early"


def test_a_failed_batch_waits_and_comes_first_and_alone() -> None:
    batches = quiet()
    batches.add("t", 0, records("t", 0, range(10)), 0.1)
    first = batches.take(0.1)
    assert first is not None
    batches.retry(first, not_before=5.0)
    assert batches.failing == {"t"}
    assert batches.take(4.9) is None
    assert batches.take(5.0) is first
    assert batches.take(5.0) is None, "one at a time until one is stored"
    batches.settle(first, 9.0)
    assert batches.failing == set()
    assert offsets(batches.take(5.0)) == [(0, n) for n in range(5, 10)]


def failing(batches: Batches, topic: str, not_before: float) -> Batch:
    """A batch of the topic that failed and waits."""
    batches.add(topic, 0, records(topic, 0, range(1)), 1.0)
    batch = batches.take(1.0)
    assert batch is not None
    assert batch.topic == topic
    batches.retry(batch, not_before)
    return batch


def test_a_topic_that_fails_holds_up_no_other_and_is_not_hurried_by_them() -> None:
    batches = Batches(LIMITS)
    failing(batches, "bad", not_before=100.0)
    batches.add("good", 0, records("good", 0, range(1)), 1.0)
    good = batches.take(1.0)
    assert good is not None
    assert good.topic == "good"
    batches.settle(good, 9.0)
    assert batches.take(1.0) is None


def test_topics_that_wait_try_again_when_one_of_them_got_through() -> None:
    batches = Batches(LIMITS)
    first = failing(batches, "first", not_before=5.0)
    second = failing(batches, "second", not_before=100.0)
    assert batches.take(5.0) is first
    batches.settle(first, 9.0)
    assert batches.failing == {"second"}
    assert batches.take(5.0) is second


def test_a_failed_batch_of_partitions_that_are_gone_is_forgotten() -> None:
    batches = quiet()
    batches.add("t", 0, records("t", 0, range(5)), 0.1)
    batch = batches.take(0.1)
    assert batch is not None
    batches.drop([("t", 0)])
    batches.retry(batch, not_before=0.2)
    assert batches.failing == set()
    assert batches.take(9.0, everything=True) is None
    assert (batches.records, batches.bytes, batches.oldest) == (0, 0, None)


@pytest.mark.parametrize("limits", [Limits(1, 10**9, 1.0), Limits(10**9, 1, 1.0)])
def test_the_smallest_limits_make_batches_of_one(limits: Limits) -> None:
    batches = quiet(limits)
    batches.add("t", 0, records("t", 0, range(3)), 0.1)
    assert [offsets(batches.take(0.1)) for _ in range(3)] == [[(0, 0)], [(0, 1)], [(0, 2)]]


PARTITIONS = [(topic, partition) for topic in ("a", "b") for partition in (0, 1)]


class Rebalancing(RuleBasedStateMachine):
    """A consumer of four partitions that are assigned, read, inserted, failed, revoked and read again in any order.

    The model knows, of each partition, what ClickHouse has, and what was committed: where the next owner reads on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.batches = Batches(LIMITS)
        self.out: list[Batch] = []
        self.position: dict[Partition, int] = {}  # of assigned partitions: the next offset to read
        self.stored: dict[Partition, set[int]] = {place: set() for place in PARTITIONS}
        self.committed: dict[Partition, int] = dict.fromkeys(PARTITIONS, 0)

    @initialize()
    def begin(self) -> None:
        for place in PARTITIONS[:2]:
            self.assign(place)

    @rule(place=st.sampled_from(PARTITIONS))
    def assign(self, place: Partition) -> None:
        if place not in self.position:
            self.position[place] = self.committed[place]

    @rule(place=st.sampled_from(PARTITIONS), count=st.integers(1, 12), gap=st.integers(0, 2), size=st.integers(0, 60))
    def read(self, place: Partition, count: int, gap: int, size: int) -> None:
        """Offsets may have gaps: markers of transactions are no records."""
        if place in self.position:
            start = self.position[place] + gap
            self.stored[place] |= set(range(self.position[place], start))  # nothing there that could be lost
            self.batches.add(*place, records(*place, range(start, start + count), size), self.now)
            self.position[place] = start + count

    @rule(seconds=st.floats(0.0, 2.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(everything=st.booleans())
    def start_insert(self, everything: bool) -> None:
        batch = self.batches.take(self.now, everything)
        if batch is not None:
            assert 1 <= len(batch.records) <= LIMITS.records
            assert sum(map(len, batch.records[:-1])) < LIMITS.bytes
            self.out.append(batch)

    @precondition(lambda self: self.out)
    @rule(which=st.integers(0))
    def finish_insert(self, which: int) -> None:
        batch = self.out.pop(which % len(self.out))
        self.keep(batch)
        self.batches.settle(batch, self.now)

    @precondition(lambda self: self.out)
    @rule(which=st.integers(0), delay=st.floats(0.0, 3.0))
    def fail_insert(self, which: int, delay: float) -> None:
        self.batches.retry(self.out.pop(which % len(self.out)), self.now + delay)

    @rule()
    def commit(self) -> None:
        for place, offset in self.batches.committable().items():
            assert place in self.position, "only what is owned is committed"
            assert offset >= self.committed[place], "commits go forward"
            self.committed[place] = offset

    @rule(places=st.sets(st.sampled_from(PARTITIONS), min_size=1))
    def revoke(self, places: set[Partition]) -> None:
        for place in places:
            self.position.pop(place, None)
        self.batches.drop(places)

    @invariant()
    def nothing_committed_is_missing(self) -> None:
        for place, offset in self.committed.items():
            assert set(range(offset)) <= self.stored[place]

    @invariant()
    def what_is_held_is_counted(self) -> None:
        waiting = [
            batch
            for queue in self.batches._queues.values()
            for batch in [*queue.ready, *([queue.filling] if queue.filling else [])]
        ]
        assert self.batches.records == sum(len(batch.records) for batch in [*waiting, *self.out])
        assert self.batches.bytes == sum(len(one) for batch in [*waiting, *self.out] for one in batch.records)
        assert (self.batches.oldest is None) == (self.batches.records == 0)

    def teardown(self) -> None:
        """With a server that takes everything, all that was read of what is owned gets committed."""
        while self.out:
            self.finish_insert(0)
        self.now += 10.0
        while batch := self.batches.take(self.now, everything=True):
            self.keep(batch)
            self.batches.settle(batch, self.now)
        self.commit()
        self.nothing_committed_is_missing()
        assert {place: self.committed[place] for place in self.position} == self.position
        assert self.batches.records == 0

    def keep(self, batch: Batch) -> None:
        for one in batch.records:
            self.stored[one.topic() or "", one.partition() or 0].add(one.offset() or 0)


Rebalancing.TestCase.settings = hypothesis_settings(max_examples=200, stateful_step_count=40, deadline=None)
TestRebalancing = Rebalancing.TestCase
