"""Bringing the local state of partitions up to what their changelog holds."""

import time
from collections.abc import Callable, Mapping

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.cimpl import OFFSET_BEGINNING

from headwater.kafka import assign, is_fatal, partition_reader_config, what_comes
from headwater.membership import IDLE_SECONDS
from headwater.metrics import recovered_records
from headwater.settings import Settings
from headwater.topics import state_topic
from processors.table import StateTable

BATCH_RECORDS = 500  # chunks of ids have 16 KB, and 1,024 keys of the index
POLL_SECONDS = 0.5
AGE_SECONDS = 12 * 3_600  # of local state; Kafka keeps the deletions that it may have missed for 24 hours

log = structlog.get_logger("headwater.processors")


def recover(settings: Settings, table: StateTable, ends: Mapping[int, int], wanted: Callable[[], bool]) -> bool:
    """Apply each partition's changelog to the table, up to the offset that `ends` has for it; False where given up.

    `ends` are offsets of committed records of the state topic, which nothing that counts can follow: the fence's own.
    Blocks until done, or until `wanted` says no more. Raises KafkaException.
    """
    topic = state_topic(settings)
    starts = {}
    for partition, end in ends.items():
        # Beyond the end: the topic is a new one, and what is here belongs to the old.
        if table.offset(partition) > end or table.age(partition) > AGE_SECONDS:
            table.forget(partition)
        starts[partition] = table.offset(partition) + 1
    missing = {partition for partition, end in ends.items() if starts[partition] <= end}
    if not missing:
        return True
    consumer = Consumer(
        partition_reader_config(settings, topic) | {"enable.partition.eof": False, "queued.max.messages.kbytes": 16_384}
    )
    try:
        assign(consumer, [TopicPartition(topic, p, starts[p] or OFFSET_BEGINNING) for p in sorted(missing)])
        came = time.monotonic()
        while missing:
            if not wanted():
                return False
            if time.monotonic() - came > IDLE_SECONDS:  # all that is waited for is there: begin anew, by a new client
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"nothing comes of {topic}"))
            changes: dict[int, list[tuple[bytes, bytes | None]]] = {}
            offsets: dict[int, int] = {}
            for message in what_comes(consumer, BATCH_RECORDS, POLL_SECONDS):
                error = message.error()
                if error is not None:
                    if is_fatal(error):
                        raise KafkaException(error)
                    log.warning("state topic cannot be read; trying again", error=error.str())
                    continue
                source, offset, key = message.partition(), message.offset(), message.key()
                if source is None or offset is None or key is None:
                    continue  # no record of ours
                came = time.monotonic()
                changes.setdefault(source, []).append((key, message.value()))
                offsets[source] = offset
            for partition, last in offsets.items():
                table.apply(partition, changes[partition], last)
                recovered_records.inc(len(changes[partition]))
                if last >= ends[partition]:
                    missing.discard(partition)
    finally:
        consumer.close()
    return True
