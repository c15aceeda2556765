"""Filling topics before a measurement, and watching them grow during one."""

from collections.abc import Iterable
from contextlib import suppress

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from benchmarks.stack import BenchmarkError
from headwater.kafka import client_config, create_topics, durable_producer_config, new_topic
from headwater.settings import Settings
from headwater.topics import EVENTS

FLUSH_SECONDS = 120.0
ADMIN_SECONDS = 120.0


def fill(settings: Settings, records: Iterable[tuple[str, bytes, bytes]]) -> None:
    """Write records (topic, key, value), and wait until Kafka has them all."""
    producer = Producer(durable_producer_config(settings) | {"queue.buffering.max.messages": 1_000_000, "log_level": 2})
    failures: list[str] = []

    def delivered(error: object, _message: object) -> None:
        if error is not None:
            failures.append(str(error))

    for topic, key, value in records:
        while True:
            try:
                producer.produce(topic, value, key, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.05)
        producer.poll(0)
    if producer.flush(FLUSH_SECONDS) or failures:
        raise BenchmarkError(f"records could not be written: {failures[:1] or 'timeout'}")


def create_collection_topics(settings: Settings, names: Iterable[str]) -> None:
    """Make topics as those of collections are made."""
    create_topics(settings, [new_topic(settings, name, EVENTS) for name in names], timeout=ADMIN_SECONDS)


def delete_topics(settings: Settings) -> None:
    """Delete all topics of the deployment: their records are no load of the next one."""
    admin = AdminClient(client_config(settings))
    names = [name for name in admin.list_topics(timeout=ADMIN_SECONDS).topics if name.startswith(settings.topic_prefix)]
    for future in admin.delete_topics(names).values():
        future.result(ADMIN_SECONDS)


class Length:
    """How many records a topic has; 0 where there is no such topic yet."""

    def __init__(self, settings: Settings, topic: str, partitions: int) -> None:
        self._consumer = Consumer(client_config(settings) | {"group.id": "benchmark", "log_level": 2})
        self._partitions = [TopicPartition(topic, number) for number in range(partitions)]

    def now(self) -> int:
        """The records now. Blocks for one answer of Kafka per partition."""
        with suppress(KafkaException):
            return sum(self._consumer.get_watermark_offsets(p, timeout=5)[1] for p in self._partitions)
        return 0

    def close(self) -> None:
        """Give the connection back."""
        self._consumer.close()
