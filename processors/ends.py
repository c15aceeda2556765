"""Where the raw topic ends, as Kafka says when it is asked: a reader that stands still knows of nothing that came since."""

from collections.abc import Collection, Mapping

from confluent_kafka import KafkaException

from headwater.offsets import Offsets, Place
from headwater.settings import Settings
from headwater.topics import raw_topic

ANSWER_SECONDS = 5.0
PAUSE_SECONDS = 10.0  # between two questions; longer than a fetch that brings nothing takes


class Ends:
    """Asks now and then. `ask` is for one thread at a time, and the rest for one."""

    def __init__(self, settings: Settings) -> None:
        self._topic = raw_topic(settings)
        self._offsets = Offsets(settings, ANSWER_SECONDS)
        self._asked_at = 0.0
        self.known: Mapping[int, int] = {}  # the offset behind the last committed record, by partition; of a while ago

    def due(self, now: float) -> bool:
        """Whether it is time to `ask`, by the caller's clock (seconds)."""
        if now - self._asked_at < PAUSE_SECONDS:
            return False
        self._asked_at = now
        return True

    def ask(self, partitions: Collection[int]) -> None:
        """Ask Kafka; what is known stays where it does not answer. Blocks a few seconds at most."""
        try:
            found = self._offsets.ends({Place(self._topic, partition) for partition in partitions}, committed=True)
        except KafkaException:
            return
        self.known = {place.partition: end for place, end in found.items()}
