"""Records that could not be processed, with the reason and their untouched bytes."""

import time

import structlog
from aiokafka.structs import ConsumerRecord

from headwater.codec import codec
from headwater.dead_letters import GivenUp, dead_letter
from headwater.metrics import dead_letters
from headwater.origin import Origin

MESSAGE_MAX = 2_000  # characters of an error's words that are kept
LOG_INTERVAL = 10.0  # seconds between two lines on one reason

log = structlog.get_logger("headwater.processors")


class RefusedError(Exception):
    """An event cannot be processed: `reason` is one of the names that the dead letter's schema lists."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class DeadLetters:
    """Makes dead letters, counts them, and says so in the log without flooding it."""

    def __init__(self) -> None:
        self._codec = codec("dead_letter")
        self._said_at: dict[str, float] = {}

    def letter(
        self,
        record: ConsumerRecord,
        reason: str,
        error: Exception,
        message: str,
        project_id: str | None = None,
        collection: str | None = None,
    ) -> tuple[bytes, bytes]:
        """The id and the record of the dead letter of a Kafka record. The id is the same whenever it is made."""
        dead_letters.labels("processor", reason).inc()
        message = message[:MESSAGE_MAX].encode(errors="backslashreplace").decode()
        now = time.monotonic()
        if now - self._said_at.get(reason, -LOG_INTERVAL) >= LOG_INTERVAL:
            self._said_at[reason] = now
            log.warning(
                "record goes to the dead letters",
                reason=reason,
                error=message,
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
            )
        place = Origin(record.topic, record.partition, record.offset, record.timestamp)
        given_up = GivenUp.at(place, record.key, record.value, record.headers)
        failed_at = int(time.time() * 1000)
        letter = dead_letter(
            given_up, "processor", reason, type(error).__name__, message, failed_at, project_id, collection
        )
        return letter["id"].encode(), self._codec.encode(letter)
