"""Reading the backfill topic: when it is asked, and no more than it is asked for.

Faust's consumer brings whatever there is; history is taken only when nothing else waits, so it has a consumer of its own that is
assigned the partitions whose twins of the raw topic are this worker's.
"""

import threading
import time
from collections.abc import Iterable

import structlog
from aiokafka.structs import ConsumerRecord
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.cimpl import OFFSET_BEGINNING

from headwater.kafka import is_fatal, partition_reader_config
from headwater.membership import let_go
from headwater.settings import Settings
from headwater.topics import backfill_topic
from processors.blocks import Block

IDLE_FETCH_MS = 500
FETCH_BYTES = 262_144  # of each partition
QUEUED_KIB = 4_096
QUEUED_RECORDS = 5_000
MORE_SECONDS = 0.01

log = structlog.get_logger("headwater.processors")


class BackfillReader:
    """The backfill topic's partitions that this worker reads. `take` is for one thread at a time."""

    def __init__(self, settings: Settings) -> None:
        self.topic = backfill_topic(settings)
        self._config = partition_reader_config(settings, self.topic) | {
            "fetch.wait.max.ms": IDLE_FETCH_MS,
            "fetch.message.max.bytes": FETCH_BYTES,
            "queued.max.messages.kbytes": QUEUED_KIB,
            "queued.min.messages": QUEUED_RECORDS,
        }
        self._consumer = Consumer(self._config)
        self._stuck = False
        self.idle_seconds = 0.0  # for how long `take` has waited and had nothing, since a record came or this was set
        self._lock = threading.Lock()
        self._wanted: dict[
            int, tuple[int, int] | None
        ] = {}  # partitions to read from another offset, and those to leave
        self._readings: dict[int, tuple[int, int]] = {}  # the seek that a partition is read after, and where it is
        self._ended: dict[
            int, int
        ] = {}  # where partitions end that were read to there, markers of transactions included

    def read_from(self, partition: int, offset: int, seek: int) -> None:
        """From the next `take` on, read a partition from `offset`; its blocks carry the seek's number. From any thread."""
        with self._lock:
            self._wanted[partition] = seek, offset

    def leave(self, partitions: Iterable[int]) -> None:
        """From the next `take` on, read these partitions no more. From any thread."""
        with self._lock:
            self._wanted |= dict.fromkeys(partitions)

    def begin_anew(self) -> None:
        """From the next `take` on, read by a new client, on from where this one is: it gets nothing of what is there. From any thread."""
        self._stuck = True

    def take(self, most: int, seconds: float) -> dict[int, Block]:
        """The next records, by partition; blocks so many seconds while there are none. Raises KafkaException."""
        if self._stuck:
            self._begin_anew()
        self._turn_to_what_is_wanted()
        began = time.monotonic()
        first = self._consumer.poll(seconds)
        if first is None:
            self.idle_seconds += time.monotonic() - began
            return {}
        self.idle_seconds = 0.0
        messages = [first, *(self._consumer.consume(most - 1, MORE_SECONDS) if most > 1 else ())]
        records: dict[int, list[ConsumerRecord]] = {}
        for message in messages:
            error = message.error()
            if error is None:
                record = _record(message)
                records.setdefault(record.partition, []).append(record)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._ended[message.partition() or 0] = message.offset() or 0
            elif is_fatal(error):
                raise KafkaException(error)
            else:
                log.warning("backfill topic cannot be read; trying again", error=error.str())
        blocks = {}
        for partition, run in records.items():
            seek, start = self._readings[partition]
            blocks[partition] = block = Block(seek, start, run)
            self._readings[partition] = seek, block.end
        return blocks

    def left(self, partition: int, settled: int, end: int) -> int:
        """How many offsets are not settled; none where only markers of transactions follow. From any thread."""
        if self._ended.get(partition) == end and self._readings.get(partition, (0, -1))[1] == settled:
            return 0
        return max(0, end - settled)

    def _begin_anew(self) -> None:
        let_go(self._consumer)
        self._consumer = Consumer(self._config)
        with self._lock:
            self._wanted = {**self._readings, **self._wanted}
        self._readings = {}
        self._stuck, self.idle_seconds = False, 0.0

    def _turn_to_what_is_wanted(self) -> None:
        with self._lock:
            wanted, self._wanted = self._wanted, {}
        for number in wanted:
            self._ended.pop(number, None)
        left = [TopicPartition(self.topic, partition) for partition in wanted if partition in self._readings]
        if left:
            self._consumer.incremental_unassign(left)
        for partition in left:
            del self._readings[partition.partition]
        sought = {partition: reading for partition, reading in wanted.items() if reading is not None}
        if sought:
            self._consumer.incremental_assign(
                [
                    TopicPartition(self.topic, partition, offset or OFFSET_BEGINNING)
                    for partition, (_, offset) in sought.items()
                ]
            )
        self._readings |= sought


def _record(message: Message) -> ConsumerRecord:
    """A record as Faust's consumer has it."""
    key, value, (kind, timestamp) = message.key(), message.value(), message.timestamp()
    sizes = -1 if key is None else len(key), -1 if value is None else len(value)
    return ConsumerRecord(
        message.topic(),
        message.partition(),
        message.offset(),
        timestamp,
        kind,
        key,
        value,
        None,
        *sizes,
        message.headers() or (),
    )
