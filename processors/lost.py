"""What retention took before it was read: told from the gaps that transactions leave, by what Kafka still has."""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import structlog
from confluent_kafka import KafkaException

from headwater import metrics
from headwater.offsets import Offsets, Place
from headwater.settings import Settings

ANSWER_SECONDS = 5.0
PAUSE_SECONDS = 10.0  # between two questions: where transactions are written, there is a gap in most blocks
GAPS = 1_000

log = structlog.get_logger("headwater.processors")


class Gap(NamedTuple):
    """A partition in which another offset came than was to come next."""

    topic: str
    partition: int
    expected: int
    found: int


class Lost:
    """Counts and logs what is lost. `tell` is for one thread at a time, and the rest for one."""

    def __init__(self, settings: Settings) -> None:
        self._offsets = Offsets(settings, ANSWER_SECONDS)
        self._gaps: deque[Gap] = deque(maxlen=GAPS)
        self._told_at = 0.0

    def note(self, gap: Gap) -> None:
        """A gap was met; whose it is will be found out."""
        self._gaps.append(gap)

    def due(self, now: float) -> bool:
        """Whether it is time to `tell`, by the caller's clock."""
        if not self._gaps or now - self._told_at < PAUSE_SECONDS:
            return False
        self._told_at = now
        return True

    def tell(self) -> None:
        """Ask Kafka where the partitions with gaps begin, and tell; later, where it does not answer. Blocks a few seconds at most."""
        known = [self._gaps.popleft() for _ in range(len(self._gaps))]
        try:
            self._tell(known)
        except KafkaException:
            self._gaps.extendleft(reversed(known))

    def _tell(self, known: Sequence[Gap]) -> None:
        begins = self._offsets.beginnings({Place(gap.topic, gap.partition) for gap in known})
        for gap in known:
            lost = min(begins[Place(gap.topic, gap.partition)], gap.found) - gap.expected
            if lost > 0:
                metrics.offsets_lost.labels("processor").inc(lost)
                log.error(
                    "Kafka has not kept records until they were read",
                    topic=gap.topic,
                    partition=gap.partition,
                    offset=gap.expected,
                    records=lost,
                )
