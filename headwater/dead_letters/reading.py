"""Reading the dead letters, from the first that Kafka keeps to the last."""

import logging
import time
from collections.abc import Iterator
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from headwater.codec import HEADER_LENGTH, MARKER, CodecError, codec
from headwater.dead_letters.ledger import Ledger
from headwater.kafka import partition_reader_config, what_comes
from headwater.offsets import Offsets, Place
from headwater.settings import Settings
from headwater.topics import dead_letters_topic

READ_RECORDS = 500
OPEN_SECONDS = 90.0  # longer than Kafka leaves the transaction of a processor open that was killed
READ_SECONDS = 0.1

log = logging.getLogger("headwater.dead_letters")  # of commands too, whose standard output is their answer


class DeadLettersError(Exception):
    """The dead letters cannot be read or settled; the message says why."""


def read_dead_letters(settings: Settings, timeout: float = 10.0) -> Iterator[dict[str, Any]]:
    """Every dead letter that is there now, in the order of its partition, as schemas/dead_letter has it; also those that are settled.

    One that was written twice comes twice, with one id; a record that is none is logged and passed over. Blocks up to `timeout`
    seconds for each answer of Kafka; raises DeadLettersError when there is none.
    """
    for message in read_records(settings, timeout):
        if not is_outcome(message):
            try:
                yield letter_of(message)
            except CodecError as error:
                _say_unreadable(message, error)


def read_ledger(settings: Settings, timeout: float = 10.0, *, all_of_it: bool = False) -> Ledger:
    """The dead letters that are there now and what became of them; raises as `read_dead_letters`.

    `all_of_it`: read to the end of what was written before this call. A transaction that is open there, of a service or of one
    that was killed, is waited for, up to OPEN_SECONDS; without that, what stands behind it is left out.
    """
    ledger = Ledger()
    end = _end(settings, timeout) if all_of_it else 0
    for message in read_records(settings, max(timeout, OPEN_SECONDS) if all_of_it else timeout, end=end):
        enter(ledger, message)
    return ledger


def enter(ledger: Ledger, message: Message) -> None:
    """Tell the ledger of a record of the topic; one that nobody can read is logged and passed over."""
    try:
        if is_outcome(message):
            ledger.add_outcome(codec("dead_letter_outcome").decode(message.value() or b""))
        else:
            ledger.add_letter(letter_of(message), message.offset() or 0)
    except CodecError as error:
        _say_unreadable(message, error)


def read_records(settings: Settings, timeout: float = 10.0, start: int = 0, end: int = 0) -> Iterator[Message]:
    """The records of the topic from `start` to its present end, and at least to before `end`. Raises DeadLettersError."""
    topic = dead_letters_topic(settings)
    consumer = Consumer(
        partition_reader_config(settings, topic)
        | {"log_level": 0}  # what goes wrong is raised, and not printed as well
    )
    try:
        partitions = _partitions(consumer, topic, timeout)
        consumer.assign([TopicPartition(topic, number, start) for number in partitions])
        unread = set(partitions)
        deadline = time.monotonic() + timeout
        while unread:
            messages = what_comes(consumer, READ_RECORDS, READ_SECONDS)
            if messages:
                deadline = time.monotonic() + timeout
            elif time.monotonic() > deadline:
                raise DeadLettersError(
                    f"{topic}: Kafka at {settings.kafka} gave no answer within {timeout:g} s"
                    + (", or a transaction in it has been open for as long" if end else "")
                )
            for message in messages:
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    if (message.offset() or 0) >= end:  # else something before it is not yet decided
                        unread.discard(message.partition() or 0)
                else:
                    raise KafkaException(error)
    except KafkaException as error:
        raise DeadLettersError(f"{topic}: Kafka at {settings.kafka} says: {error.args[0].str()}") from error
    finally:
        consumer.close()


def is_outcome(message: Message) -> bool:
    """Whether a record of the topic says what became of a letter."""
    header = (message.value() or b"")[:HEADER_LENGTH]
    return header.startswith(MARKER) and header[len(MARKER) :] in codec("dead_letter_outcome").versions


def letter_of(message: Message) -> dict[str, Any]:
    """The dead letter in a record. Raises CodecError."""
    return codec("dead_letter").decode(message.value() or b"")


def _say_unreadable(message: Message, error: CodecError) -> None:
    log.warning("The record at offset %s is no dead letter and is passed over: %s", message.offset(), error)


def _partitions(consumer: Consumer, topic: str, timeout: float) -> list[int]:
    """The topic's partitions; none where there is no such topic, as before the first start."""
    found = consumer.list_topics(topic, timeout).topics[topic]
    if found.error is not None and found.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise KafkaException(found.error)
    return list(found.partitions)


def _end(settings: Settings, timeout: float) -> int:
    """The offset behind the topic's last record, whether it is committed or not; 0 where there is no topic."""
    place = Place(dead_letters_topic(settings), 0)
    try:
        return Offsets(settings, timeout).ends([place])[place]
    except KafkaException as error:
        if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return 0
        raise DeadLettersError(f"{place.topic}: Kafka at {settings.kafka} says: {error.args[0].str()}") from error
