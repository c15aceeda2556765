"""The way of events from `add` to their answer: a bounded queue and the threads that send it in batches."""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from headwater.client.ending import close_with_child
from headwater.client.errors import FailedEvent, QueueFullError
from headwater.client.event import Event
from headwater.client.queue import Batch, Queue

BATCH_BYTES = 262_144  # of larger requests each event costs the collector half as much again: they fit no cache
EVENT_BYTES = 9_900_000  # with its envelope an event must fit into one body of 10 MB
KEPT_SECONDS = 10.0  # how long closing waits for answers where what is unanswered is kept

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
        """Flush and stop; what is not answered after `timeout` seconds is reported as failed, or kept for the next writer."""
        ...


class BatchingWriter:
    """Sends events in batches from background threads. Safe to use from several threads; a forked child starts empty.

    A batch goes out when it has `batch_events` events or its oldest is `linger` seconds old. Several threads keep several
    requests in flight, so batches may arrive out of order; with one thread they do not. Threads start with the first event.
    """

    def __init__(
        self,
        make_send: Callable[[], Send],
        make_queue: Callable[[], Queue],
        *,
        threads: int,
        batch_events: int,
        linger: float,
        when_full: WhenFull,
        on_error: OnError | None,
    ) -> None:
        """What the queue already holds is sent first. Raises what `make_queue` raises."""
        self._make_send = make_send
        self._make_queue = make_queue
        self._threads = threads
        self._batch_events = batch_events
        self._linger = linger
        self._when_full = when_full
        self._on_error = on_error
        self._start_empty()

    def _start_empty(self) -> None:
        """Nothing queued, nothing running: at first, and in a forked child, whose parent sends what was queued.

        A child has connections of its own too: bytes of two processes in one would be nobody's request. Raises ConnectError
        where it cannot have a queue of its own.
        """
        send = self._make_send()
        try:
            self._queue = self._make_queue()
        except BaseException:
            send.close()
            raise
        self._send = send
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)  # there may be a batch to take
        self._room = threading.Condition(self._lock)  # the queue may have room
        self._done = threading.Condition(self._lock)  # events were answered
        self._oldest = time.monotonic()  # when the head of the queue came to be
        self._in_flight: dict[int, Batch] = {}  # batches being sent, by the number of their first event
        self._flushing = 0
        self._looking = 0  # senders that have nothing to do and look again by themselves before they sleep
        self._closed = False
        self._kept = 0  # events that were in flight when a durable queue was closed on them
        self._stop = threading.Event()
        self._senders: list[threading.Thread] = []
        self.accepted = 0
        self.failed = 0
        self._process = os.getpid()
        self._ends = False  # whether the end of this process is seen to
        if self._queue.waiting:
            self._start_sender()

    @property
    def pending(self) -> int:
        """Events that are added and not yet answered."""
        if self._process != os.getpid():
            return 0  # they are the parent's, and its lock may never be let go of here
        with self._lock:
            return self._unanswered()

    def _answered(self) -> int:
        return min(self._in_flight, default=self._queue.next)

    def _unanswered(self) -> int:
        return self._queue.waiting + self._kept + sum(len(batch.events) for batch in self._in_flight.values())

    def add(self, event: Event) -> None:
        """Queue an event. A full queue blocks until there is room, or raises QueueFullError, as the writer was told.

        Raises ValueError for an event too large for any request, RuntimeError on a closed writer; ConnectError in a
        forked child where the queue is its parent's; OSError where the queue is on a disk that is full.
        """
        if self._process != os.getpid():
            self._start_empty()
        if not self._ends:
            self._ends = True
            close_with_child(self.close)
        with self._lock:
            if len(event.payload) > EVENT_BYTES:
                raise too_large(event)
            if self._closed:
                raise RuntimeError("the client is closed")
            while not self._queue.put(event):
                if self._when_full == "raise":
                    raise QueueFullError(f"{self._unanswered():,} events are not answered: {self._queue.limit} is full")
                self._room.wait()
                if self._closed:
                    raise RuntimeError("the client was closed while waiting for room in the queue")
            waiting = self._queue.waiting
            if waiting == 1:
                self._oldest = time.monotonic()
                if self._looking:
                    return  # to wake a thread costs the caller more than all the rest
            elif waiting % self._batch_events:
                return
            self._work.notify()
            if len(self._senders) < self._threads:
                self._start_sender()

    def flush(self, timeout: float | None = None) -> None:
        """Block until every event added before this call is answered. Raises TimeoutError when that takes longer than `timeout` seconds."""
        if self._process != os.getpid():
            return
        with self._lock:
            target = self._queue.end
            self._flushing += 1
            self._work.notify_all()
            try:
                if not self._done.wait_for(lambda: self._answered() >= target, timeout):
                    raise TimeoutError(f"{self._unanswered():,} events were not answered within {timeout} seconds")
            finally:
                self._flushing -= 1

    def close(self, timeout: float | None = None) -> None:
        """Take no more events, flush, and stop. What is not answered after `timeout` seconds is reported as failed; a durable
        queue keeps it, and it is waited for 10 seconds where no timeout is given."""
        if self._process != os.getpid():
            return
        with self._lock:
            self._closed = True
            self._room.notify_all()
        try:
            self.flush(KEPT_SECONDS if timeout is None and self._queue.durable else timeout)
        except TimeoutError:
            self._give_up()
        except BaseException:  # an interrupt, say
            self._give_up()
            raise
        finally:
            self._stop.set()
            with self._lock:
                self._work.notify_all()
            for sender in self._senders:
                sender.join(1.0)
            self._send.close()
            with self._lock:
                self._queue.close()

    def _give_up(self) -> None:
        """Leave everything that is unanswered to a durable queue, else report it as failed; answers that still come are not counted."""
        with self._lock:
            self._stop.set()
            if self._queue.durable:
                log.warning("%d events are not answered: %s keeps them", self._unanswered(), self._queue.limit)
                self._kept = self._unanswered() - self._queue.waiting
                self._in_flight.clear()
                return
            unsure = [event for batch in self._in_flight.values() for event in batch.events]
            unsent: list[Event] = []
            while self._queue.waiting:
                unsent += self._queue.take(self._queue.waiting, BATCH_BYTES).events
            self._in_flight.clear()
        failures = [not_sent(event, "was sent, but not answered before the client was closed") for event in unsure]
        failures += [not_sent(event, "was not sent before the client was closed") for event in unsent]
        self._fail(failures)

    def _start_sender(self) -> None:
        sender = threading.Thread(target=self._run, name=f"headwater-sender-{len(self._senders) + 1}", daemon=True)
        self._senders.append(sender)
        sender.start()

    def _run(self) -> None:
        while (batch := self._take()) is not None:
            try:
                failures = self._send(batch.events, self._stop)
            except Exception as error:  # whatever it is, the events are accounted for and the thread goes on
                log.exception("sending %d events failed", len(batch.events))
                failures = [
                    FailedEvent(e.collection, e.id, type(error).__name__, str(error), False, e.payload)
                    for e in batch.events
                ]
            self._settle(batch, failures)

    def _take(self) -> Batch | None:
        """The next batch; None when there will be no more."""
        idle = False
        with self._lock:
            while True:
                waiting = self._queue.waiting
                if self._stop.is_set() or (self._closed and not waiting):
                    return None
                rest = self._oldest + self._linger - time.monotonic() if waiting else None
                if (
                    waiting >= self._batch_events
                    or (waiting and (self._flushing or self._closed))
                    or (rest is not None and rest <= 0)
                ):
                    batch = self._queue.take(self._batch_events, BATCH_BYTES)
                    self._oldest = time.monotonic()
                    self._room.notify_all()
                    if batch.events:
                        self._in_flight[batch.first] = batch
                        return batch
                    self._done.notify_all()  # what could not be read is waited for no longer
                elif waiting or idle:
                    self._work.wait(rest)
                else:  # where events come steadily, the next ones are there before this ends
                    idle = True
                    self._looking += 1
                    self._work.wait(self._linger)
                    self._looking -= 1

    def _settle(self, batch: Batch, failures: list[FailedEvent]) -> None:
        with self._lock:
            if self._in_flight.get(batch.first) is not batch:
                return  # given up in the meantime: reported then, or kept
        self._fail(failures)  # before the batch counts as answered, so that flush() returns after the callbacks
        with self._lock:
            if self._in_flight.pop(batch.first, None) is None:
                return
            self._queue.answered(batch)
            self.accepted += len(batch.events) - len(failures)
            self._done.notify_all()
            self._room.notify_all()

    def _fail(self, failures: list[FailedEvent]) -> None:
        with self._lock:
            self.failed += len(failures)
        report(failures, self._on_error)


def too_large(event: Event) -> ValueError:
    """The error of an event that has more than EVENT_BYTES."""
    size = len(event.payload)
    return ValueError(f"collection {event.collection!r}: the event has {size:,} bytes, more than a request takes")


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
