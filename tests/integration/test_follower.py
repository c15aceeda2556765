"""Following a topic into memory, over a real Kafka."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from headwater import follower
from headwater.follower import Follower
from headwater.kafka import create_base_topics, durable_producer_config
from headwater.settings import Settings
from headwater.topics import state_topic


class Followed:
    """A follower of the state topic and what it has taken: the newest value of each key."""

    def __init__(self, settings: Settings) -> None:
        self.values: dict[bytes, bytes | None] = {}
        self.follower = Follower(settings, state_topic(settings), self._take)

    def _take(self, message: Message) -> None:
        key, value = message.key(), message.value()
        if value == b"nonsense":
            raise ValueError("nonsense")
        self.values[key or b""] = value


@contextmanager
def followed(settings: Settings) -> Iterator[Followed]:
    made = Followed(settings)
    made.follower.start()
    try:
        yield made
    finally:
        made.follower.stop()


def test_what_was_written_before_is_taken_when_it_is_asked_for(kafka_settings: Settings) -> None:
    create_base_topics(kafka_settings)
    topic = state_topic(kafka_settings)
    producer = Producer(durable_producer_config(kafka_settings))
    with followed(kafka_settings) as reader:
        for number in range(50):
            for partition in range(kafka_settings.raw_partitions):
                producer.produce(topic, b"%d" % number, b"%d" % partition, partition=partition)
            assert producer.flush(10) == 0
            assert reader.follower.catch_up(10)
            assert reader.values == {b"%d" % p: b"%d" % number for p in range(kafka_settings.raw_partitions)}
    assert reader.follower.caught_up


def test_a_client_that_is_refused_for_ever_is_replaced(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is when a broker hangs for longer than its session: librdkafka goes on to name the old leader's epoch."""
    create_base_topics(kafka_settings)
    refused: list[AdminClient] = []
    ask = AdminClient.list_offsets

    def asked(client: AdminClient, *arguments: Any, **options: Any) -> Any:
        refused[:] = refused or [client]
        if client is refused[0]:
            raise KafkaException(KafkaError(KafkaError.FENCED_LEADER_EPOCH))
        return ask(client, *arguments, **options)

    with followed(kafka_settings) as reader:
        assert reader.follower.wait(10)
        monkeypatch.setattr(AdminClient, "list_offsets", asked)
        assert reader.follower.catch_up(10)
        assert refused


def test_a_client_that_gets_nothing_any_more_is_replaced(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when librdkafka has lost all brokers: what Kafka has does not come, and no error does."""
    create_base_topics(kafka_settings)
    topic = state_topic(kafka_settings)
    clients: list[Consumer] = []

    class Recorded(Consumer):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            clients.append(self)

    monkeypatch.setattr(follower, "Consumer", Recorded)
    monkeypatch.setattr(follower, "IDLE_SECONDS", 1.0)
    monkeypatch.setattr(follower, "SURE_SECONDS", 0.5)
    producer = Producer(durable_producer_config(kafka_settings))
    with followed(kafka_settings) as reader:
        producer.produce(topic, b"1", b"before", partition=1)
        assert producer.flush(10) == 0
        assert reader.follower.catch_up(10)
        partitions = range(kafka_settings.raw_partitions)
        clients[0].pause([TopicPartition(topic, number) for number in partitions])
        producer.produce(topic, b"2", b"after", partition=1)
        assert producer.flush(10) == 0
        assert reader.follower.catch_up(20)
        assert reader.values == {b"before": b"1", b"after": b"2"}
        assert len(clients) == 2
        producer.produce(topic, b"3", b"after", partition=1)
        assert producer.flush(10) == 0
        assert reader.follower.catch_up(10)
        assert reader.values == {b"before": b"1", b"after": b"3"}


def test_only_what_was_committed_is_taken(kafka_settings: Settings) -> None:
    create_base_topics(kafka_settings)
    topic = state_topic(kafka_settings)
    config = durable_producer_config(kafka_settings) | {"transactional.id": f"{topic}.test"}
    producer = Producer(config)
    producer.init_transactions(30)
    with followed(kafka_settings) as reader:
        for number in range(10):
            producer.begin_transaction()
            producer.produce(topic, b"%d" % number, b"key", partition=1)
            if number % 2:
                producer.flush(10)
                producer.abort_transaction(10)
            else:
                producer.commit_transaction(10)
            assert reader.follower.catch_up(10)
            assert reader.values == {b"key": b"%d" % (number // 2 * 2)}


def test_a_record_that_is_not_understood_holds_up_none(kafka_settings: Settings) -> None:
    create_base_topics(kafka_settings)
    producer = Producer(durable_producer_config(kafka_settings))
    for value in (b"1", b"nonsense", b"2"):
        producer.produce(state_topic(kafka_settings), value, b"key", partition=0)
    assert producer.flush(10) == 0
    with followed(kafka_settings) as reader:
        assert reader.follower.catch_up(30)
        assert reader.values == {b"key": b"2"}


def test_without_kafka_it_waits_and_says_so(kafka_settings: Settings) -> None:
    with followed(kafka_settings.model_copy(update={"kafka": "127.0.0.1:1"})) as reader:
        assert not reader.follower.catch_up(0.2)
        assert not reader.follower.caught_up
