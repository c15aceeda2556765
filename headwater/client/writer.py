"""The way of events from `add` to their answer: a bounded queue and the threads that send it in batches."""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from headwater.client.errors import FailedEvent, QueueFullError
from headwater.client.event import Event

OVERHEAD = 250  # bytes that an event takes in the queue beside its payload
BATCH_BYTES = 4_000_000  # well under what the collector takes in one body
EVENT_BYTES = 9_900_000  # with its envelope an event must fit into one body of 10 MB

# The standard library's logging: a library writes nothing to an application's stdout, whatever it has configured.
log = logging.getLogger("headwater.client")

OnError = Callable[[FailedEvent], None]
WhenFull = Literal["block", "raise"]


class Send(Protocol):
    """Delivers a batch: blocks until every event is answered or given up, and returns those that were not accepted.

    Gives up early once `stop` is set.
    """

    def __call__(self, events: list[Event], stop: threading.Event) -> list[FailedEvent]: ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class Writer(Protocol):
    """Takes events and delivers them in the background; counts how they ended."""

    accepted: int
    failed: int

    @property
    def pending(self) -> int:
        """Events that are added and not yet answered."""
        ...

    def add(self, event: Event) -> None:
        """Queue an event. May block, or raise QueueFullError."""
        ...

    def flush(self, timeout: float | None = None) -> None:
        """Block until every event added is answered. Raises TimeoutError after `timeout` seconds."""
        ...

    def close(self, timeout: float | None = None) -> None:
        """Flush and stop; what is not answered after `timeout` seconds is reported as failed."""
        ...


class BatchingWriter:
    """Sends events in batches from background threads. Safe to use from several threads; a forked child starts empty.

    A batch goes out when it has `batch_events` events or its oldest is `linger` seconds old. Several threads keep several
    requests in flight, so batches may arrive out of order; with one thread they do not. Threads start with the first event.
    """

    def __init__(
        self,
        make_send: Callable[[], Send],
        *,
        threads: int,
        batch_events: int,
        linger: float,
        queue_bytes: int,
        when_full: WhenFull,
        on_error: OnError | None,
    ) -> None:
        self._make_send = make_send
        self._threads = threads
        self._batch_events = batch_events
        self._linger = linger
        self._queue_bytes = queue_bytes
        self._when_full = when_full
        self._on_error = on_error
        self._start_empty()

    def _start_empty(self) -> None:
        """Nothing queued, nothing running: at first, and in a forked child, whose parent sends what was queued.

        A child has connections of its own too: bytes of two processes in one would be nobody's request.
        """
        self._process = os.getpid()
        self._send = self._make_send()
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)  # there may be a batch to take
        self._room = threading.Condition(self._lock)  # the queue may have room
        self._done = threading.Condition(self._lock)  # events were answered
        self._queue: deque[Event] = deque()
        self._bytes = 0
        self._oldest = 0.0  # when the head of the queue came to be, by the monotonic clock
        self._taken = 0  # events that left the queue
        self._in_flight: dict[int, list[Event]] = {}  # batches being sent, by the number of their first event
        self._flushing = 0
        self._closed = False
        self._stop = threading.Event()
        self._senders: list[threading.Thread] = []
        self.accepted = 0
        self.failed = 0

    @property
    def pending(self) -> int:
        """Events that are added and not yet answered."""
        with self._lock:
            return len(self._queue) + sum(map(len, self._in_flight.values()))

    def add(self, event: Event) -> None:
        """Queue an event. A full queue blocks until there is room, or raises QueueFullError, as the writer was told.

        Raises ValueError for an event too large for any request, RuntimeError on a closed writer.
        """
        size = len(event.payload)
        if size > EVENT_BYTES:
            raise ValueError(
                f"collection {event.collection!r}: the event has {size:,} bytes, more than a request takes"
            )
        if self._process != os.getpid():
            self._start_empty()
        with self._lock:
            if self._closed:
                raise RuntimeError("the client is closed")
            while self._bytes >= self._queue_bytes:
                if self._when_full == "raise":
                    raise QueueFullError(
                        f"{len(self._queue):,} events wait to be sent: the queue of {self._queue_bytes:,} bytes is full"
                    )
                self._room.wait()
                if self._closed:
                    raise RuntimeError("the client was closed while waiting for room in the queue")
            self._queue.append(event)
            self._bytes += size + OVERHEAD
            waiting = len(self._queue)
            if waiting == 1:
                self._oldest = time.monotonic()
                self._work.notify()
                if len(self._senders) < self._threads:
                    self._start_sender()
            elif waiting % self._batch_events == 0:
                self._work.notify()
                if len(self._senders) < self._threads:
                    self._start_sender()

    def flush(self, timeout: float | None = None) -> None:
        """Block until every event added before this call is answered. Raises TimeoutError when that takes longer than `timeout` seconds."""
        if self._process != os.getpid():
            return
        with self._lock:
            target = self._taken + len(self._queue)
            self._flushing += 1
            self._work.notify_all()
            try:
                if not self._done.wait_for(lambda: min(self._in_flight, default=self._taken) >= target, timeout):
                    raise TimeoutError(
                        f"{target - min(self._in_flight, default=self._taken):,} events were not answered within {timeout} seconds"
                    )
            finally:
                self._flushing -= 1

    def close(self, timeout: float | None = None) -> None:
        """Take no more events, flush, and stop. What is not answered after `timeout` seconds is reported as failed."""
        if self._process != os.getpid():
            return
        with self._lock:
            self._closed = True
            self._room.notify_all()
        try:
            self.flush(timeout)
        except TimeoutError:
            self._give_up()
        finally:
            self._stop.set()
            with self._lock:
                self._work.notify_all()
        for sender in self._senders:
            sender.join(1.0)
        self._send.close()

    def _give_up(self) -> None:
        """Report everything that is unanswered as failed; answers that still come are not counted."""
        with self._lock:
            unsure = [event for batch in self._in_flight.values() for event in batch]
            unsent = list(self._queue)
            self._in_flight.clear()
            self._queue.clear()
            self._bytes = 0
        failures = [not_sent(event, "was sent, but not answered before the client was closed") for event in unsure]
        failures += [not_sent(event, "was not sent before the client was closed") for event in unsent]
        self._fail(failures)

    def _start_sender(self) -> None:
        sender = threading.Thread(target=self._run, name=f"headwater-sender-{len(self._senders) + 1}", daemon=True)
        self._senders.append(sender)
        sender.start()

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            number, batch = taken
            try:
                failures = self._send(batch, self._stop)
            except Exception as error:  # whatever it is, the events are accounted for and the thread goes on
                log.exception("sending %d events failed", len(batch))
                failures = [
                    FailedEvent(e.collection, e.id, type(error).__name__, str(error), False, e.payload) for e in batch
                ]
            self._settle(number, batch, failures)

    def _take(self) -> tuple[int, list[Event]] | None:
        """The next batch and the number of its first event; None when there will be no more."""
        with self._lock:
            while True:
                waiting = len(self._queue)
                if self._stop.is_set() or (self._closed and not waiting):
                    return None
                if waiting >= self._batch_events or (waiting and (self._flushing or self._closed)):
                    break
                rest = self._oldest + self._linger - time.monotonic() if waiting else None
                if rest is not None and rest <= 0:
                    break
                self._work.wait(rest)
            number = self._taken
            batch: list[Event] = []
            size = 0
            while self._queue and len(batch) < self._batch_events:
                size += len(self._queue[0].payload)
                if batch and size > BATCH_BYTES:
                    break
                batch.append(self._queue.popleft())
                self._bytes -= len(batch[-1].payload) + OVERHEAD
            self._taken += len(batch)
            self._in_flight[number] = batch
            self._oldest = time.monotonic()
            self._room.notify_all()
            return number, batch

    def _settle(self, number: int, batch: Sequence[Event], failures: list[FailedEvent]) -> None:
        with self._lock:
            if self._in_flight.get(number) is not batch:
                return  # given up in the meantime, and reported then
        self._fail(failures)  # before the batch counts as answered, so that flush() returns after the callbacks
        with self._lock:
            self._in_flight.pop(number, None)
            self.accepted += len(batch) - len(failures)
            self._done.notify_all()

    def _fail(self, failures: list[FailedEvent]) -> None:
        with self._lock:
            self.failed += len(failures)
        report(failures, self._on_error)


def report(failures: Sequence[FailedEvent], on_error: OnError | None) -> None:
    """Tell the application of events that were not accepted: by its callback, else by one line in the log."""
    if not failures:
        return
    if on_error is None:
        first = failures[0]
        log.warning(
            "%d events were not accepted; the first, %s of %r: %s: %s",
            len(failures),
            first.id,
            first.collection,
            first.name,
            first.description,
        )
        return
    for failure in failures:
        try:
            on_error(failure)
        except Exception:  # the application's own error must not stop the sending
            log.exception("the on_error callback failed")


def not_sent(event: Event, how: str) -> FailedEvent:
    """The report of an event that the client was closed on."""
    return FailedEvent(event.collection, event.id, "NotSent", f"The event {how}.", False, event.payload)
