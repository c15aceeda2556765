"""What sinks have stored: where the topics of collections end, and what the sinks' group has committed in them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.cimpl import OFFSET_END

from headwater.kafka import client_config, sink_group
from headwater.settings import Settings
from processors.window import Ends

ANSWER_SECONDS = 5.0


class Stored:
    """Asks Kafka. Every method blocks up to a few seconds; raises KafkaException when there is no answer.

    By a consumer that never joins: librdkafka's admin client aborts the process where a broker is killed while it looks for a
    group's coordinator (its issues 3663 and 4605).
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer = self._new_consumer()
        self._partitions: dict[str, int] = {}

    def ask(self, topics: Iterable[str]) -> tuple[Ends, Ends]:
        """The ends of topics, and the offsets that the sinks' group has committed. What does not exist is in neither."""
        with self._renewing():
            places = [(topic, partition) for topic in topics for partition in range(self._partitions_of(topic))]
            ends = self._ends(places)
            return ends, self._committed(ends)

    def ends(self, places: Iterable[tuple[str, int]]) -> Ends:
        """The ends of partitions (topic and number); of those that exist."""
        with self._renewing():
            return self._ends(places)

    @contextmanager
    def _renewing(self) -> Iterator[None]:
        """Ask by a new client from the next time on, where this one got no answer: one whose broker hung may get none any more."""
        consumer = self._consumer
        try:
            yield
        except KafkaException:
            if self._consumer is consumer:
                self._consumer = self._new_consumer()
            raise

    def _new_consumer(self) -> Consumer:
        return Consumer(
            client_config(self._settings)
            | {
                "group.id": sink_group(self._settings),
                "enable.auto.commit": False,
                "isolation.level": "read_uncommitted",
                "log_level": 0,
            }
        )

    def _ends(self, places: Iterable[tuple[str, int]]) -> Ends:
        asked = [TopicPartition(topic, partition, OFFSET_END) for topic, partition in places]
        ends = {}
        for place in self._consumer.offsets_for_times(asked, timeout=ANSWER_SECONDS) if asked else ():
            if place.error is None:
                ends[place.topic, place.partition] = place.offset
            elif place.topic in self._consumer.list_topics(timeout=ANSWER_SECONDS).topics:
                raise KafkaException(place.error)
            else:
                self._partitions.pop(place.topic, None)
        return ends

    def _committed(self, ends: Ends) -> Ends:
        places = [TopicPartition(*place) for place in ends]
        answer = self._consumer.committed(places, timeout=ANSWER_SECONDS) if places else ()
        return {(each.topic, each.partition): each.offset for each in answer if each.error is None}

    def _partitions_of(self, topic: str) -> int:
        if topic not in self._partitions:
            found = self._consumer.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
            self._partitions[topic] = len(found.partitions)
        return self._partitions[topic]
