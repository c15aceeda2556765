"""Records of producers that Kafka deletes before they are taken in: their loss is told, and all others come in."""

from collections.abc import Iterator
from contextlib import contextmanager

import orjson
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from structlog.testing import capture_logs

from collector.intake import Intake
from headwater import metrics
from headwater.control import ControlPlane, ControlWriter
from headwater.kafka import client_config, create_base_topics, create_topics, durable_producer_config
from headwater.settings import Settings
from headwater.topics import in_topic
from tests.collecting import raw_records
from tests.waiting import wait_until


@contextmanager
def taking_in(settings: Settings) -> Iterator[None]:
    """A collector's intake."""
    plane = ControlPlane(settings)
    with plane.running(), Intake(settings, plane).running():
        yield


def test_what_was_not_kept_is_told_and_what_was_comes_in(kafka_settings: Settings) -> None:
    create_base_topics(kafka_settings)
    with ControlWriter(kafka_settings) as writer:
        project = writer.create_project("test").id
    topic = in_topic(kafka_settings.topic_prefix, project, "c")
    admin = AdminClient(client_config(kafka_settings))
    create_topics(kafka_settings, [NewTopic(topic, 1, 1)])
    producer = Producer(durable_producer_config(kafka_settings))
    lost = metrics.offsets_lost.labels("collector")._value.get

    def send(*numbers: int) -> None:
        for number in numbers:
            producer.produce(topic, b'{"n":%d}' % number)
        assert producer.flush(30) == 0

    def taken() -> list[int]:
        return [orjson.loads(one["properties"])["n"] for one in raw_records(kafka_settings, project)]

    def delete(before: int) -> None:
        (future,) = admin.delete_records([TopicPartition(topic, 0, before)]).values()
        future.result(30)

    send(0, 1, 2, 3, 4)
    delete(2)  # nobody was to read these: the group has never been here
    before = lost()
    with taking_in(kafka_settings):
        wait_until(lambda: sorted(taken()) == [2, 3, 4], 30)
    assert lost() == before
    send(5, 6, 7, 8, 9)
    delete(8)
    with capture_logs() as logs, taking_in(kafka_settings):
        wait_until(lambda: sorted(taken()) == [2, 3, 4, 8, 9], 30)
    assert lost() == before + 3
    (said,) = [line for line in logs if line["log_level"] == "error"]
    assert (said["topic"], said["offset"], said["records"]) == (topic, 5, 3)
