"""Replaying and discarding dead letters, each once, whichever moment anything is killed.

A replay writes the record again to the topic that it came from, and to the dead letters that this was done, in one transaction: a
crash leaves both or neither. One settler works at a time: each fences off the one before it and reads the letters behind
that, so two of them never send one letter twice.

Topics of collections are the exception: sinks fold what comes twice, so their records are written first, and that it was done
when Kafka has them. A transaction would leave its marker at the end of a topic whose consumers' offsets end with
records, and whoever compares the two (the window of history) would wait for a record that never comes.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

from confluent_kafka import KafkaError, KafkaException, Producer

from headwater.codec import codec
from headwater.dead_letters.ledger import Entry, Ledger
from headwater.dead_letters.reading import DeadLettersError, is_outcome, letter_of, read_ledger, read_records
from headwater.kafka import FENCED, durable_producer_config
from headwater.origin import REPLAY, Headers, Origin
from headwater.settings import Settings
from headwater.topics import MIB, dead_letters_topic

BATCH_LETTERS = 500
BATCH_BYTES = 8 * MIB
SECONDS = 30.0

Way = Literal["replayed", "discarded"]


@dataclass
class Settled:
    """What was done: how many letters, by the topic that their records went to or came from; and the topics that are not there."""

    letters: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)


class Settler:
    """Settles letters. A context manager; everything blocks and raises DeadLettersError."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = dead_letters_topic(settings)
        self._producer = Producer(
            durable_producer_config(settings)
            | {
                "transactional.id": f"{self._topic}.settler",
                "transaction.timeout.ms": int(SECONDS * 1000),
                "log_level": 0,  # what goes wrong is raised
            }
        )
        self._plain: Producer | None = None
        self._failed = False

    def __enter__(self) -> Self:
        """Fence off every other one: what it has under way is aborted, or done."""
        with self._explained():
            self._producer.init_transactions(SECONDS)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Give the producers up."""
        if not self._failed:  # else closing would try to abort, and complain where that cannot be
            self._producer.close()
        if self._plain is not None:
            self._plain.close()

    def ledger(self) -> Ledger:
        """The letters as they are now, with all that an earlier settler has done."""
        return read_ledger(self._settings, all_of_it=True)

    def settle(
        self, entries: Sequence[Entry], way: Way, on_progress: Callable[[int], None] = lambda count: None
    ) -> Settled:
        """Replay or discard open letters, as `ledger` has them. Those whose topic is not there any more stay open."""
        done = Settled()
        chosen = {}
        topics = self._topics(entries) if way == "replayed" else {}
        for entry in entries:
            if way == "replayed" and entry.letter["topic"] not in topics:
                done.missing[entry.letter["topic"]] += 1
            else:
                chosen[entry.at] = entry
        for batch in self._batches(sorted(chosen)):
            self._write(batch, way, topics)
            done.letters.update(letter["topic"] for letter in batch)
            on_progress(len(batch))
        return done

    def _topics(self, entries: Sequence[Entry]) -> dict[str, int]:
        """How many partitions the topics of letters have; without those that are not there."""
        with self._explained():
            known = self._producer.list_topics(timeout=SECONDS).topics
        wanted = {entry.letter["topic"] for entry in entries}
        return {topic: len(known[topic].partitions) for topic in wanted if topic in known}

    def _batches(self, offsets: Sequence[int]) -> Iterator[list[dict[str, Any]]]:
        """The letters at these offsets, with their records, so many as one transaction takes."""
        if not offsets:
            return
        wanted, batch, size = set(offsets), [], 0
        for message in read_records(self._settings, start=offsets[0]):
            if message.offset() not in wanted or is_outcome(message):
                continue
            wanted.discard(message.offset() or 0)
            batch.append(letter_of(message))
            size += len(message)
            if not wanted or len(batch) >= BATCH_LETTERS or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
            if not wanted:
                return
        raise DeadLettersError(
            f"{self._topic}: {len(wanted)} dead letters are not there any more: Kafka has let them go"
        )

    def _write(self, letters: Sequence[dict[str, Any]], way: Way, topics: dict[str, int]) -> None:
        """Settle letters at once."""
        with self._explained():
            replayed = letters if way == "replayed" else ()
            self._write_first([letter for letter in replayed if self._folds(letter)], topics)
            self._producer.begin_transaction()
            for letter in replayed:
                if not self._folds(letter):
                    _send_again(self._producer, letter, topics)
            now = time.time_ns() // 1_000_000
            for letter in letters:
                outcome = {name: letter[name] for name in ("id", "record_timestamp", "attempt")}
                record = codec("dead_letter_outcome").encode(outcome | {"outcome": way, "settled_at": now})
                _produce(self._producer, self._topic, record, letter["id"].encode(), 0)
            self._producer.commit_transaction(SECONDS)

    def _folds(self, letter: dict[str, Any]) -> bool:
        """Whether the record came from a collection's topic."""
        topic: str = letter["topic"]
        return topic.startswith(f"{self._settings.topic_prefix}.events.")

    def _write_first(self, letters: Sequence[dict[str, Any]], topics: dict[str, int]) -> None:
        """Write records again and wait until Kafka has them."""
        if not letters:
            return
        if self._plain is None:
            self._plain = Producer(durable_producer_config(self._settings) | {"log_level": 0})
        failed: list[KafkaError] = []
        for letter in letters:
            _send_again(self._plain, letter, topics, failed)
        left = self._plain.flush(SECONDS)
        if failed or left:
            raise KafkaException(failed[0] if failed else KafkaError(KafkaError._TIMED_OUT))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what Kafka says into DeadLettersError."""
        try:
            yield
        except KafkaException as error:
            self._failed = True
            cause = error.args[0]
            if cause.code() in FENCED:
                reason = "another replay or discard was started, and goes on with what is open"
            else:
                reason = f"Kafka at {self._settings.kafka} says: {cause.str()}. Run it again: nothing is done twice"
            raise DeadLettersError(f"{self._topic}: {reason}.") from error


def _send_again(
    producer: Producer, letter: dict[str, Any], topics: dict[str, int], failed: list[KafkaError] | None = None
) -> None:
    """Produce a letter's record to where it came from: its partition, for what is known of its key is there."""
    headers = [(header["name"], header["value"]) for header in letter["headers"]]
    if all(name != REPLAY for name, _ in headers):  # the letter of a replay has its headers already
        place = letter["topic"], letter["partition"], letter["offset"], letter["record_timestamp"]
        headers += Origin(*place, letter["attempt"] + 1).headers()
    partition = letter["partition"] if letter["partition"] < topics[letter["topic"]] else -1
    _produce(producer, letter["topic"], letter["payload"], letter["key"], partition, headers, failed)


def _produce(
    producer: Producer,
    topic: str,
    value: bytes | None,
    key: bytes | None,
    partition: int,
    headers: Headers = (),
    failed: list[KafkaError] | None = None,
) -> None:
    def delivered(error: KafkaError | None, _message: object) -> None:
        if error is not None and failed is not None:  # of a transaction's, the commit fails
            failed.append(error)

    while True:
        try:
            producer.produce(topic, value, key, partition, delivered, headers=[*headers])
        except BufferError:  # the producer's queue is full: make room
            producer.poll(0.1)
        else:
            return
