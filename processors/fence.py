"""Writing a partition's state so that no worker but its owner can: one transactional producer per partition.

Its transactional id names the partition, so initialising it makes the broker refuse every earlier one: a worker that was
stopped and wakes up behind its successor can write nothing any more. What a transaction holds is seen as a whole or not at
all, by readers with `isolation.level=read_committed`. So the changelog is one consistent sequence of states, each on top of
the one before.

The dead letters of the partition go with the watermark that passes their records: a record is given up or counted, whenever its
processor is killed and whatever is mended until the next one reads it again. So one that is replayed counts once.
"""

import time
from collections.abc import Mapping, Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from headwater import topics
from headwater.aggregates import table_key
from headwater.codec import codec
from headwater.kafka import FENCED, client_config
from headwater.settings import Settings

TIMEOUT_SECONDS = 30.0
Letter = tuple[bytes, bytes]  # a dead letter's id and its record


class FencedError(Exception):
    """Another worker has taken the partition since."""


class WriteError(Exception):
    """A transaction failed, or nobody knows whether it did: only taking the partition anew tells."""


class FencedWriter:
    """Writes the state of one partition. Every method blocks, for TIMEOUT_SECONDS at most; for one thread at a time.

    After an exception the writer is of no more use: close it.
    """

    def __init__(self, settings: Settings, group: str, partition: int) -> None:
        self._topic = topics.state_topic(settings)
        self._dead_letters_topic = topics.dead_letters_topic(settings)
        self._partition = partition
        self._worker = settings.worker_name
        self._last_offset = -1
        self._producer = Producer(
            client_config(settings)
            | {
                "transactional.id": f"{group}-{partition}",
                "message.max.bytes": settings.topic_max_message_bytes + topics.MIB,
                "compression.type": "lz4",
                "linger.ms": 0,
                "log_level": 0,  # a fenced producer is no emergency: it is said by who catches the error
            }
        )

    def take(self) -> int:
        """Fence all earlier writers of the partition; return the offset of a record that stands behind all of theirs.

        Raises FencedError where a later writer was quicker, WriteError otherwise.
        """
        try:
            self._producer.init_transactions(TIMEOUT_SECONDS)
        except KafkaException as error:
            raise _failure(error) from error
        owner = {"worker": self._worker, "taken_at": int(time.time() * 1000)}
        return self.write({table_key(self._partition, "ownership"): codec("ownership").encode(owner)})

    def write(self, changes: Mapping[bytes, bytes | None], letters: Sequence[Letter] = ()) -> int:
        """Write records in one transaction, a None deletes its key, and dead letters; return the offset of the last record.

        Raises FencedError or WriteError.
        """
        try:
            self._producer.begin_transaction()
            for id_, letter in letters:
                self._produce(self._dead_letters_topic, id_, letter, -1)
            for key, value in changes.items():
                self._produce(self._topic, key, value, self._partition)
            self._producer.commit_transaction(TIMEOUT_SECONDS)
        except KafkaException as error:
            raise _failure(error) from error
        return self._last_offset

    def close(self) -> None:
        """Give the producer up; what was not committed is aborted by the broker."""
        self._producer.purge()
        self._producer.close()

    def _produce(self, topic: str, key: bytes, value: bytes | None, partition: int) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, partition=partition, on_delivery=self._delivered)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None and message.topic() == self._topic:  # a failed one fails the commit
            self._last_offset = max(self._last_offset, message.offset() or 0)


def fenced_writer(settings: Settings, group: str, partition: int) -> tuple[FencedWriter, int]:
    """A writer that has fenced all earlier ones of a partition, and what its `take` returned. Blocks; raises what that raises."""
    writer = FencedWriter(settings, group, partition)
    try:
        return writer, writer.take()
    except BaseException:
        writer.close()
        raise


def _failure(error: KafkaException) -> Exception:
    cause = error.args[0]
    return (FencedError if cause.code() in FENCED else WriteError)(cause.str())
