"""How far history is, told to Kafka as the offsets of a group: for Kafka's tools to show, and nothing else."""

import time
from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaError, TopicPartition

from headwater.kafka import client_config
from headwater.membership import let_go
from headwater.offsets import Place
from headwater.settings import Settings

ANSWER_SECONDS = 30.0


def backfill_group(settings: Settings) -> str:
    """The group whose offsets say how far history is; nobody joins it."""
    return f"{settings.topic_prefix}.backfill"


class GroupOffsets:
    """Commits a group's offsets. For one thread at a time.

    By a client of its own: librdkafka begins to read no partition while a commit of the same client waits for its answer, and after a
    Kafka that hung that may be for ever (`headwater.membership`).
    """

    def __init__(self, settings: Settings, group: str) -> None:
        self._config = client_config(settings) | {
            "group.id": group,
            "enable.auto.commit": False,
            "on_commit": self._answered,
            "log_level": 0,
        }
        self._consumer = Consumer(self._config)
        self._asked_at: float | None = None

    def commit(self, offsets: Mapping[Place, int]) -> None:
        """Tell these. Does not block; does nothing while an answer is awaited: the next call tells what is newer then."""
        self._consumer.poll(0)  # hands over the answer
        now = time.monotonic()
        if self._asked_at is not None:
            if now - self._asked_at < ANSWER_SECONDS:
                return
            let_go(self._consumer)
            self._consumer = Consumer(self._config)
        self._asked_at = now
        self._consumer.commit(
            offsets=[TopicPartition(place.topic, place.partition, offset) for place, offset in offsets.items()]
        )

    def _answered(self, _error: KafkaError | None, _offsets: list[TopicPartition]) -> None:
        self._asked_at = None
