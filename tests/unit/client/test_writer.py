"""The queue and its threads: every event ends accepted or reported, bounds hold, nothing waits for ever."""

import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.client.errors import FailedEvent, QueueFullError
from headwater.client.event import Event
from headwater.client.queue import OVERHEAD, MemoryQueue
from headwater.client.writer import BATCH_BYTES, EVENT_BYTES, BatchingWriter
from tests.waiting import wait_until


class Sink:
    """Takes batches as a server would; `gate` closed, it does not answer."""

    def __init__(self) -> None:
        self.batches: list[list[Event]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.refused: frozenset[str] = frozenset()
        self.waiting = threading.Event()

    def __call__(self, events: list[Event], stop: threading.Event) -> list[FailedEvent]:
        gate = self.gate
        self.waiting.set()
        while not gate.wait(0.01):
            if stop.is_set():
                return [failed(event) for event in events]
        self.batches.append(events)
        return [failed(event) for event in events if event.id in self.refused]

    def close(self) -> None:
        """Nothing to close."""


def failed(event: Event) -> FailedEvent:
    return FailedEvent(event.collection, event.id, "Refused", "no", True, event.payload)


def event(number: int, size: int = 10) -> Event:
    return Event("visits", str(number), b"x" * size)


def writer(sink: Sink, **options: Any) -> BatchingWriter:
    defaults: dict[str, Any] = {
        "threads": 2,
        "batch_events": 10,
        "linger": 0.01,
        "when_full": "block",
        "on_error": lambda failure: None,
    }
    bound = options.pop("queue_bytes", 1_000_000)
    return BatchingWriter(lambda: sink, lambda: MemoryQueue(bound), **defaults | options)


@given(st.lists(st.integers(0, BATCH_BYTES), max_size=40), st.integers(1, 20), st.integers(1, 3))
@settings(deadline=None, max_examples=50)
def test_batches_keep_their_bounds_and_lose_nothing(sizes: list[int], batch_events: int, threads: int) -> None:
    sink = Sink()
    own = writer(sink, batch_events=batch_events, threads=threads, queue_bytes=10 * BATCH_BYTES)
    events = [Event("visits", str(number), bytes(size)) for number, size in enumerate(sizes)]
    for one in events:
        own.add(one)
    own.close(30)
    assert sorted(one.id for batch in sink.batches for one in batch) == sorted(one.id for one in events)
    for batch in sink.batches:
        assert len(batch) <= batch_events
        assert len(batch) == 1 or sum(len(one.payload) for one in batch) <= BATCH_BYTES
    assert (own.accepted, own.failed, own.pending) == (len(events), 0, 0)


def test_one_thread_keeps_the_order() -> None:
    sink = Sink()
    own = writer(sink, threads=1)
    for number in range(105):
        own.add(event(number))
    own.close(10)
    assert [one.id for batch in sink.batches for one in batch] == [str(number) for number in range(105)]


def test_several_threads_add_at_once() -> None:
    sink = Sink()
    own = writer(sink, queue_bytes=20 * (OVERHEAD + 10))

    def add(start: int) -> None:
        for number in range(start, start + 500):
            own.add(event(number))

    threads = [threading.Thread(target=add, args=(start,)) for start in (0, 500, 1000, 1500)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    own.close(20)
    assert sorted(int(one.id) for batch in sink.batches for one in batch) == list(range(2000))


def test_a_lone_event_goes_out_after_the_linger() -> None:
    sink = Sink()
    own = writer(sink)
    own.add(event(1))
    wait_until(lambda: own.accepted == 1, 5)
    own.close()


def test_events_go_out_while_their_sender_looks_around_and_when_it_sleeps() -> None:
    sink = Sink()
    own = writer(sink, threads=1, linger=0.05)
    for number in range(6):
        own.add(event(number))
        wait_until(lambda: own.accepted == number + 1, 5, every=0.001)  # noqa: B023 - called at once
        if number % 2:  # it looks for what comes next for one linger, then sleeps till it is woken
            wait_until(lambda: not own._looking, 5)
    own.close(5)
    assert own.accepted == 6


def test_a_full_queue_raises_where_it_was_told_so() -> None:
    sink = Sink()
    sink.gate.clear()
    own = writer(sink, threads=1, batch_events=1, queue_bytes=3 * (OVERHEAD + 10), when_full="raise")
    own.add(event(0))
    wait_until(sink.waiting.is_set, 5)  # the first is under way and no longer in the queue
    for number in range(1, 4):
        own.add(event(number))
    with pytest.raises(QueueFullError, match="4 events"):
        own.add(event(4))
    sink.gate.set()
    own.close(10)
    assert own.accepted == 4


def test_a_full_queue_blocks_until_there_is_room() -> None:
    sink = Sink()
    sink.gate.clear()
    own = writer(sink, threads=1, batch_events=1, queue_bytes=OVERHEAD)
    own.add(event(0))
    wait_until(sink.waiting.is_set, 5)
    own.add(event(1))
    added = threading.Event()
    adding = threading.Thread(target=lambda: (own.add(event(2)), added.set()))
    adding.start()
    assert not added.wait(0.1)
    sink.gate.set()
    assert added.wait(5)
    adding.join()
    own.close(10)
    assert own.accepted == 3


def test_flush_waits_for_what_was_added_before_and_says_when_it_takes_too_long() -> None:
    sink = Sink()
    sink.gate.clear()
    own = writer(sink, linger=60)
    own.add(event(0))
    with pytest.raises(TimeoutError, match="1 events"):
        own.flush(0.05)
    sink.gate.set()
    own.flush(10)
    assert own.accepted == 1
    own.close()


def test_refused_events_are_counted_and_reported_before_flush_returns() -> None:
    sink = Sink()
    sink.refused = frozenset({"3", "14"})
    seen: list[str] = []
    own = writer(sink, on_error=lambda failure: seen.append(failure.id))
    for number in range(20):
        own.add(event(number))
    own.flush(10)
    assert sorted(seen) == ["14", "3"]
    assert (own.accepted, own.failed) == (18, 2)
    own.close()


def test_a_callback_that_fails_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    sink = Sink()
    sink.refused = frozenset({"0"})

    def broken(failure: FailedEvent) -> None:
        raise LookupError("mine")

    own = writer(sink, on_error=broken)
    own.add(event(0))
    own.flush(10)
    own.add(event(1))
    own.close(10)
    assert (own.accepted, own.failed) == (1, 1)
    assert "LookupError: mine" in caplog.text


def test_closing_in_time_limits_reports_what_is_not_answered() -> None:
    sink = Sink()
    sink.gate.clear()
    seen: list[FailedEvent] = []
    own = writer(sink, threads=1, batch_events=1, on_error=seen.append)
    for number in range(3):
        own.add(event(number))
    own.close(0.05)
    assert sorted(failure.id for failure in seen) == ["0", "1", "2"]
    assert {failure.name for failure in seen} == {"NotSent"}
    assert (own.accepted, own.failed, own.pending) == (0, 3, 0)
    with pytest.raises(RuntimeError, match="closed"):
        own.add(event(4))


def test_an_event_that_no_request_can_carry_is_refused_at_once() -> None:
    own = writer(Sink())
    with pytest.raises(ValueError, match="bytes"):
        own.add(event(0, EVENT_BYTES + 1))
    own.close()
