"""Our own Kafka: started, killed, started again."""

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from headwater.local.child import Child
from headwater.local.kafka import KafkaNode, class_record
from headwater.local.kafka_files import fetch_kafka
from headwater.local.ports import Ports
from tests.backends import kafka_answers
from tests.waiting import wait_until

COUNT = 500


@pytest.fixture
def node(tmp_path: Path) -> Iterator[KafkaNode]:
    with closing(Ports()) as ports:
        yield KafkaNode(tmp_path / "kafka", tmp_path / "kafka.log", ports.claim(21192), ports.claim(21193))


@contextmanager
def running(node: KafkaNode, out: Path) -> Iterator[Child]:
    """The node, started and answering; killed on leaving if it is still there."""
    jars = fetch_kafka()
    node.prepare(jars)
    child = Child(node.command(), node.environment(jars), out)
    try:
        wait_until(lambda: kafka_answers(node.bootstrap), 60)
        yield child
    finally:
        child.kill()


def test_acknowledged_records_outlive_a_kill(node: KafkaNode, tmp_path: Path) -> None:
    with running(node, tmp_path / "kafka.out"):
        admin = AdminClient({"bootstrap.servers": node.bootstrap})
        admin.create_topics([NewTopic("kept", 1)])["kept"].result(30)
        producer = Producer({"bootstrap.servers": node.bootstrap, "acks": "all"})
        for number in range(COUNT):
            producer.produce("kept", str(number).encode())
        assert producer.flush(30) == 0
    with running(node, tmp_path / "kafka.out") as child:
        consumer = Consumer({"bootstrap.servers": node.bootstrap, "group.id": "reader"})
        consumer.assign([TopicPartition("kept", 0, 0)])
        values: list[bytes | None] = []
        wait_until(lambda: values.extend(m.value() for m in consumer.consume(COUNT, 1.0)) or len(values) >= COUNT, 60)
        consumer.close()
        assert values == [str(number).encode() for number in range(COUNT)]
        # What starts it quickly is in use.
        assert str(class_record()) in {mapped.path for mapped in psutil.Process(child.pid).memory_maps()}
        assert child.stop(30.0)
    assert (tmp_path / "kafka.out").read_text() == ""
    assert "KafkaRaftServer" in (tmp_path / "kafka.log").read_text()


def test_a_record_of_classes_that_is_none_stops_no_start(
    node: KafkaNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jars, made = fetch_kafka(), class_record()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    broken = class_record()
    broken.parent.mkdir(parents=True)
    broken.write_bytes(made.read_bytes()[:100_000])
    monkeypatch.setattr("headwater.local.kafka_files.fetch", lambda *_: jars)  # the jars stay where they are
    with running(node, tmp_path / "kafka.out") as child:
        assert child.stop(30.0)
    assert (tmp_path / "kafka.out").read_text() == ""


def test_a_cluster_id_that_begins_with_a_dash_is_taken(node: KafkaNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.local.kafka.uuid.uuid4", lambda: uuid.UUID(int=0xF8 << 120))
    node.prepare(fetch_kafka())
    (written,) = node.folder.rglob("meta.properties")
    assert "cluster.id=-AAAAAAAAAAAAAAAAAAAAA" in written.read_text()


@pytest.mark.parametrize("count", [1, 3])
def test_the_sessions_kafka_makes_topics_only_when_asked(kafka: str, count: int) -> None:
    admin, name = AdminClient({"bootstrap.servers": kafka}), f"made-{uuid.uuid4()}"
    assert admin.list_topics(name, timeout=10).topics[name].error is not None
    admin.create_topics([NewTopic(name, count)])[name].result(30)
    assert len(wait_until(lambda: admin.list_topics(name, timeout=10).topics[name].partitions)) == count
    admin.delete_topics([name])[name].result(30)
