"""What sinks have stored: where the topics of collections end, and what the sinks' group has committed in them."""

from collections.abc import Iterable

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec  # the package offers it without saying so to type checkers

from headwater.kafka import client_config, sink_group
from headwater.settings import Settings
from processors.window import Ends

ANSWER_SECONDS = 5.0


class Stored:
    """Asks Kafka. Every method blocks up to a few seconds; raises KafkaException when there is no answer."""

    def __init__(self, settings: Settings) -> None:
        self._config = client_config(settings) | {"log_level": 0}
        self._admin = AdminClient(self._config)
        self._group = sink_group(settings)
        self._partitions: dict[str, int] = {}

    def ask(self, topics: Iterable[str]) -> tuple[Ends, Ends]:
        """The ends of topics, and the offsets that the sinks' group has committed. What does not exist is in neither."""
        try:
            places = [(topic, partition) for topic in topics for partition in range(self._partitions_of(topic))]
            ends = self.ends(places)
            return ends, self._committed(ends)
        except KafkaException:
            # A client whose broker was killed may ask for the group's coordinator in vain for ever.
            self._admin = AdminClient(self._config)
            raise

    def ends(self, places: Iterable[tuple[str, int]]) -> Ends:
        """The ends of partitions (topic and number); of those that exist."""
        admin = self._admin  # held: one that is let go of while it is asked never answers
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the client's own gap
        asked = {TopicPartition(*place): latest for place in places}
        ends = {}
        if asked:
            for place, future in admin.list_offsets(asked, request_timeout=ANSWER_SECONDS).items():
                try:
                    ends[place.topic, place.partition] = future.result().offset
                except KafkaException:
                    if place.topic in admin.list_topics(timeout=ANSWER_SECONDS).topics:
                        raise
                    self._partitions.pop(place.topic, None)
        return ends

    def _committed(self, ends: Ends) -> Ends:
        if not ends:
            return {}
        request = ConsumerGroupTopicPartitions(self._group, [TopicPartition(*place) for place in ends])
        admin = self._admin
        (future,) = admin.list_consumer_group_offsets([request], request_timeout=ANSWER_SECONDS).values()
        answer = future.result()
        return {(each.topic, each.partition): each.offset for each in answer.topic_partitions if each.error is None}

    def _partitions_of(self, topic: str) -> int:
        if topic not in self._partitions:
            found = self._admin.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
            self._partitions[topic] = len(found.partitions)
        return self._partitions[topic]
