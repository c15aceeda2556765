"""Dead letters of the sink: records that cannot be stored, with the reason, durably in their topic."""

import threading
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from headwater import metrics
from headwater.codec import codec
from headwater.dead_letters import GivenUp, dead_letter
from headwater.kafka import durable_producer_config
from headwater.settings import Settings
from headwater.topics import dead_letters_topic
from sinks.datums import Collection, Fault

STAGE = "sink"
DELIVERY_SECONDS = 30


class UndeliveredError(Exception):
    """Kafka did not take every dead letter."""


class DeadLetters:
    """Writes dead letters. Safe from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._topic = dead_letters_topic(settings)
        self._config = durable_producer_config(settings) | {"message.timeout.ms": DELIVERY_SECONDS * 1000}
        self._producer = Producer(self._config)
        self._one_at_a_time = threading.Lock()

    def write(self, letters: Iterable[tuple[Message, Fault]], collection: Collection | None) -> None:
        """Give records up, each for its fault. Blocks until Kafka has them all; raises UndeliveredError where it has not."""
        with self._one_at_a_time:  # so that each call is served its own reports
            try:
                self._write(letters, collection)
            except UndeliveredError:
                self._producer = Producer(self._config)  # one that has lost its brokers may not find them again
                raise

    def _write(self, letters: Iterable[tuple[Message, Fault]], collection: Collection | None) -> None:
        now = time.time_ns() // 1_000_000
        errors: list[KafkaError | None] = []
        sent: Counter[str] = Counter()
        try:
            for record, fault in letters:
                of = (collection.project_id, collection.name) if collection else (None, None)
                letter = dead_letter(
                    GivenUp.of(record), STAGE, fault.reason, fault.error_class, fault.message, now, *of
                )
                self._produce(letter, errors)
                sent[fault.reason] += 1
        except KafkaException as error:
            raise UndeliveredError(f"a dead letter could not be produced: {error}") from error
        finally:
            self._producer.flush(DELIVERY_SECONDS + 5)
        failed = [error for error in errors if error is not None]
        if failed or len(errors) < sent.total():
            reason = failed[0].str() if failed else "no report"
            # Counted so: librdkafka's errors cannot be compared with None.
            left = sent.total() - len(errors) + len(failed)
            raise UndeliveredError(f"Kafka did not take {left} dead letters: {reason}")
        for reason, count in sent.items():
            metrics.dead_letters.labels(STAGE, reason).inc(count)

    def _produce(self, letter: dict[str, Any], errors: list[KafkaError | None]) -> None:
        data = codec("dead_letter").encode(letter)
        while True:
            try:
                self._producer.produce(
                    self._topic, data, key=letter["id"], on_delivery=lambda error, _: errors.append(error)
                )
                return
            except BufferError:  # the producer's queue is full: make room
                self._producer.poll(0.1)
