"""A client that does not find Kafka any more is replaced by one that does, wherever one is kept for the life of a service.

librdkafka loses its brokers for good after some hangs of Kafka (`headwater.membership`), which cannot be had at will. A client that was
given the address of nobody is in the same state.
"""

import asyncio
import gc
import secrets
import weakref
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from collector import publish
from collector.errors import ApiError
from collector.publish import Publisher
from collector.rates import Rates
from headwater.control import ControlPlane
from headwater.kafka import create_base_topics
from headwater.settings import Settings
from headwater.topics import dead_letters_topic, raw_topic
from processors import routing
from processors.output import Output
from processors.routing import Routes
from sinks import dead_letters
from sinks.datums import Fault
from sinks.dead_letters import DeadLetters, UndeliveredError
from tests.processing import new_project, read_topic

NOBODY = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0, "message.timeout.ms": 500}


@pytest.fixture
def topics(kafka_settings: Settings) -> Settings:
    create_base_topics(kafka_settings)
    return kafka_settings


@pytest.fixture
def plane(topics: Settings) -> Iterator[ControlPlane]:
    plane = ControlPlane(topics)
    with plane.running():
        yield plane


def test_a_processor_puts_out_again(topics: Settings) -> None:
    """What was queued when a flush failed is not put out, of whichever of the two stretches: it is processed again."""
    topic = dead_letters_topic(topics)
    with closing(Output(topics)) as output:
        for stretch in (output._current, output._other):
            stretch._producer = Producer(NOBODY | {"delivery.report.only.error": True, "message.timeout.ms": 300_000})
        lost = [weakref.ref(stretch) for stretch in (output._current, output._other)]
        del stretch
        output.produce(topic, [b"0"], [b"{}"])
        flush = output.cut()
        output.produce(topic, [b"1"], [b"{}"])
        assert not flush(0.5)
        del flush
        output.undo()
        assert output.backlog == 0
        gc.collect()
        assert [each() for each in lost] == [None, None], "each would keep a client of Kafka and its threads"
        for key in (b"2", b"3"):
            output.produce(topic, [key], [b"{}"])
            assert output.cut()(10.0)
    assert sorted(key for key, _, _ in read_topic(topics, topic)) == [b"2", b"3"]


def test_what_is_undone_for_a_record_that_is_too_large_spoils_nothing_after_it(topics: Settings) -> None:
    with closing(Output(topics)) as output:
        too_large = secrets.token_bytes(topics.topic_max_message_bytes + 1)
        output.produce(raw_topic(topics), [b"k"], [too_large])
        flush = output.cut()
        output.produce(raw_topic(topics), [b"k"] * 5_000, [b"v"] * 5_000)  # some of it is on its way when it is undone
        assert not flush(10.0)
        output.produce(raw_topic(topics), [b"k"] * 5_000, [b"v"] * 5_000)
        output.undo()
        assert output.too_large == {(raw_topic(topics), b"k")}
        for _ in range(2):  # each of the two producers still puts out
            output.produce(raw_topic(topics), [b"k"], [b"v"])
            assert output.cut()(10.0)


def test_a_sink_gives_records_up_again(topics: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "DELIVERY_SECONDS", 2)
    letters = DeadLetters(topics)
    letters._producer = Producer(NOBODY)
    record = Message(topic="t", partition=0, offset=7, value=b"x")
    given_up = [(record, Fault("undecodable", "ValueError", "no"))]
    with pytest.raises(UndeliveredError, match="did not take 1"):
        letters.write(given_up, None)
    letters.write(given_up, None)
    assert len(read_topic(topics, dead_letters_topic(topics))) == 1


def test_a_processor_finds_topics_again(topics: Settings, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "KAFKA_SECONDS", 1.0)
    key = new_project(topics), "visits"
    routes = Routes(topics, plane, b"")
    routes._admin = AdminClient(NOBODY)
    with pytest.raises(KafkaException):
        routes.resolve([key])
    monkeypatch.undo()
    routes.resolve([key])
    assert routes.known(key) is not None


async def test_a_collector_takes_events_again(
    topics: Settings, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "IDLE_POLL_SECONDS", 0.05)
    monkeypatch.setattr(publish, "METADATA_SECONDS", 0.5)
    project_id = new_project(topics)
    publisher = Publisher(topics, Rates(plane))
    publisher._producer = lost = Producer(NOBODY | {"message.timeout.ms": 300_000})
    waiting = asyncio.create_task(publisher.publish(project_id, [(b"k", b"v")]))
    polling = asyncio.create_task(publisher.poll_when_idle())
    try:
        assert await asyncio.to_thread(publisher.problems) != []
        with pytest.raises(ApiError, match="503"):  # what waited for it is told so
            await asyncio.wait_for(waiting, 30)
        assert publisher._producer is not lost
        await publisher.publish(project_id, [(b"k", b"v")])
        assert await asyncio.to_thread(publisher.problems) == []
    finally:
        polling.cancel()
        publisher.close()


class Fatal:
    """A producer that has a fatal error, which librdkafka tells in the next poll."""

    def __init__(self) -> None:
        self._producer = Producer(NOBODY | {"message.timeout.ms": 300_000})
        self._told = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def poll(self, timeout: float) -> int:
        if not self._told:
            self._told = True
            raise KafkaException(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "out of order", fatal=True))
        return int(self._producer.poll(timeout))


async def test_a_collector_survives_a_fatal_error_of_its_producer(topics: Settings, plane: ControlPlane) -> None:
    project_id = new_project(topics)
    publisher = Publisher(topics, Rates(plane))
    publisher._producer = Fatal()  # type: ignore[assignment]
    with pytest.raises(ApiError, match="503"):
        await asyncio.wait_for(publisher.publish(project_id, [(b"k", b"v")] * 30), 10)
    await asyncio.wait_for(publisher.publish(project_id, [(b"k", b"v")]), 10)
    assert publisher.close() == 0
