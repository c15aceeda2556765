"""Reading the dead letters: every record that was given up, from the first that Kafka keeps to the last."""

import time
from collections.abc import Iterator
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from headwater.codec import codec
from headwater.kafka import partition_reader_config
from headwater.settings import Settings
from headwater.topics import dead_letters_topic

READ_RECORDS = 500
READ_SECONDS = 0.1  # a read waits for as long even when it has something


class DeadLettersError(Exception):
    """The dead letters cannot be read; the message says why."""


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
