"""Bringing a processor's local state up to what Kafka has of it."""

from pathlib import Path

import faust
import pytest
from confluent_kafka import KafkaException, Producer

from headwater.kafka import create_base_topics, durable_producer_config
from headwater.settings import Settings
from headwater.topics import state_topic
from processors import recovery
from processors.recovery import recover
from processors.table import StateTable

ENDS = {0: 999, 2: 0}
KEY = b"0/users/%d"


@pytest.fixture
def table(kafka_settings: Settings, tmp_path: Path) -> StateTable:
    """An empty one; Kafka has a thousand records of its partition 0, a deletion among them, and one of partition 2."""
    create_base_topics(kafka_settings)
    producer = Producer(durable_producer_config(kafka_settings))
    for number in range(999):
        producer.produce(state_topic(kafka_settings), b"%d" % number, KEY % (number % 100), partition=0)
    producer.produce(state_topic(kafka_settings), None, KEY % 7, partition=0)
    producer.produce(state_topic(kafka_settings), b"x", b"2/watermark", partition=2)
    assert producer.flush(10) == 0
    app = faust.App("test", broker="kafka://none", datadir=str(tmp_path), store="rocksdb://")
    return StateTable.declared(app, kafka_settings)


def test_the_newest_value_of_each_key_is_there(kafka_settings: Settings, table: StateTable) -> None:
    assert recover(kafka_settings, table, ENDS, lambda: True)
    assert {partition: table.offset(partition) for partition in ENDS} == ENDS
    newest = {KEY % number: b"%d" % (number + (900 if number < 99 else 800)) for number in range(100) if number != 7}
    assert dict(table.under(0, b"0/users/")) == newest
    assert table.read(2, b"2/watermark") == b"x"


def test_who_lost_the_partitions_gives_up(kafka_settings: Settings, table: StateTable) -> None:
    assert not recover(kafka_settings, table, ENDS, lambda: False)
    assert table.offset(0) == -1


def test_a_client_that_gets_nothing_is_given_up_and_another_goes_on(
    kafka_settings: Settings, table: StateTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when librdkafka has lost all brokers: what Kafka has does not come, and no error does."""
    monkeypatch.setattr(recovery, "IDLE_SECONDS", 1.0)
    with monkeypatch.context() as deaf:
        deaf.setattr(recovery, "what_comes", lambda *_: [])
        with pytest.raises(KafkaException, match="nothing comes"):
            recover(kafka_settings, table, ENDS, lambda: True)
    assert recover(kafka_settings, table, ENDS, lambda: True)
    assert {partition: table.offset(partition) for partition in ENDS} == ENDS
