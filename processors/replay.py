"""Processing once more what the raw topic had between two times: `headwater replay`.

Copies of the raw records go into the backfill topic, with headers that say where each stood first (`headwater.origin`) and that it
counts already. Processors take them with what capacity is left: the events come out with their old ids and times and a later
processed_at, so that they replace their rows, and change neither figures nor catalogue, ids nor users. So a copy may be there
twice: the same row comes out twice, and folds. That is why nothing is remembered of a replay, and one that was interrupted is
simply run again.

Left out is what put out nothing when it was processed, and would be an event too many now: what was given up (the dead letters
have it), what the window of ids dropped because it was sent again, and identify messages. Where Kafka has let go of the records
before, so that nobody knows whether an event was the first of its id, it is left out, too: it keeps the row that it has.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from headwater.aggregates import HOUR
from headwater.control import ControlPlane
from headwater.dead_letters import read_ledger
from headwater.dead_letters.letter import place_of
from headwater.identity import id_digest, id_salt
from headwater.kafka import assign, durable_producer_config, partition_reader_config, what_comes
from headwater.origin import Origin, headers_of, origin_in
from headwater.segment_users import IDENTIFY
from headwater.settings import Settings
from headwater.topics import backfill_topic, raw_topic
from processors.id_window import SPAN
from processors.records import RawEvent, RawReader
from processors.repetitions import LOOKED_FOR

READ_RECORDS = 2_000
READ_SECONDS = 0.1
KAFKA_SECONDS = 30.0
IDLE_READS = 300


class ReplayError(Exception):
    """The replay stopped; the message says why. Run again, it does no harm."""


class Span(NamedTuple):
    """Which records are meant: by their time in the raw topic (milliseconds since 1970 UTC, `until` exclusive), and of what."""

    since: int
    until: int
    project_id: str | None = None
    collection: str | None = None


@dataclass
class Report:
    """What a replay did: how many records were copied, and how many were left out, by why."""

    copied: int
    left_out: Counter[str]


class _Part(NamedTuple):
    """What is to be read of a partition, and from where records are meant."""

    topic: str
    partition: int
    start: int
    end: int
    cut: bool = False  # whether Kafka has let go of records that belong before its start


class SeenIds:
    """The ids that a processor's window had, as far as the times of the records tell. Pure.

    `unsure_until`: whether an event of before then was the first of its id, nobody knows.
    """

    def __init__(self, hours: float, most: int) -> None:
        self._kept = int(hours * HOUR) + SPAN
        self._most = most
        self._seen: OrderedDict[bytes, int] = OrderedDict()  # the oldest first
        self.unsure_until = 0

    def begins_cut(self, at: int) -> None:
        """What came before this time is not known."""
        self.unsure_until = max(self.unsure_until, at + self._kept)

    def repeats(self, digest: bytes, at: int) -> bool:
        """Whether an event of this id came before this time, in the window; else it is the first, and is remembered."""
        while self._seen and next(iter(self._seen.values())) + self._kept <= at:
            self._seen.popitem(last=False)
        if digest in self._seen:
            return True
        self._seen[digest] = at
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
        return False


class Replay:
    """One replay. Blocks; raises ReplayError, DeadLettersError, CodecError."""

    def __init__(self, settings: Settings, plane: ControlPlane, span: Span, *, dry_run: bool = False) -> None:
        self._settings = settings
        self._plane = plane
        self._span = span
        self._to = None if dry_run else backfill_topic(settings)
        topics = raw_topic(settings), backfill_topic(settings)
        self._readers = {topic: RawReader(topic, settings.event_max_depth) for topic in topics}
        self._retention_hours = {
            topics[0]: settings.raw_retention_hours,
            topics[1]: settings.backfill_retention_hours,
        }
        self._undelivered: list[KafkaError] = []
        self.report = Report(0, Counter())

    def run(self, on_progress: Callable[[int, int], None] = lambda read, of: None) -> Report:
        """Copy what is meant; `on_progress` hears how many records were read, of how many."""
        self._failed = read_ledger(self._settings, all_of_it=True).failed
        try:
            producer = Producer(durable_producer_config(self._settings) | {"log_level": 0})
            parts = [part for topic in self._readers for part in self._parts(topic)]
            total, before = sum(part.end - part.start for part in parts), 0
            for partition in sorted({part.partition for part in parts}):
                # What is live and what is history of a partition have one window of ids.
                seen = SeenIds(self._settings.id_window_hours, self._settings.id_window_max_ids)
                for part in parts:
                    if part.partition == partition:
                        for read in self._copy(part, seen, producer):
                            on_progress(before + read, total)
                        before += part.end - part.start
            if producer.flush(KAFKA_SECONDS):
                raise ReplayError(f"Kafka has not taken all copies within {KAFKA_SECONDS:g} s.")
            self._check_delivered()
        except KafkaException as error:
            raise ReplayError(f"Kafka at {self._settings.kafka} says: {error.args[0].str()}") from error
        return self.report

    def _parts(self, topic: str) -> list[_Part]:
        """What is to be read of a topic: from as long before the span as an id is kept."""
        kept = time.time_ns() // 1_000_000 - self._retention_hours[topic] * HOUR  # what is younger is all there
        consumer = self._consumer(topic)
        try:
            numbers = consumer.list_topics(topic, KAFKA_SECONDS).topics[topic].partitions
            since = max(0, self._span.since - int(self._settings.id_window_hours * HOUR))
            starts = consumer.offsets_for_times(
                [TopicPartition(topic, number, since) for number in numbers], KAFKA_SECONDS
            )
            parts = []
            for start in starts:
                low, end = consumer.get_watermark_offsets(start, KAFKA_SECONDS)
                if start.offset >= 0 and end > start.offset:  # below 0: all there is came before
                    begin = max(low, start.offset)
                    parts.append(_Part(topic, start.partition, begin, end, cut=since < kept and begin == low > 0))
            return parts
        finally:
            consumer.close()

    def _copy(self, part: _Part, seen: SeenIds, producer: Producer) -> Iterator[int]:
        """Copy what is meant of a partition; yields how far it is."""
        cut = part.cut
        for messages in self._read(part):
            if cut:
                seen.begins_cut(place_of(messages[0]).timestamp or 0)
                cut = False
            for message in messages:
                origin = self._origin(message, seen)
                if origin is not None and self._to is not None:
                    self._produce(producer, message, origin)
            yield (messages[-1].offset() or 0) + 1 - part.start
            self._check_delivered()

    def _origin(self, message: Message, seen: SeenIds) -> Origin | None:
        """Where a record stood first that is to be copied; None for one that is not."""
        place = place_of(message)
        headers = headers_of(message)
        origin = (origin_in(headers, place.topic) if headers else None) or place
        if origin.replay and place.topic != raw_topic(self._settings):
            return None  # a copy: the record itself is there, or was when it was copied
        if origin.replay or origin.topic not in self._readers:
            origin = place
        at = place.timestamp or 0
        meant = self._span.since <= at < self._span.until
        if self._failed.get((*origin[:3], origin.timestamp), 0) >= origin.attempt:
            return self._leave_out("dead letters", meant)
        try:
            event = RawEvent(
                *self._readers[origin.topic].read(
                    message.value(), origin.partition, origin.offset, origin.timestamp or at
                )
            )
        except Exception:  # bytes from anywhere; if the letter is gone by now, the record is no better
            return self._leave_out("unreadable", meant)
        project = self._plane.project(event.key[0])
        if project is None:
            return self._leave_out("of no project", meant)
        if event.key[1] == IDENTIFY:
            return self._leave_out("identify", meant)
        if event.given >= LOOKED_FOR[project.settings.ids_window]:
            if seen.repeats(_digest(event), at):
                return self._leave_out("sent again", meant)
            if at < seen.unsure_until:  # what came before is gone: to leave it as it is doubles nothing
                return self._leave_out("maybe sent again (Kafka has let go of what came before)", meant)
        if not meant or not self._is_of(event):
            return None
        self.report.copied += 1
        return origin._replace(attempt=1, replay=True)

    def _leave_out(self, why: str, meant: bool) -> Origin | None:
        if meant:
            self.report.left_out[why] += 1
        return None

    def _is_of(self, event: RawEvent) -> bool:
        project_id, collection = event.key
        return self._span.project_id in (None, project_id) and self._span.collection in (None, collection)

    def _read(self, part: _Part) -> Iterator[list[Message]]:
        """The records of a partition, in their order."""
        consumer = self._consumer(part.topic)
        try:
            assign(consumer, [TopicPartition(part.topic, part.partition, part.start)])
            idle = 0
            while True:
                found = what_comes(consumer, READ_RECORDS, READ_SECONDS)
                records = []
                done = False
                for message in found:
                    error = message.error()
                    if error is not None and error.code() != KafkaError._PARTITION_EOF:
                        raise KafkaException(error)
                    if error is None and (message.offset() or 0) < part.end:
                        records.append(message)
                    done |= error is not None or (message.offset() or 0) >= part.end - 1
                if records:
                    yield records
                if done:
                    return
                idle = 0 if found else idle + 1
                if idle > IDLE_READS:
                    raise ReplayError(f"{part.topic}: Kafka at {self._settings.kafka} gives no more records.")
        finally:
            consumer.close()

    def _consumer(self, topic: str) -> Consumer:
        return Consumer(partition_reader_config(self._settings, topic) | {"log_level": 0})

    def _produce(self, producer: Producer, message: Message, origin: Origin) -> None:
        assert self._to is not None
        while True:
            try:
                producer.produce(
                    self._to,
                    message.value(),
                    message.key(),
                    origin.partition,
                    self._delivered,
                    headers=[*origin.headers()],
                )
            except BufferError:  # the producer's queue is full: make room
                producer.poll(0.1)
            else:
                producer.poll(0)
                return

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._undelivered.append(error)

    def _check_delivered(self) -> None:
        if self._undelivered:
            raise KafkaException(self._undelivered[0])


def _digest(event: RawEvent) -> bytes:
    return id_digest(id_salt(*event.key), event.id)
