"""Topics that are made take records: all of them, from the first."""

import secrets

import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from headwater.kafka import client_config, create_topics, new_topic, wait_until_writable
from headwater.settings import Settings
from headwater.topics import EVENTS


def test_every_partition_has_its_log_when_a_topic_is_made(kafka_settings: Settings) -> None:
    """Otherwise an idempotent producer may lose its first records and report them as stored."""
    admin = AdminClient(client_config(kafka_settings))
    partitions = kafka_settings.collection_partitions
    for _ in range(10):
        name = f"{kafka_settings.topic_prefix}.{secrets.token_hex(4)}"
        assert create_topics(kafka_settings, [new_topic(kafka_settings, name, EVENTS)]) == {name}
        asked = {TopicPartition(name, number): OffsetSpec.earliest() for number in range(partitions)}
        # Asked at once, and once: Kafka's own answer to a creation comes before the logs are there.
        assert [future.result(10).offset for future in admin.list_offsets(asked).values()] == [0] * partitions
        assert create_topics(kafka_settings, [new_topic(kafka_settings, name, EVENTS)]) == set()


def test_waiting_for_a_topic_that_is_not_there_ends(kafka_settings: Settings) -> None:
    with pytest.raises(KafkaException):
        wait_until_writable(kafka_settings, [f"{kafka_settings.topic_prefix}.nothing"], timeout=0.5)
    wait_until_writable(kafka_settings, [])
