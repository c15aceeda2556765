"""Events straight to Kafka: the client writes what the collector would, under the same rules, and Kafka answers."""

import logging
import os
import threading
from queue import Empty, SimpleQueue
from typing import Any

import orjson
from confluent_kafka import KafkaException, Producer

from headwater.client.ending import close_with_child
from headwater.client.errors import FailedEvent, QueueFullError
from headwater.client.event import Event
from headwater.client.writer import OnError, WhenFull, report
from headwater.codec import codec
from headwater.identity import event_id, record_key
from headwater.kafka import durable_producer_config
from headwater.rules import RuleError, check_event, take_reserved
from headwater.settings import Settings
from headwater.topics import backfill_topic, raw_topic

log = logging.getLogger("headwater.client")

POLL_SECONDS = 0.1


class KafkaWriter:
    """Produces raw records; librdkafka batches, retries and keeps order. Safe to use from several threads. A forked child
    has none of librdkafka's threads and needs a client of its own: this one refuses its events.

    An event counts as accepted when all in-sync replicas have it.
    """

    def __init__(
        self,
        settings: Settings,
        project_id: str,
        *,
        retry_seconds: float,
        queue_bytes: int,
        when_full: WhenFull,
        on_error: OnError | None,
        backfill: bool,
    ) -> None:
        self._process = os.getpid()
        self._ends = False  # whether the end of this process is seen to
        self._topic = (backfill_topic if backfill else raw_topic)(settings)
        self._project_id = project_id
        self._max_bytes = settings.event_max_bytes
        self._max_depth = settings.event_max_depth
        self._when_full = when_full
        self._on_error = on_error
        self._codec = codec("raw_event")
        self._producer = Producer(
            durable_producer_config(settings)
            | {
                "message.timeout.ms": int(retry_seconds * 1000),
                "queue.buffering.max.kbytes": max(1, queue_bytes // 1024),
                "logger": log,
            }
        )
        self._full_at: int | None = None  # how many events filled the queue
        self._refused: SimpleQueue[tuple[Event, RuleError]] = SimpleQueue()  # by rules, and still to be reported
        self._telling = threading.Lock()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="headwater-kafka-answers", daemon=True)
        self._poller.start()
        self.accepted = 0
        self.failed = 0

    @property
    def pending(self) -> int:
        """Events that are added and not yet answered."""
        return len(self._producer) + self._refused.qsize() if self._process == os.getpid() else 0

    def add(self, event: Event) -> None:
        """Queue an event. A full queue blocks until there is room, or raises QueueFullError, as the writer was told.

        An event that is against the rules is reported as failed, like one that the collector refuses. Raises
        RuntimeError on a closed writer, and in a forked child.
        """
        if self._process != os.getpid():
            raise RuntimeError(
                f"the client was made by process {self._process}: with transport='kafka', connect again after a fork"
            )
        if self._closed.is_set():
            raise RuntimeError("the client is closed")
        if not self._ends:
            self._ends = True
            close_with_child(self.close)
        if self._when_full == "raise" and self._full_at is not None:
            if len(self._producer) >= self._full_at:  # it costs nothing to ask again until there is room
                raise self._full()
            self._full_at = None
        try:
            key, value = self._record(event)
        except RuleError as error:
            self._refused.put((event, error))  # not the caller's thread hears of it: it may run an event loop
            return

        def answered(error: Any, _message: Any) -> None:
            if error is None:
                with self._lock:
                    self.accepted += 1
            else:
                self._fail(event, "Unreachable", f"Not accepted by Kafka: {error.str()}", refused=False)

        while True:
            try:
                self._producer.produce(self._topic, value, key, on_delivery=answered)
                return
            except BufferError:
                if self._when_full == "raise":
                    self._full_at = len(self._producer)
                    raise self._full() from None
                self._producer.poll(POLL_SECONDS)
            except KafkaException as error:
                self._fail(event, "Unreachable", f"Not accepted by Kafka: {error}", refused=False)
                return

    def flush(self, timeout: float | None = None) -> None:
        """Block until every event added is answered. Raises TimeoutError when that takes longer than `timeout` seconds."""
        if self._process != os.getpid():
            return
        self._tell_refused()
        left = self._producer.flush(-1 if timeout is None else timeout)
        if left:
            raise TimeoutError(f"{left:,} events were not answered within {timeout} seconds")

    def close(self, timeout: float | None = None) -> None:
        """Take no more events, flush, and stop. What is not answered after `timeout` seconds is reported as failed."""
        if self._closed.is_set() or self._process != os.getpid():
            return
        self._closed.set()
        try:
            self.flush(timeout)
        except TimeoutError:
            self._producer.purge()  # each event's answer is an error then
            self._producer.flush(1.0)
        self._poller.join(1.0)

    def _full(self) -> QueueFullError:
        return QueueFullError(f"{len(self._producer):,} events wait to be sent: the queue is full")

    def _record(self, event: Event) -> tuple[bytes, bytes]:
        """The key and the value of an event's raw record. Raises RuleError."""
        properties = orjson.loads(event.payload)
        check_event(properties, self._max_depth)
        reserved = take_reserved(properties)
        text = orjson.dumps(properties)
        if len(text) > self._max_bytes:
            raise RuleError(
                "InvalidPropertyValueError", f"The event has {len(text):,} bytes; {self._max_bytes:,} is the most."
            )
        identity = event_id(self._project_id, event.id)
        record = {
            "project_id": self._project_id,
            "collection": event.collection,
            "id": identity,
            "timestamp": reserved.timestamp,
            "id_given": True,
            "time_given": reserved.timestamp is not None,
            "addons": None if reserved.addons is None else orjson.dumps(reserved.addons).decode(),
            "properties": text.decode(),
        }
        return record_key(self._project_id, properties, identity), self._codec.encode(record)

    def _poll(self) -> None:
        while not self._closed.is_set():
            self._producer.poll(POLL_SECONDS)
            self._tell_refused()

    def _tell_refused(self) -> None:
        """Report the events that are against the rules; returns when all that were there are reported, by whichever thread."""
        with self._telling:
            while True:
                try:
                    event, error = self._refused.get_nowait()
                except Empty:
                    return
                self._fail(event, error.name, error.description, refused=True)

    def _fail(self, event: Event, name: str, description: str, *, refused: bool) -> None:
        with self._lock:
            self.failed += 1
        report([FailedEvent(event.collection, event.id, name, description, refused, event.payload)], self._on_error)
