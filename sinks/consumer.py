"""The consumer: reads the topics of collections, has batches stored, commits what is stored."""

import logging
import random
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from itertools import groupby
from typing import NamedTuple

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.cimpl import OFFSET_END

from headwater import metrics
from headwater.kafka import client_config, is_fatal, sink_group
from headwater.membership import Membership, StrandedError
from headwater.readiness import Trouble
from headwater.settings import Settings
from headwater.topics import collections_pattern, control_topic
from sinks.batches import Batch, Batches, Limits, Partition
from sinks.dead_letters import UndeliveredError
from sinks.errors import StoreError
from sinks.inserters import Inserters
from sinks.store import Store

log = structlog.get_logger("headwater.sink")

_reading = metrics.sink_phase_seconds.labels("read").inc
_committing = metrics.sink_phase_seconds.labels("commit").inc

INSERTERS = 2
BUFFERED_BATCHES = 3  # memory's bound: so many full batches, one for each inserter and one that fills
READ_RECORDS = 5_000
READ_SECONDS = 0.05
COMMIT_SECONDS = 0.2
FULL_SECONDS = 3.0  # full for longer than an insert takes: pause, so that the group sees a live member
FIRST_RETRY_SECONDS = 0.2
LAST_RETRY_SECONDS = 5.0
DRAIN_SECONDS = 5.0
DRAIN_COMMIT_SECONDS = 4.0  # longer than a commit takes, less than the session: a partition that is lost is another's
JOINED_SECONDS = 0.5
COMMITTED_SECONDS = 5.0
FAILING_SECONDS = 2.0  # of inserts or commits, longer than what passes by itself: then the sink is not ready
WAITING_SECONDS = 60.0  # an insert may take so long
TURN_SECONDS = 30.0  # between two turns; committing asks Kafka and ClickHouse
DEAD_SECONDS = 300.0  # without a turn: nothing that a sink waits for takes so long
FENCED_SECONDS = 60.0  # fenced again within these, it has a namesake
GAPS = 1_000


def consumer_config(settings: Settings) -> dict[str, object]:
    """How the sink reads, but for its group: its member name, and queues small enough for its memory."""
    return client_config(settings) | {
        # A member by name: a sink that was killed gets its partitions back when it is up again, without waiting for its
        # old session to time out.
        "group.instance.id": settings.worker_name,
        "session.timeout.ms": 10_000,
        "heartbeat.interval.ms": 500,
        "partition.assignment.strategy": "cooperative-sticky",
        "topic.metadata.refresh.interval.ms": 500,  # how soon a new collection is seen
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "queued.max.messages.kbytes": 8_192,
        "fetch.max.bytes": 4_194_304,
        # A broker answers one connection in order: a fetch that waits for records holds up the metadata behind it.
        "fetch.wait.max.ms": 100,
        "fetch.queue.backoff.ms": 20,  # a full queue is looked at again soon; the default waits a second
    }


def retry_seconds(failures: int) -> float:
    """The longest wait after so many failures in a row: doubled each time, up to LAST_RETRY_SECONDS."""
    doublings = min(failures - 1, 16)  # a server may well be away for thousands of tries, and a float ends at 2^1024
    return min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0**doublings)


def was_fenced(error: KafkaError) -> bool:
    """Whether Kafka has another member of this name. A fatal error may have the generic code, and its reason as text."""
    return error.code() == KafkaError.FENCED_INSTANCE_ID or "fenced" in error.str()


class Gap(NamedTuple):
    """A partition in which another offset came than was expected."""

    place: Partition
    expected: int
    found: int


class Sink:
    """One member of the sink's group. `run` blocks; `joined` and `leads` may be asked from another thread.

    `leads`: whether this member owns the control topic's partition, so that it is the one that does deletions.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._batches = Batches(
            Limits(settings.sink_flush_records, settings.sink_flush_bytes, settings.sink_flush_seconds)
        )
        self._confirm = store.confirm
        self._inserters = Inserters(lambda batch: store.store(batch.topic, batch.records), INSERTERS)
        self._membership = Membership(settings, sink_group(settings))
        self._consumer = self._new_consumer()
        self._fenced_at: float | None = None
        self._owned: set[Partition] = set()
        self._paused: set[Partition] = set()
        self._asked: dict[Partition, int] = {}  # the newest offset that was sent to be committed
        self._refused: dict[Partition, int] = {}  # those of them that were not: they go with the next
        self._attempts: Counter[str] = Counter()  # failed inserts in a row, by topic
        self._failing = Trouble()  # inserts
        self._uncommitted = Trouble()
        self._told = False  # that a commit failed, since one was answered
        self._not_committed: set[Partition] = set()  # what was lost while an offset of it was on its way
        self._unanswered: dict[Partition, int] = {}  # offsets that were sent to be committed, until Kafka answers
        self._expected: dict[Partition, int] = {}  # the offset that comes next
        self._stored: dict[Partition, int] = {}  # what comes before is stored and was sent to be committed
        self.gaps: deque[Gap] = deque(maxlen=GAPS)
        self.not_stored: dict[Partition, int] = {}  # records that wait for too long, as `sinks.lag` finds
        self._turned_at = time.monotonic()
        self._full_since: float | None = None
        self._committed_at = 0.0
        self._waited = 0.0  # for how long the oldest record has been held
        self._looked_at = 0.0
        self._member = ""  # the id of this member when its assignment was last seen to know of every topic
        self._new_member = ""  # the one that it has had since, at the last look
        self.joined = False
        self.leads = False

    @property
    def stored(self) -> dict[Partition, int]:
        """Up to which offsets this member's partitions are stored, as far as it knows. From any thread."""
        return self._stored.copy()

    def problems(self) -> list[str]:
        """Why this member does not store what comes, a line each. From any thread."""
        found = [] if self.joined else ["not a member of the sinks' group yet"]
        found += self._membership.problems()
        found += self._failing.lines("inserts fail", FAILING_SECONDS)
        found += self._uncommitted.lines("offsets cannot be committed", FAILING_SECONDS)
        turned, waited = time.monotonic() - self._turned_at, self._waited
        if turned > TURN_SECONDS:
            found.append(f"the reading thread has not turned for {turned:.0f} s")
        if waited > WAITING_SECONDS:
            found.append(f"records wait to be stored for {waited:.0f} s")
        elif not_stored := self.not_stored:
            count, places = sum(not_stored.values()), len(not_stored)
            found.append(f"{count} records of {places} partitions wait in Kafka, and none of them is stored")
        return found

    def dead(self) -> list[str]:
        """Why this process should be ended. From any thread."""
        turned = time.monotonic() - self._turned_at
        return [f"the reading thread has not turned for {turned:.0f} s"] if turned > DEAD_SECONDS else []

    def run(self, stop: threading.Event, left: dict[str, object] | None = None) -> None:
        """Work until `stop` is set; then store and commit what can be in a few seconds, and leave.

        `left` says what is not stored or committed then: nothing where it stays empty. Raises KafkaException when Kafka tells this member to go, such as when another has its name,
        and StrandedError when it has lost its group and only a new process helps; its consumer is left open then.
        """
        self._subscribe()
        closes = True
        try:
            while not stop.is_set():
                try:
                    self._turn()
                except KafkaException as error:
                    self._join_anew_where_fenced(error)
            self._drain({} if left is None else left)
        except StrandedError:
            closes = False
            raise
        finally:
            if closes and not left:  # else closing waits for Kafka, which does not answer, and the process is ended
                self._consumer.close()
            self._observe(time.monotonic())

    def _turn(self) -> None:
        self._membership.check()
        now = self._turned_at = time.monotonic()
        self._start_inserts(now)
        self._finish_inserts(0.0)
        if now - self._committed_at >= COMMIT_SECONDS:
            self._commit()
            self._committed_at = time.monotonic()
            _committing(self._committed_at - now)
        self._pause_or_resume(now)
        self._observe(now)
        if self._full_since is None or self._paused == self._owned:
            self._read()
        else:
            self._finish_inserts(READ_SECONDS)
        if not self.joined:
            self._look_for_topics(now)
        elif now - self._looked_at > JOINED_SECONDS:
            self._join_anew_where_stale(now)

    def _new_consumer(self) -> Consumer:
        return Consumer(
            consumer_config(self._settings) | self._membership.config() | {"on_commit": self._commit_answered},
            logger=logging.getLogger("headwater.sink.kafka"),
        )

    def _join_anew_where_fenced(self, error: KafkaException) -> None:
        """Go on with a new consumer where Kafka took this member for another of its name; raise `error` where it may be right.

        Kafka gives a member by name another id each time that it joins. Where the answer that holds the id is lost, as with a
        broker that is killed, the member comes back with its old one and is fenced, which a client does not survive (KIP-345;
        librdkafka#3437).
        """
        now = time.monotonic()
        if not was_fenced(error.args[0]) or (self._fenced_at is not None and now - self._fenced_at < FENCED_SECONDS):
            raise error
        self._fenced_at = now
        log.warning("sink.fenced", error=error.args[0].str(), action="joining anew")
        old, self._consumer = self._consumer, self._new_consumer()
        old.close()
        self._forget(self._owned.copy())
        self._member = self._new_member = ""
        self.joined = self.leads = False
        self._subscribe()

    def _subscribe(self) -> None:
        self._consumer.subscribe(
            [collections_pattern(self._settings.topic_prefix), control_topic(self._settings)],
            on_assign=self._assigned,
            on_revoke=self._revoked,
            on_lost=self._lost,
        )

    def _join_anew_where_stale(self, now: float) -> None:
        """See that the assignment knows of every topic, once for each time that this member was taken in.

        A member by name that comes back, after a start or an absence of Kafka's, gets another id and the assignment that it had. Where
        topics were made meanwhile, they are nobody's: Kafka has a new assignment made only when topics change once more, or when the
        group's leader joins again, as here.
        """
        self._looked_at = now
        member = self._consumer.memberid()
        if not member or member == self._member:
            return
        if member != self._new_member:  # what is new at this very moment is seen by librdkafka itself, in its next look
            self._new_member = member
            return
        try:
            known = self._consumer.list_topics(timeout=1.0).topics
        except KafkaException:
            return
        self._member = member
        start = f"{self._settings.topic_prefix}.events."
        if {name for name in known if name.startswith(start)} - {topic for topic, _ in self._owned}:
            self._consumer.unsubscribe()
            self._subscribe()

    def _read(self) -> None:
        began = time.monotonic()
        messages = self._consumer.consume(READ_RECORDS, READ_SECONDS)
        now = time.monotonic()
        _reading(now - began)
        for (topic, partition, failed), run in groupby(messages, key=_place):
            if failed:
                for message in run:
                    _report(message)
            elif (topic, partition) in self._owned:  # not what was fetched before a rebalance took it away
                records = list(run)
                self._note_gap((topic, partition), records)
                self._batches.add(topic, partition, records, now)

    def _note_gap(self, place: Partition, records: list[Message]) -> None:
        first, last = records[0].offset() or 0, records[-1].offset() or 0
        expected = self._expected.get(place, first)
        if first > expected or last - first >= len(records):
            self.gaps.append(Gap(place, expected, last - len(records) + 1))
        self._expected[place] = last + 1

    def _start_inserts(self, now: float, everything: bool = False) -> None:
        while self._inserters.free:
            batch = self._batches.take(now, everything)
            if batch is None:
                return
            self._inserters.start(batch)

    def _finish_inserts(self, timeout: float) -> None:
        for batch, error in self._inserters.finished(timeout):
            if error is None:
                self._batches.settle(batch, time.monotonic())
                self._attempts.pop(batch.topic, None)
            elif isinstance(error, StoreError | UndeliveredError):
                self._retry_later(batch, error)
            else:
                raise error  # a fault of ours: the process ends, and nothing of the batch was committed
        failed_for = self._failing.seconds
        if failed_for is not None and not self._batches.failing:
            log.info("sink.inserting_again", after_seconds=round(failed_for, 1))
            self._failing.mended()

    def _retry_later(self, batch: Batch, error: StoreError | UndeliveredError) -> None:
        now = time.monotonic()
        self._attempts[batch.topic] += 1
        self._batches.retry(batch, now + retry_seconds(self._attempts[batch.topic]) * random.uniform(0.5, 1.0))
        code = error.code if isinstance(error, StoreError) else None
        metrics.insert_failures.labels(code if code is not None else type(error).__name__).inc()
        if self._failing.seconds is None:
            log.warning("sink.inserts_fail", topic=batch.topic, code=code, error=str(error)[:1000])
        self._failing.failed()

    def _pause_or_resume(self, now: float) -> None:
        """Read no more of topics whose inserts fail; nor of any while the buffers stay full. The group sees a live member."""
        limits = self._settings
        full = (
            self._batches.records >= BUFFERED_BATCHES * limits.sink_flush_records
            or self._batches.bytes >= BUFFERED_BATCHES * limits.sink_flush_bytes
        )
        if not full:
            self._full_since = None
        elif self._full_since is None:
            self._full_since = now
        if self._full_since is not None and now - self._full_since >= FULL_SECONDS:
            wanted = set(self._owned)
        elif failing := self._batches.failing:
            wanted = {place for place in self._owned if place[0] in failing}
        else:
            wanted = set()
        if to_pause := wanted - self._paused:
            self._consumer.pause([TopicPartition(*place) for place in to_pause])
        if to_resume := self._paused - wanted:
            self._consumer.resume([TopicPartition(*place) for place in to_resume])
        self._paused = wanted

    def _commit(self, asynchronous: bool = True) -> None:
        offsets = self._refused | self._batches.committable()
        self._refused = {}
        if not offsets:
            if not self._unanswered:
                self._mended()  # what was refused belongs to another member now
            return
        # Without an id, on its way into the group, its name would be taken for another's who has it: a fatal error.
        if not self._consumer.memberid() or not self._confirm():
            self._refused = offsets
            self._uncommitted.failed()
            return
        self._asked |= offsets
        self._unanswered |= offsets
        positions = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
        try:
            if asynchronous:
                self._consumer.commit(offsets=positions, asynchronous=True)
            else:
                self._commit_answered(None, self._consumer.commit(offsets=positions, asynchronous=False))
        except KafkaException as error:
            self._commit_answered(error.args[0], positions)

    def _commit_answered(self, error: KafkaError | None, positions: list[TopicPartition]) -> None:
        failed = {(one.topic, one.partition): one.offset for one in positions if error or one.error}
        for one in positions:
            place = one.topic, one.partition
            if self._unanswered.get(place) == one.offset:
                del self._unanswered[place]
            if place not in failed and place in self._stored:
                self._stored[place] = one.offset
        if failed:
            metrics.commit_failures.inc()
            self._uncommitted.failed()
            if not self._told:  # in a rebalance dozens fail at once
                self._told = True
                log.warning(
                    "sink.commit_failed", partitions=len(failed), error=str(error or "refused for these partitions")
                )
        else:
            self._mended()
        # Not one that a newer commit has passed, nor one of a partition that is gone.
        self._refused |= {place: offset for place, offset in failed.items() if self._asked.get(place) == offset}

    def _mended(self) -> None:
        self._uncommitted.mended()
        self._told = False

    def _drain(self, left: dict[str, object]) -> None:
        """Store and commit what can be, and say in `left` what could not; what waits stays uncommitted, so it is read again."""
        self._not_committed.clear()
        left |= self._left()
        deadline = time.monotonic() + DRAIN_SECONDS
        while self._batches.records and (now := time.monotonic()) < deadline:
            self._start_inserts(now, everything=True)
            if not self._inserters.running:
                break  # what is left failed and waits
            self._finish_inserts(0.1)
        self._commit()
        self._consumer.pause([TopicPartition(*place) for place in self._owned])
        while self._unanswered and time.monotonic() < deadline + DRAIN_COMMIT_SECONDS:
            self._consumer.poll(0.1)  # serves the answers
        left.clear()
        left |= self._left()

    def _left(self) -> dict[str, object]:
        uncommitted = len({*self._unanswered, *self._refused, *self._not_committed})
        counts = {"records_not_stored": self._batches.records, "partitions_not_committed": uncommitted}
        return {name: count for name, count in counts.items() if count}

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        control = [place for place in partitions if place.topic == control_topic(self._settings)]
        events = [place for place in partitions if place.topic != control_topic(self._settings)]
        # Of the control topic only the ownership counts: nothing is read from it here.
        ends = [TopicPartition(place.topic, place.partition, OFFSET_END) for place in control]
        positioned = self._with_positions(events)
        consumer.incremental_assign([*positioned, *ends])
        self._expected |= {(one.topic, one.partition): one.offset for one in positioned if one.offset >= 0}
        self._stored |= {(one.topic, one.partition): one.offset for one in positioned if one.offset >= 0}
        metrics.rebalances.labels("sink").inc()
        if control:
            consumer.pause(ends)
            self.leads = True
        self._owned |= _places(events)
        self.joined = True

    def _with_positions(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """The partitions with the offset to start at: what the group committed, else 0.

        librdkafka would find both by itself, but takes half a second to look up where a partition begins. Where 0 is
        not there any more, it still does.
        """
        if not partitions:
            return []
        try:
            known = self._consumer.committed(partitions, timeout=COMMITTED_SECONDS)
        except KafkaException:
            return partitions
        if any(place.error is not None for place in known):
            return partitions
        return [TopicPartition(place.topic, place.partition, max(place.offset, 0)) for place in known]

    def _revoked(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._finish_inserts(0.0)
        self._commit(asynchronous=False)  # the next owner starts behind what is stored
        self._forget(_places(partitions))

    def _lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._not_committed |= {*self._unanswered, *self._refused} & _places(partitions)
        self._forget(_places(partitions))

    def _forget(self, gone: set[Partition]) -> None:
        if any(topic == control_topic(self._settings) for topic, _ in gone):
            self.leads = False
        self._owned -= gone
        if paused := self._paused & gone:
            # librdkafka would have it paused still when it is assigned again. In a callback nothing may be raised.
            with suppress(KafkaException):
                self._consumer.resume([TopicPartition(*place) for place in paused])
            self._paused -= paused
        for place in gone:
            for known in (self._asked, self._refused, self._unanswered, self._expected, self._stored):
                known.pop(place, None)
        self._batches.drop(gone)

    def _look_for_topics(self, now: float) -> None:
        """A sink of a deployment without a collection has nothing to be assigned: it has joined when Kafka says so."""
        if now - self._looked_at < JOINED_SECONDS:
            return
        self._looked_at = now
        try:
            known = self._consumer.list_topics(timeout=1.0).topics
        except KafkaException:
            return
        start = f"{self._settings.topic_prefix}.events."
        self.joined = not any(name.startswith(start) for name in known)

    def _observe(self, now: float) -> None:
        oldest, written_at = self._batches.oldest, self._batches.oldest_written_at
        self._waited = 0.0 if oldest is None else now - oldest
        metrics.sink_buffered_records.set(self._batches.records)
        metrics.sink_lag_seconds.set(0.0 if written_at is None else max(0.0, time.time() - written_at / 1000))
        metrics.sink_paused.set(1 if self._paused or self._failing.seconds is not None else 0)


def _place(message: Message) -> tuple[str, int, bool]:
    return message.topic() or "", message.partition() or 0, message.error() is not None


def _places(partitions: list[TopicPartition]) -> set[Partition]:
    return {(one.topic, one.partition) for one in partitions}


def _report(message: Message) -> None:
    """An error that came in place of records: the fatal ones end the process, the others pass by themselves."""
    error = message.error()
    assert error is not None
    if is_fatal(error):
        raise KafkaException(error)
    if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        return  # no collection yet, or one that was dropped
    log.warning("sink.kafka_error", topic=message.topic(), partition=message.partition(), error=error.str())
