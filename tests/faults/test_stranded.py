"""A consumer does not find its group. Where nobody does it waits. Where others do, the sink says so and ends, to be started again; intake
and lease begin anew.

librdkafka gets to the latter by itself after some hangs of Kafka, for ever (`scripts/faults --only kafka-stopped`), which cannot be had at
will. A Kafka that cannot make the topic of groups' offsets brings it to the same states; that another client finds the group is pretended.
"""

import re
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import orjson
import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.cimpl import NewTopic
from pydantic import SecretStr

from collector.intake import Intake
from headwater import membership
from headwater.control import ControlPlane, ControlWriter
from headwater.kafka import create_base_topics, create_topics, durable_producer_config, sink_group
from headwater.local.ports import Ports
from headwater.membership import coordinator_answers
from headwater.offsets import Offsets, Place
from headwater.saved.lease import Lease
from headwater.settings import Settings, load_settings
from headwater.topics import backfill_topic, in_topic
from processors.backfill_reader import BackfillReader
from processors.group_offsets import GroupOffsets, backfill_group
from sinks.datums import Collection
from tests.broker import Broker
from tests.collecting import raw_records
from tests.local_http import HTTP
from tests.processing import PORTS
from tests.sinking import Tables, encoded, new_collection, produce, start_sink
from tests.waiting import wait_until

LIMIT = 60.0
QUICKLY = "from headwater import membership; membership.SAID_SECONDS, membership.STRANDED_SECONDS = 1.0, 5.0"
PRETENDED = QUICKLY + "; membership.coordinator_answers = lambda *_: True"
REPLICAS = "offsets.topic.replication.factor"
SAID = "the group's coordinator is not found any more, though a new client finds it; beginning with a new consumer"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A Kafka that answers for topics, and not for groups."""
    with closing(Ports()) as ports:
        broker = Broker(tmp_path, ports, {REPLICAS: 3})
        yield broker
        broker.kill()


@pytest.fixture
def settings(broker: Broker, clickhouse: str, tmp_path: Path) -> Settings:
    port = PORTS.claim(21323)
    return load_settings(
        data_dir=tmp_path,
        secret=SecretStr(secrets.token_hex(32)),
        kafka=broker.bootstrap,
        clickhouse=clickhouse,
        collection_partitions=1,
        raw_partitions=1,
        sink_flush_seconds=0.1,
        health_port=port,
    )


def mend(broker: Broker) -> None:
    broker.kill()
    broker.configure(REPLICAS, 1)
    broker.start()


def check_it_stores(process: "subprocess.Popen[bytes]", settings: Settings, collection: Collection) -> None:
    """The sink stores the collection's one event, and ends when it is told to."""
    with closing(Tables(settings)) as tables:
        wait_until(lambda: tables.count(collection) == 1, LIMIT)
    process.terminate()
    assert process.wait(20) == 0


def test_a_sink_waits_for_groups_that_nobody_finds(broker: Broker, settings: Settings, tmp_path: Path) -> None:
    """As in a cluster without enough brokers: to be started again and again would help nobody."""
    collection, log = new_collection(), tmp_path / "sink.log"
    create_base_topics(settings)
    produce(settings, collection, [encoded(collection, {"n": 1})])
    assert not coordinator_answers(settings, sink_group(settings))
    process = start_sink(settings, log, QUICKLY)
    try:
        url = f"http://127.0.0.1:{settings.health_port}/readyz"
        wait_until(lambda: re.search(r"coordinator is not found, for \d\d s", _text(url)), LIMIT)
        assert process.poll() is None
        mend(broker)
        wait_until(lambda: coordinator_answers(settings, sink_group(settings)), LIMIT)
        check_it_stores(process, settings, collection)
    finally:
        process.kill()
        process.wait()


def test_a_sink_says_so_and_ends_and_the_next_stores(broker: Broker, settings: Settings, tmp_path: Path) -> None:
    collection, log = new_collection(), tmp_path / "sink.log"
    create_base_topics(settings)
    produce(settings, collection, [encoded(collection, {"n": 1})])
    process = start_sink(settings, log, PRETENDED)
    try:
        url = f"http://127.0.0.1:{settings.health_port}/readyz"
        wait_until(lambda: "coordinator is not found, for " in _text(url), LIMIT)
        assert process.wait(LIMIT) == 1
        ends = [orjson.loads(line) for line in log.read_text().splitlines() if "to be started again" in line]
        assert [(line["level"], line["error"]) for line in ends] == [("error", SAID)]
        assert "Traceback" not in log.read_text()
        mend(broker)
        process = start_sink(settings, log)
        check_it_stores(process, settings, collection)
    finally:
        process.kill()
        process.wait()


def test_intake_and_lease_begin_anew_until_they_get_there(
    broker: Broker, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[membership.Membership] = []

    class Seen(membership.Membership):
        def __init__(self, *given: object) -> None:
            super().__init__(*given)  # type: ignore[arg-type]
            made.append(self)

    monkeypatch.setattr(membership, "STRANDED_SECONDS", 2.0)
    monkeypatch.setattr(membership, "coordinator_answers", lambda *_: True)
    monkeypatch.setattr("collector.intake.Membership", Seen)
    monkeypatch.setattr("headwater.saved.lease.Membership", Seen)
    create_base_topics(settings)
    plane, lease = ControlPlane(settings), Lease(settings, "test")
    with plane.running(), ControlWriter(settings) as writer, Intake(settings, plane).running():
        project = writer.create_project("p")
        topic = in_topic(settings.topic_prefix, project.id, "c")
        create_topics(settings, [NewTopic(topic, 1, 1)])
        producer = Producer(durable_producer_config(settings))
        producer.produce(topic, b'{"n": 1}')
        assert producer.flush(30) == 0
        lease.start()
        try:
            wait_until(lambda: len(made) >= 6, LIMIT)  # each began anew twice, at least
            assert not lease.held
            assert raw_records(settings, project.id) == []
            mend(broker)
            wait_until(lambda: lease.held, LIMIT)
            wait_until(lambda: len(raw_records(settings, project.id)) == 1, LIMIT)
        finally:
            lease.stop()


def test_history_is_read_on_while_no_commit_is_answered(broker: Broker, settings: Settings) -> None:
    """As after a rebalance: the partition is let go and read from elsewhere. librdkafka begins none while a commit of the same client
    waits for its answer."""
    create_base_topics(settings)
    producer = Producer(durable_producer_config(settings))
    for _ in range(10):
        producer.produce(backfill_topic(settings), b"x")
    assert producer.flush(30) == 0
    reader, told = BackfillReader(settings), GroupOffsets(settings, backfill_group(settings))

    def offsets() -> list[int]:
        blocks = reader.take(10, 0.1)
        return [record.offset for record in blocks[0].records] if blocks else []

    reader.read_from(0, 5, seek=1)
    assert wait_until(offsets, LIMIT) == [5, 6, 7, 8, 9]
    told.commit({Place(reader.topic, 0): 10})
    reader.leave([0])
    assert offsets() == []
    reader.read_from(0, 8, seek=2)
    assert wait_until(offsets, LIMIT) == [8, 9]


def test_offsets_are_told_again_when_groups_are_back(
    broker: Broker, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processors.group_offsets.ANSWER_SECONDS", 1.0)
    create_base_topics(settings)
    group, place = backfill_group(settings), Place(backfill_topic(settings), 0)
    told = GroupOffsets(settings, group)
    told.commit({place: 1})
    mend(broker)

    def known() -> bool:
        told.commit({place: 2})
        try:
            return Offsets(settings, 5.0).committed(group, [place]) == {place: 2}
        except KafkaException:
            return False

    wait_until(known, LIMIT)


def _text(url: str) -> str:
    try:
        return HTTP.get(url, timeout=LIMIT).text
    except httpx.TransportError:  # it is not there yet
        return ""
