"""Where partitions begin and end, and what groups have committed in them: asked of Kafka, with a limit on every answer."""

import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin._listoffsets import OffsetSpec  # the package offers it without saying so to type checkers

from headwater.kafka import admin_client, client_config
from headwater.settings import Settings

# Of a topic that is just being made, or whose leader is moving.
PASSING = frozenset({KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE})
RETRY_SECONDS = 0.1


class Place(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


class Offsets:
    """Asks Kafka. Every method blocks up to `timeout` seconds for each of its answers; raises KafkaException without one."""

    def __init__(self, settings: Settings, timeout: float) -> None:
        self._settings, self._timeout = settings, timeout
        self._admin = admin_client(settings)  # kept: one that is let go of while it is asked never answers

    def partitions(self, timeout: float | None = None) -> Mapping[str, int]:
        """Every topic there is, with how many partitions it has. Waits `timeout` seconds where that is another limit."""
        return {
            name: len(topic.partitions)
            for name, topic in self._admin.list_topics(timeout=timeout or self._timeout).topics.items()
        }

    def beginnings(self, places: Iterable[Place]) -> dict[Place, int]:
        """The offset of the first record that is kept."""
        earliest = OffsetSpec.earliest()  # type: ignore[no-untyped-call]  # the client's own gap
        return self._asked(dict.fromkeys(places, earliest))

    def ends(self, places: Iterable[Place], committed: bool = False) -> dict[Place, int]:
        """The offset behind the last record; of those that readers of committed records see, where it says so."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the client's own gap
        return self._asked(dict.fromkeys(places, latest), committed)

    def at(self, places: Iterable[Place], instant: int) -> dict[Place, int]:
        """The offset of the first record of this time (milliseconds since 1970 UTC) or a later one; those that have none are missing."""
        found = self._asked(dict.fromkeys(places, OffsetSpec.for_timestamp(instant)))
        return {place: offset for place, offset in found.items() if offset >= 0}

    def committed(self, group: str, places: Iterable[Place]) -> dict[Place, int]:
        """What a group has committed; partitions in which it has not are missing."""
        asked = [TopicPartition(*place) for place in places]
        if not asked:
            return {}
        answer = ask_coordinator(self._settings, group, asked, self._timeout)
        for one in answer:
            if one.error is not None:  # "not committed" is no error
                raise KafkaException(one.error)
        return {Place(one.topic, one.partition): one.offset for one in answer if one.offset >= 0}

    def _asked(self, specs: Mapping[Place, OffsetSpec], committed: bool = False) -> dict[Place, int]:
        if not specs:
            return {}
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        asked = {TopicPartition(*place): spec for place, spec in specs.items()}
        deadline = time.monotonic() + self._timeout
        while True:
            answers = self._admin.list_offsets(asked, isolation_level=level, request_timeout=self._timeout)
            try:
                return {
                    Place(place.topic, place.partition): future.result().offset for place, future in answers.items()
                }
            except KafkaException as error:
                if error.args[0].code() not in PASSING or time.monotonic() > deadline:
                    # A client whose broker hung for seconds names an old leader's epoch from then on, and is refused for ever.
                    self._admin = admin_client(self._settings)
                    raise
            time.sleep(RETRY_SECONDS)


def ask_coordinator(
    settings: Settings, group: str, asked: list[TopicPartition], timeout: float
) -> list[TopicPartition]:
    """What the group's coordinator tells a client that is new of offsets: each with its own error. Blocks up to `timeout` seconds; raises
    KafkaException without an answer.

    By a consumer that never joins: librdkafka's admin client may end the process where a broker is killed while it looks for a group's
    coordinator (its issues 3663 and 4605).
    """
    consumer = Consumer(client_config(settings) | {"group.id": group, "log_level": 0})
    try:
        return consumer.committed(asked, timeout=timeout)
    finally:
        consumer.close()


def reason(error: KafkaException) -> str:
    """Kafka's own words."""
    return str(error.args[0].str())
