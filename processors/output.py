"""The producer of what processors put out: events and dead letters. Nothing counts as done without its delivery report."""

import time
from collections.abc import Callable, Iterable

import structlog
from confluent_kafka import KafkaError, Message, Producer

from headwater.kafka import counting_retries, durable_producer_config
from headwater.settings import Settings

QUEUED_MAX = 200_000  # records of a stretch that wait for Kafka
QUEUED_KIB_MAX = 32 * 1024
LINGER_MS = 50  # each partition of each collection is a request of its own to Kafka; a flush waits for nothing
FULL_SECONDS = 10.0  # how long to wait for room
OVERHEAD = 512  # bytes that a record may need beside key and value

log = structlog.get_logger("headwater.processors")


class OutputFullError(Exception):
    """Kafka has taken nothing for a while, so there is no room for more."""


class Output:
    """Produces records, in stretches: `cut` ends one, and its records can be flushed while those of the next queue.

    Each of the two stretches has a producer, so the flush of one does not wait for the other.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.largest = settings.topic_max_message_bytes - OVERHEAD
        self.too_large: set[tuple[str, bytes]] = set()  # topic and id of what Kafka refused as too large
        self._current, self._other = self._new_stretch(), self._new_stretch()

    def produce(self, topic: str, keys: Iterable[bytes], values: Iterable[bytes]) -> None:
        """Queue records; waits for room where there is none. Raises OutputFullError, KafkaException."""
        self._current.produce(topic, keys, values)

    def poll(self) -> None:
        """Take delivery reports that have come. Does not block."""
        self._current.poll()
        self._other.poll()

    @property
    def backlog(self) -> int:
        """Records that wait for Kafka, or whose reports wait for us."""
        return self._current.backlog + self._other.backlog

    def cut(self) -> Callable[[float], bool]:
        """End the stretch; what comes belongs to the next one. Returns the flush of the one that ended.

        That blocks until every record of it is reported on, as many seconds as it is given at most, and says whether all
        are durable. After False, nothing is known of any of them. Cut again only when it has returned.
        """
        self._current, self._other = self._other, self._current
        return self._other.flush

    def undo(self) -> None:
        """Give up what is queued, after a flush that failed. Not while another thread flushes."""
        # By new producers: an idempotent one that gave up what was on its way fails once more, and one that got nothing
        # through may not find Kafka any more (`headwater.membership`).
        for each in (self._current, self._other):
            each.give_up()
        self._current, self._other = self._new_stretch(), self._new_stretch()

    def _new_stretch(self) -> "_Stretch":
        return _Stretch(self._settings, self.too_large)

    def close(self) -> None:
        """Give up what is still queued."""
        self._current.close()
        self._other.close()


class _Stretch:
    """A producer and what went wrong in it since its last flush."""

    def __init__(self, settings: Settings, too_large: set[tuple[str, bytes]]) -> None:
        self._producer = Producer(
            durable_producer_config(settings)
            | counting_retries("processor")
            | {
                "delivery.report.only.error": True,  # flush waits for the others' reports in C
                "queue.buffering.max.messages": QUEUED_MAX,
                "queue.buffering.max.kbytes": QUEUED_KIB_MAX,
                "linger.ms": LINGER_MS,
                "log_level": 3,
            }
        )
        self._reports = _Reports(too_large)

    def produce(self, topic: str, keys: Iterable[bytes], values: Iterable[bytes]) -> None:
        produce, delivered = self._producer.produce, self._reports.report
        for key, value in zip(keys, values, strict=True):
            try:
                produce(topic, value, key, -1, delivered)
            except BufferError:
                self._produce_when_there_is_room(topic, key, value)

    def poll(self) -> None:
        self._producer.poll(0)

    @property
    def backlog(self) -> int:
        return len(self._producer)

    def flush(self, timeout: float) -> bool:
        left = self._producer.flush(timeout)
        failed, self._reports.failed = self._reports.failed, None
        if failed is not None:
            log.warning("Kafka did not take a record; processing again", error=failed.str())
        elif left:
            log.warning("Kafka has not taken all records in time; processing again", records=left, seconds=timeout)
        return failed is None and not left

    def give_up(self) -> None:
        self._producer.purge()

    def close(self) -> None:
        self.give_up()
        self._producer.close()

    def _produce_when_there_is_room(self, topic: str, key: bytes, value: bytes) -> None:
        deadline = time.monotonic() + FULL_SECONDS
        while time.monotonic() < deadline:
            self._producer.poll(0.05)
            try:
                self._producer.produce(topic, value, key, on_delivery=self._reports.report)
            except BufferError:
                continue
            return
        raise OutputFullError(f"no room for a record in {FULL_SECONDS:g} s")


class _Reports:
    """What is told of a producer's records. It knows nothing of the producer, which its reports would keep alive while nobody takes them."""

    def __init__(self, too_large: set[tuple[str, bytes]]) -> None:
        self._too_large = too_large
        self.failed: KafkaError | None = None

    def report(self, error: KafkaError | None, message: Message) -> None:
        """A record is durable, or Kafka did not take it."""
        if error is None:
            return
        self.failed = error
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            self._too_large.add((message.topic() or "", message.key() or b""))
