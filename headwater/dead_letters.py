"""Dead letters: what is kept of a record that was given up, and reading them, from the first that Kafka keeps to the last."""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, KafkaException, Message, TopicPartition

from headwater.codec import codec
from headwater.identity import origin_id
from headwater.kafka import partition_reader_config
from headwater.settings import Settings
from headwater.topics import dead_letters_topic

READ_RECORDS = 500
READ_SECONDS = 0.1  # a read waits for as long even when it has something


class DeadLettersError(Exception):
    """The dead letters cannot be read; the message says why."""


class Origin(NamedTuple):
    """A record that is given up: where it stands in Kafka, and its untouched bytes."""

    topic: str
    partition: int
    offset: int
    timestamp: int | None  # the record's own, in milliseconds since 1970 UTC
    key: bytes | None
    payload: bytes | None

    @classmethod
    def of(cls, record: Message) -> "Origin":
        """That of a record as confluent-kafka reads it."""
        topic, partition, offset = record.topic(), record.partition(), record.offset()
        assert topic is not None  # the client's types allow for none, which no record has
        assert partition is not None
        assert offset is not None
        kind, written_at = record.timestamp()
        timestamp = None if kind == TIMESTAMP_NOT_AVAILABLE else written_at
        return cls(topic, partition, offset, timestamp, record.key(), record.value())


def dead_letter(
    origin: Origin,
    stage: str,
    reason: str,
    error_class: str,
    message: str,
    failed_at: int,
    project_id: str | None = None,
    collection: str | None = None,
) -> dict[str, Any]:
    """The dead letter of a record, as schemas/dead_letter has it; `failed_at` in milliseconds since 1970 UTC.

    Its id comes from where the record stands, so that a second one folds with the first.
    """
    return {
        "id": origin_id(origin.topic, origin.partition, origin.offset),
        "stage": stage,
        "reason": reason,
        "error_class": error_class,
        "message": message,
        "topic": origin.topic,
        "partition": origin.partition,
        "offset": origin.offset,
        "failed_at": failed_at,
        "project_id": project_id,
        "collection": collection,
        "record_timestamp": origin.timestamp,
        "key": origin.key,
        "payload": origin.payload,
    }


def read_dead_letters(settings: Settings, timeout: float = 10.0) -> Iterator[dict[str, Any]]:
    """Every dead letter that is there now, in the order of its partition, as schemas/dead_letter has it.

    One that was written twice comes twice, with one id. Blocks up to `timeout` seconds for each answer of Kafka; raises
    DeadLettersError when there is none, and CodecError on a record that is no dead letter.
    """
    topic = dead_letters_topic(settings)
    consumer = Consumer(
        partition_reader_config(settings, topic)
        | {"log_level": 0}  # what goes wrong is raised, and not printed as well
    )
    try:
        partitions = _partitions(consumer, topic, timeout)
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        unread = set(partitions)
        deadline = time.monotonic() + timeout
        while unread:
            messages = consumer.consume(READ_RECORDS, READ_SECONDS)
            if messages:
                deadline = time.monotonic() + timeout
            elif time.monotonic() > deadline:
                raise DeadLettersError(f"{topic}: Kafka at {settings.kafka} gave no answer within {timeout:g} s")
            for message in messages:
                error = message.error()
                if error is None:
                    yield codec("dead_letter").decode(message.value() or b"")
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition())
                else:
                    raise KafkaException(error)
    except KafkaException as error:
        raise DeadLettersError(f"{topic}: Kafka at {settings.kafka} says: {error.args[0].str()}") from error
    finally:
        consumer.close()


def _partitions(consumer: Consumer, topic: str, timeout: float) -> list[int]:
    """The topic's partitions; none where there is no such topic, as before the first start."""
    found = consumer.list_topics(topic, timeout).topics[topic]
    if found.error is not None and found.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise KafkaException(found.error)
    return list(found.partitions)
