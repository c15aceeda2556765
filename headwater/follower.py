"""A compacted topic followed into memory: a thread that reads it from its beginning, and on."""

import threading
import time
from collections.abc import Callable

import structlog
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin._listoffsets import OffsetSpec  # the package offers it without saying so to type checkers
from confluent_kafka.cimpl import OFFSET_BEGINNING

from headwater.kafka import admin_client, partition_reader_config, wait_for_base_topics, what_comes
from headwater.membership import IDLE_SECONDS, StrandedError, closed_at_last
from headwater.settings import Settings

BATCH_RECORDS = 500
POLL_SECONDS = 0.1
METADATA_SECONDS = 2.0
AGAIN_SECONDS = 0.1
FAULT_SECONDS = 1.0
ANSWER_SECONDS = 2.0
SURE_SECONDS = 2.0  # in which a record that has just been written comes
QUEUE_KIB = 4096

log = structlog.get_logger("headwater.follower")


class _StuckError(StrandedError):
    """Records that Kafka has do not come, and will not (`headwater.membership`)."""


class Follower:
    """Hands every committed record of a topic to `take`, those of a partition in their order, from the oldest on.

    `take` runs in the follower's thread; a record at which it raises is logged and passed over. Where Kafka is away, the
    follower waits for it. Its own methods may be called from any thread.
    """

    def __init__(self, settings: Settings, topic: str, take: Callable[[Message], None]) -> None:
        self._settings = settings
        self._topic = topic
        self._take = take
        self._admin = admin_client(self._settings)
        self._stopping = threading.Event()
        self._moved = threading.Condition()
        self._next: dict[int, int] = {}  # by partition: what comes before this offset has been taken
        self._unread: set[int] = set()  # partitions whose end has not been reached yet
        self._caught_up = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"follower-{topic}", daemon=True)

    def start(self) -> None:
        """Start following; creates the base topics where they are missing. Does not block."""
        self._thread.start()

    def stop(self) -> None:
        """Stop following. Blocks until the thread has ended."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def caught_up(self) -> bool:
        """Whether the end of every partition has been reached once."""
        return self._caught_up.is_set()

    def wait(self, timeout: float) -> bool:
        """Block until the end of every partition has been reached once; False when `timeout` seconds did not do."""
        return self._caught_up.wait(timeout)

    def catch_up(self, timeout: float) -> bool:
        """Block until all is taken that was written before this call; False when `timeout` seconds did not do."""
        deadline = time.monotonic() + timeout
        if not self.wait(timeout):
            return False
        while True:
            try:
                ends = self._ends(deadline)
                break
            except KafkaException as error:
                # A client whose broker hung for seconds names an old leader's epoch from then on, and is refused for ever.
                self._admin = admin_client(self._settings)
                if time.monotonic() + AGAIN_SECONDS > deadline:
                    log.warning("topic cannot be caught up", topic=self._topic, error=error.args[0].str())
                    return False
                time.sleep(AGAIN_SECONDS)
        with self._moved:
            return self._moved.wait_for(
                lambda: all(self._next[partition] >= end for partition, end in ends.items()),
                max(0.0, deadline - time.monotonic()),
            )

    def _ends(self, deadline: float, level: IsolationLevel = IsolationLevel.READ_UNCOMMITTED) -> dict[int, int]:
        """The offset that follows each partition's last record, from the broker.

        Of an open transaction too: a commit is answered before its marker is in the topic, and what was answered must
        be read. A reader of committed records gets there as soon as the marker does.
        """
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the client's own gap
        asked = {TopicPartition(self._topic, partition): latest for partition in self._next}
        admin = self._admin  # held: one that is let go of while it is asked never answers
        found = admin.list_offsets(
            asked,
            isolation_level=level,
            request_timeout=max(0.01, deadline - time.monotonic()),
        )
        return {place.partition: future.result().offset for place, future in found.items()}

    def _follow(self) -> None:
        """The thread: reads until `stop`, whatever happens to Kafka."""
        while not self._stopping.is_set():
            try:
                self._read()
            except _StuckError:
                log.warning("topic has records that do not come; reading on by a new client", topic=self._topic)
            except Exception:  # whatever it is: nobody would notice a thread that has ended
                log.exception("topic cannot be followed; trying again", topic=self._topic)
                self._stopping.wait(FAULT_SECONDS)

    def _read(self) -> None:
        """Read on from where the follower is. Raises _StuckError where that does not get on."""
        consumer = Consumer(
            partition_reader_config(self._settings, self._topic)
            | {
                "fetch.max.bytes": self._settings.topic_max_message_bytes * 2,
                "queued.max.messages.kbytes": QUEUE_KIB,
            }
        )
        with closed_at_last(consumer):
            partitions = self._partitions(consumer)
            if not self._next:
                self._next = dict.fromkeys(partitions, 0)
                self._unread = set(partitions)
            consumer.assign(
                [TopicPartition(self._topic, place, offset or OFFSET_BEGINNING) for place, offset in self._next.items()]
            )
            came = time.monotonic()
            while not self._stopping.is_set():
                messages = what_comes(consumer, BATCH_RECORDS, POLL_SECONDS)
                if not messages and time.monotonic() - came > IDLE_SECONDS:
                    came = time.monotonic()
                    if self._something_waits():
                        messages = what_comes(consumer, BATCH_RECORDS, SURE_SECONDS)
                        if not messages:
                            raise _StuckError
                if messages:
                    for message in messages:
                        self._handle(message)
                    with self._moved:
                        self._moved.notify_all()
                    came = time.monotonic()

    def _something_waits(self) -> bool:
        """Whether Kafka has committed records that have not come; False where it does not say. Blocks a few seconds at most."""
        try:
            ends = self._ends(time.monotonic() + ANSWER_SECONDS, IsolationLevel.READ_COMMITTED)
        except KafkaException:
            self._admin = admin_client(self._settings)
            return False
        return any(end > self._next[partition] for partition, end in ends.items())

    def _partitions(self, consumer: Consumer) -> list[int]:
        """The topic's partitions, as soon as Kafka can be asked; none when it is time to stop.

        The consumer itself asks, and so knows their leaders when it is assigned (`headwater.kafka.assign`).
        """
        while wait_for_base_topics(self._settings, self._stopping):
            try:
                if found := [*consumer.list_topics(self._topic, METADATA_SECONDS).topics[self._topic].partitions]:
                    return found
                self._stopping.wait(AGAIN_SECONDS)  # the broker that answers has not heard of the topic yet
            except KafkaException as error:
                log.warning("topic cannot be read; trying again", topic=self._topic, error=error.args[0].str())
        return []

    def _handle(self, message: Message) -> None:
        error, partition, offset = message.error(), message.partition(), message.offset()
        if error is None:
            assert partition is not None  # the client's types allow for none, which no record has
            assert offset is not None
            try:
                self._take(message)
            except Exception as problem:  # whatever it is, those that follow are not to be held up
                log.error(
                    "record is unreadable and passed over",
                    topic=self._topic,
                    partition=partition,
                    offset=offset,
                    error=f"{type(problem).__name__}: {problem}",
                )
            self._next[partition] = offset + 1
        elif error.code() == KafkaError._PARTITION_EOF:
            assert partition is not None
            assert offset is not None
            self._next[partition] = offset  # behind records that are no one's: aborted, or a transaction's marker
            self._unread.discard(partition)
            if not self._unread:
                self._caught_up.set()
        else:
            log.warning("topic cannot be read; trying again", topic=self._topic, error=error.str())
