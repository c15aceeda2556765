"""Events from topics that producers write themselves: `<prefix>.in.<project>.<collection>`, a JSON object in each record.

Every collector is a member of one consumer group over these topics, and puts their events into the raw topic as if they had come
over HTTP. Records and the group's offsets are written in one transaction, so each record comes into the raw topic once, whatever is
killed. docs/kafka.md is the contract with producers.
"""

import logging
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any, Self

import structlog
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from collector.errors import TooLargeError
from collector.records import AS_GIVEN, Given, Record, RequestRecords
from headwater import metrics
from headwater.codec import codec
from headwater.control import ControlPlane
from headwater.dead_letters import GivenUp, dead_letter
from headwater.dead_letters.letter import place_of
from headwater.identity import origin_id
from headwater.kafka import FENCED, client_config, durable_producer_config, intake_group, is_fatal
from headwater.membership import Membership, StrandedError, closed_at_last
from headwater.origin import headers_of, origin_in
from headwater.rules import RuleError, explain_broken, parse_json, timestamp_text
from headwater.settings import Settings
from headwater.topics import dead_letters_topic, in_pattern, of_in_topic, raw_topic

STAGE = "collector"
READ_RECORDS = 2_000  # the most of one transaction; raw records behind an open one are not read
POLL_SECONDS = 0.1
CATCH_UP_SECONDS = 5.0
ANSWER_SECONDS = 5.0
TRANSACTION_SECONDS = 10.0
RETRY_SECONDS = 1.0
STOP_SECONDS = 15.0

_MILLISECONDS = re.compile("-?[0-9]{1,15}")

log = structlog.get_logger("headwater.collector")


class Intake:
    """Reads the topics of producers in a thread of its own, for as long as `running` lasts."""

    def __init__(self, settings: Settings, plane: ControlPlane) -> None:
        self._settings = settings
        self._plane = plane
        self._writer_name = writer_name(settings)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)

    def stop_soon(self, _seconds: float) -> None:
        """Take in nothing new, from now on. Does not block."""
        self._stopping.set()

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Entering does not block, with or without Kafka. Leaving waits until the transaction under way has ended."""
        self._thread.start()
        try:
            yield self
        finally:
            self._stopping.set()
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        """Begin anew after whatever went wrong: what was not committed is read again."""
        while not self._stopping.is_set():
            try:
                membership = Membership(self._settings, intake_group(self._settings))
                with closed_at_last(_consumer(self._settings, membership)) as consumer:
                    self._take(consumer, membership)
            except (KafkaException, StrandedError, _NotNowError) as error:
                reason = str(error)
                if isinstance(error, KafkaException):
                    reason = error.args[0].str()
                    if error.args[0].code() in FENCED:
                        self._writer_name = f"{writer_name(self._settings)}.{uuid.uuid4()}"
                log.warning("topics of producers cannot be taken in; trying again", error=reason)
            except Exception:  # a fault of ours: nothing was committed, and the requests of others go on
                log.exception("topics of producers cannot be taken in; trying again")
            if not self._stopping.is_set():
                metrics.intake_failures.inc()
                self._stopping.wait(RETRY_SECONDS)

    def _take(self, consumer: Consumer, membership: Membership) -> None:
        places = _Places()
        consumer.subscribe([in_pattern(self._settings.topic_prefix)], on_assign=places.assigned)
        producer: Producer | None = None  # most deployments have no such topic
        topics: bool | None = None  # whether this one has, where Kafka has said it
        while not self._stopping.is_set():
            membership.check()
            if topics is None and (topics := _has_topics(consumer, in_pattern(self._settings.topic_prefix))):
                producer = self._begun()  # before there are records: raw ones wait behind what was left open
            first = consumer.poll(POLL_SECONDS)
            if first is None:
                continue
            records = [one for one in (first, *consumer.consume(READ_RECORDS, 0)) if not _failed(one)]
            if records:
                places.came(consumer, records)
                producer = producer or self._begun()
                self._pass_on(consumer, producer, records)

    def _begun(self) -> Producer:
        """A producer for transactions, which has aborted what one of its name left open. Blocks; raises KafkaException.

        Who may pass on which partitions, the group's generation says.
        """
        producer = Producer(
            durable_producer_config(self._settings)
            | {
                "transactional.id": self._writer_name,
                # What is left open by who does not come back holds up the readers of the raw topic for as long.
                "transaction.timeout.ms": int(TRANSACTION_SECONDS * 1000),
            }
        )
        producer.init_transactions(TRANSACTION_SECONDS)
        return producer

    def _pass_on(self, consumer: Consumer, producer: Producer, records: list[Message]) -> None:
        raw, given_up = raw_topic(self._settings), dead_letters_topic(self._settings)
        events, letters = self._converted(records)
        ends = {(one.topic(), one.partition()): (one.offset() or 0) + 1 for one in records}
        positions = [TopicPartition(topic or "", partition or 0, offset) for (topic, partition), offset in ends.items()]
        producer.begin_transaction()
        try:
            for key, value in events:
                _produce(producer, raw, key, value)
            for letter in letters:
                _produce(producer, given_up, letter["id"].encode(), codec("dead_letter").encode(letter))
            producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), TRANSACTION_SECONDS)
            producer.commit_transaction(TRANSACTION_SECONDS)
        except KafkaException as error:
            if error.args[0].txn_requires_abort():
                producer.abort_transaction(TRANSACTION_SECONDS)
            raise
        metrics.intake_records.inc(len(records))
        for letter in letters:
            metrics.dead_letters.labels(STAGE, letter["reason"]).inc()

    def _converted(self, records: Sequence[Message]) -> tuple[list[Record], list[dict[str, Any]]]:
        """The raw records, and the dead letters of what makes none."""
        events: list[Record] = []
        letters: list[dict[str, Any]] = []
        now = time.time_ns() // 1_000_000
        for topic, run in groupby(records, key=lambda record: record.topic() or ""):
            messages = list(run)
            try:
                project_id, collection = of_in_topic(self._settings.topic_prefix, topic)
            except ValueError as error:
                name = type(error).__name__
                letters += [
                    dead_letter(GivenUp.of(one), STAGE, "invalid_event", name, str(error), now) for one in messages
                ]
                continue
            of = (project_id, collection)
            if not self._knows(project_id):
                why = ("unknown_project", "UnknownProjectError", f"There is no project {project_id}.")
                letters += [dead_letter(GivenUp.of(one), STAGE, *why, now, *of) for one in messages]
                continue
            events_given = [event_of(message) for message in messages]
            found = [event for event, _ in events_given]
            make = RequestRecords(self._settings, project_id, None, None).records
            made = make(collection, found, given=[given for _, given in events_given])
            for message, event, one in zip(messages, found, made, strict=True):
                if isinstance(one, RuleError):
                    why = (_reason(event, one), one.name, one.description)
                    letters.append(dead_letter(GivenUp.of(message), STAGE, *why, now, *of))
                else:
                    events.append(one)
        return events, letters

    def _knows(self, project_id: str) -> bool:
        if self._plane.project(project_id) is not None:
            return True
        if not self._plane.catch_up(CATCH_UP_SECONDS):
            raise _NotNowError("The control plane cannot be read to its end.")
        return self._plane.project(project_id) is not None


class _NotNowError(Exception):
    """What is needed to judge a record is not there at the moment."""


def writer_name(settings: Settings) -> str:
    """The transactional id of who takes in at an address: of a collector that is started again it is the same."""
    return f"{settings.topic_prefix}.intake.{socket.gethostname()}.{settings.port}"


def _has_topics(consumer: Consumer, pattern: str) -> bool | None:
    """Whether a topic matches; None where Kafka does not answer. Blocks up to a second."""
    try:
        return any(re.match(pattern, name) for name in consumer.list_topics(timeout=1.0).topics)
    except KafkaException:
        return None


def event_of(message: Message) -> tuple[object, Given]:
    """The event in a record of a producer's topic, to be judged like any other; a RuleError where it is no JSON. And whether id and
    time are the producer's.

    Its id is what the header `id` says, else `keen.uniqueness_token` or `keen.id`, else follows from where the record stands; its
    timestamp is what the header `timestamp` says (ISO 8601, or milliseconds since 1970 UTC), else `keen.timestamp`, else the record's.
    Of a record that was written again, both are those of the first one.
    """
    value = message.value() or b""
    try:
        event = parse_json(value)
    except ValueError:
        error = explain_broken(value)
        return RuleError(error.name, error.description.replace("The body", "The record", 1)), AS_GIVEN
    if type(event) is not dict:
        return event, AS_GIVEN
    keen = event.get("keen") or {}
    if type(keen) is not dict:
        return event, AS_GIVEN
    id_given = time_given = True
    event["keen"] = keen
    given_headers = headers_of(message)
    headers = {name: _text(raw) for name, raw in dict(given_headers).items() if name in ("id", "timestamp")}
    place = place_of(message)
    origin = (origin_in(given_headers, place.topic) or place) if given_headers else place
    if origin.replay:  # there is none of these topics
        origin = place
    if "id" in headers:
        keen["uniqueness_token"] = headers["id"]
    elif keen.get("uniqueness_token") is None and keen.get("id") is None:
        id_given = False
        keen["uniqueness_token"] = origin_id(origin.topic, origin.partition, origin.offset)
    if "timestamp" in headers:
        keen["timestamp"] = _iso(headers["timestamp"])
    elif keen.get("timestamp") is None:
        time_given = False
        if origin.timestamp is not None:
            keen["timestamp"] = _iso(str(origin.timestamp))
    return event, Given(id_given, time_given)


def _text(raw: str | bytes | None) -> str:
    return raw.decode(errors="replace") if isinstance(raw, bytes) else raw or ""


def _iso(text: str) -> str:
    """A time in milliseconds as ISO 8601; what is none comes back as it is, for the rules to judge."""
    if not _MILLISECONDS.fullmatch(text):
        return text
    try:
        return timestamp_text(int(text))
    except OverflowError:
        return text


def _reason(event: object, error: RuleError) -> str:
    if isinstance(event, RuleError):
        return "unreadable"
    return "too_large" if isinstance(error, TooLargeError) else "invalid_event"


def _consumer(settings: Settings, membership: Membership) -> Consumer:
    return Consumer(
        client_config(settings)
        | {
            "session.timeout.ms": 10_000,
            "partition.assignment.strategy": "roundrobin",  # by range, all topics of one partition go to one collector
            "topic.metadata.refresh.interval.ms": 2_000,  # how soon a new topic is seen; the answer names every topic there is
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 100,
            "queued.max.messages.kbytes": 8_192,
        }
        | membership.config(),
        logger=logging.getLogger("headwater.collector.kafka"),
    )


def _produce(producer: Producer, topic: str, key: bytes, value: bytes) -> None:
    while True:
        try:
            producer.produce(topic, value, key)
        except BufferError:  # the producer's queue is full: make room
            producer.poll(POLL_SECONDS)
        else:
            return


class _Places:
    """Where a consumer is in its partitions, which tells what Kafka did not keep until it was taken in."""

    def __init__(self) -> None:
        self._next: dict[tuple[str, int], int] = {}

    def assigned(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        """There are other partitions from now on. Asks Kafka nothing: what a collector that was killed left open may hold up the answer
        for 20 s, and an error raised in a callback comes out of confluent_kafka as one that no `except Exception` catches.
        """
        metrics.rebalances.labels("intake").inc()
        self._next = {}

    def came(self, consumer: Consumer, records: Sequence[Message]) -> None:
        """Count and log what is lost before these records. Asks Kafka about the first of a partition, and where there is a gap: a
        transaction's marker makes one too. Raises KafkaException where it does not answer.
        """
        places = {(record.topic() or "", record.partition() or 0) for record in records}
        if new := [TopicPartition(*place) for place in places - self._next.keys()]:
            for one in consumer.committed(new, timeout=ANSWER_SECONDS):
                if one.error is not None:
                    raise KafkaException(one.error)
                if one.offset >= 0:
                    self._next[one.topic, one.partition] = one.offset
        for record in records:
            place, offset = (record.topic() or "", record.partition() or 0), record.offset() or 0
            expected = self._next.get(place, offset)
            self._next[place] = offset + 1
            if offset <= expected:
                continue
            oldest, _ = consumer.get_watermark_offsets(TopicPartition(*place), timeout=ANSWER_SECONDS)
            lost = min(oldest, offset) - expected
            if lost > 0:
                metrics.offsets_lost.labels(STAGE).inc(lost)
                log.error(
                    "Kafka has not kept records until they were taken in",
                    topic=place[0],
                    partition=place[1],
                    offset=expected,
                    records=lost,
                )


def _failed(message: Message) -> bool:
    """Whether this is an error in place of a record; the fatal ones begin anew, the others pass by themselves."""
    error = message.error()
    if error is None:
        return False
    if is_fatal(error):
        raise KafkaException(error)
    log.warning("Kafka", topic=message.topic(), partition=message.partition(), error=error.str())
    return True
