"""Live figures: a thread that follows the processors' state topic into memory."""

import threading
import time
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.cimpl import OFFSET_BEGINNING

from headwater.aggregates import LiveFigures
from headwater.kafka import client_config
from headwater.settings import Settings
from headwater.topics import state_topic

BATCH = 500
POLL_SECONDS = 0.2
RETRY_SECONDS = 0.5
METADATA_SECONDS = 5.0

log = structlog.get_logger("headwater.api")


class LiveFollower:
    """The rolling figures of all projects, as of what the processors have committed. Safe to use from several threads.

    Until the processors have created their topic there are none.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = state_topic(settings)
        self._figures = LiveFigures()
        self._stopping = threading.Event()
        self._unread: set[int] = set()
        self._caught_up = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="live-figures", daemon=True)

    def start(self) -> None:
        """Start following. Does not block."""
        self._thread.start()

    def stop(self) -> None:
        """Stop following. Blocks until the thread has ended."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def caught_up(self) -> bool:
        """Whether the topic's end has been reached once, or there is no topic yet."""
        return self._caught_up.is_set()

    def figures(self, project_id: str) -> dict[str, Any]:
        """What `/live` answers for a project."""
        return self._figures.figures(project_id, time.time_ns() // 1_000_000)

    def _follow(self) -> None:
        consumer = Consumer(
            client_config(self._settings)
            | {
                "group.id": f"{self._topic}.follower",  # required by the client; never joined, nothing is committed
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 100,
                "fetch.max.bytes": self._settings.topic_max_message_bytes * 2,
                "queued.max.messages.kbytes": 4096,
            }
        )
        try:
            partitions = self._partitions(consumer)
            self._unread = set(partitions)
            consumer.assign([TopicPartition(self._topic, number, OFFSET_BEGINNING) for number in partitions])
            while not self._stopping.is_set():
                for message in consumer.consume(BATCH, POLL_SECONDS):
                    self._take(message)
        finally:
            consumer.close()

    def _partitions(self, consumer: Consumer) -> list[int]:
        """The topic's partitions; waits until a processor has created it, or until `stop`."""
        while not self._stopping.is_set():
            try:
                found = consumer.list_topics(self._topic, timeout=METADATA_SECONDS).topics[self._topic]
                if found.partitions:
                    return list(found.partitions)
                self._caught_up.set()
            except KafkaException as error:
                log.warning("live figures cannot be read; trying again", error=str(error.args[0]))
            self._stopping.wait(RETRY_SECONDS)
        return []

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is None:
            key = message.key()
            if key is not None:
                self._figures.apply(key, message.value())
        elif error.code() == KafkaError._PARTITION_EOF:
            self._unread.discard(message.partition() or 0)
            if not self._unread:
                self._caught_up.set()
        else:
            log.warning("live figures cannot be read; trying again", error=error.str())
