"""Topics that producers write themselves: their events come into the raw topic as if over HTTP, each record once."""

import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.cimpl import NewTopic

from collector import intake
from collector.intake import Intake
from headwater import metrics
from headwater.control import ControlPlane, ControlWriter, Project
from headwater.dead_letters import Settler, Wanted
from headwater.identity import event_id, origin_id
from headwater.kafka import create_base_topics, create_topics, durable_producer_config, intake_group
from headwater.membership import Membership
from headwater.origin import Origin
from headwater.settings import Settings
from headwater.topics import in_topic, raw_topic
from tests.collecting import raw_records, running_collector
from tests.processing import read_dead_letters, read_topic
from tests.waiting import wait_until

WHEN = 1_769_904_000_000  # 2026-02-01T00:00:00Z


@dataclass
class Deployment:
    settings: Settings
    writer: ControlWriter

    def topic(self, project: Project, collection: str) -> str:
        """A topic of producers, made."""
        name = in_topic(self.settings.topic_prefix, project.id, collection)
        create_topics(self.settings, [NewTopic(name, 2, 1)])
        return name

    def send(self, topic: str, *values: bytes | None, **options: Any) -> None:
        producer = Producer(durable_producer_config(self.settings))
        for value in values:
            producer.produce(topic, value, **options)
        assert producer.flush(30) == 0

    def raw(self, project: Project, count: int) -> list[dict[str, Any]]:
        """The project's raw records, when they are so many."""

        def found() -> list[dict[str, Any]] | None:
            records = raw_records(self.settings, project.id)
            return records if len(records) >= count else None

        records = wait_until(found, 60)  # a collector that is killed keeps its partitions and its transaction for 20 s
        assert records is not None
        return records


@pytest.fixture(scope="module")
def deployment(module_settings: Settings) -> Iterator[Deployment]:
    create_base_topics(module_settings)
    plane = ControlPlane(module_settings)
    with (
        plane.running(),
        Intake(module_settings, plane).running(),
        ControlWriter(module_settings) as writer,
    ):
        yield Deployment(module_settings, writer)


@pytest.fixture
def own(kafka_settings: Settings) -> Iterator[Deployment]:
    """One of a test's own, in which nobody takes anything in yet."""
    create_base_topics(kafka_settings)
    with ControlWriter(kafka_settings) as writer:
        yield Deployment(kafka_settings, writer)


@pytest.fixture
def project(deployment: Deployment) -> Project:
    return deployment.writer.create_project("test")


def test_a_new_topic_is_picked_up_and_its_records_are_events(deployment: Deployment, project: Project) -> None:
    topic = deployment.topic(project, "sign ups")
    deployment.send(topic, b'{"n":1,"user":{"id":"ann"}}', partition=1, timestamp=WHEN)
    headers = [("id", b"order-7"), ("timestamp", b"2026-02-01T01:00:00+01:00"), ("other", b"\xff")]
    deployment.send(topic, b'{"n":2,"keen":{"id":"not this","timestamp":"2020-01-01"}}', headers=headers, partition=0)
    deployment.send(topic, b'{"n":3}', headers={"timestamp": str(WHEN + 1).encode()}, partition=1)
    own = b'{"n":4,"keen":{"uniqueness_token":"t-4","timestamp":"2026-02-01T00:00:00Z","addons":[]}}'
    deployment.send(topic, own, partition=0)
    records = {orjson.loads(one["properties"])["n"]: one for one in deployment.raw(project, 4)}
    assert {one["collection"] for one in records.values()} == {"sign ups"}
    assert [records[n]["id"] for n in (1, 2, 3, 4)] == [
        origin_id(topic, 1, 0),
        event_id(project.id, "order-7"),
        origin_id(topic, 1, 1),
        event_id(project.id, "t-4"),
    ]
    assert [records[n]["timestamp"] for n in (1, 2, 3, 4)] == [WHEN, WHEN, WHEN + 1, WHEN]
    given = [(records[n]["id_given"], records[n]["time_given"]) for n in (1, 2, 3, 4)]
    assert given == [(False, False), (True, True), (False, True), (True, True)]
    keys = [key for key, _, _ in read_topic(deployment.settings, raw_topic(deployment.settings))]
    assert f"{project.id}:ann".encode() in keys


def test_what_is_no_event_is_given_up_with_its_bytes(deployment: Deployment, project: Project) -> None:
    topic = deployment.topic(project, "c")
    unnamed = deployment.topic(project, "x").removesuffix("x") + "sign-up"
    nobody = in_topic(deployment.settings.topic_prefix, "f" * 24, "c")
    create_topics(deployment.settings, [NewTopic(n, 1, 1) for n in (unnamed, nobody)])
    large = orjson.dumps({"text": "x" * deployment.settings.event_max_bytes})
    bad: list[tuple[str, bytes | None, str]] = [
        (topic, b"{broken", "unreadable"),
        (topic, None, "unreadable"),
        (topic, b'{"n":NaN}', "unreadable"),
        (topic, b"[1]", "invalid_event"),
        (topic, b'{"a.b":1}', "invalid_event"),
        (topic, b'{"keen":1}', "invalid_event"),
        (topic, b'{"keen":{"timestamp":5}}', "invalid_event"),
        (topic, large, "too_large"),
        (unnamed, b'{"n":1}', "invalid_event"),
        (nobody, b'{"n":1}', "unknown_project"),
    ]
    for name, value, _ in bad:
        deployment.send(name, value, key=b"k")
    deployment.send(topic, b'{"n":1}', headers=[("id", b""), ("timestamp", b"9" * 15)])
    deployment.send(topic, b'{"fine":1}')
    assert [orjson.loads(one["properties"]) for one in deployment.raw(project, 1)] == [{"fine": 1}]

    def letters() -> list[dict[str, Any]]:
        return [one for one in read_dead_letters(deployment.settings) if one["topic"] in (topic, unnamed, nobody)]

    wait_until(lambda: len(letters()) == len(bad) + 1, 30)
    found = Counter((one["topic"], one["payload"], one["reason"]) for one in letters() if one["key"] == b"k")
    assert found == Counter(bad)
    assert {one["stage"] for one in letters()} == {"collector"}
    assert all(one["id"] == origin_id(one["topic"], one["partition"], one["offset"]) for one in letters())
    assert all(one["message"] and one["error_class"] for one in letters())

    # Replayed, what fails again is the same letter once more; what comes through has the id and the time of its first record.
    with Settler(deployment.settings) as settler:
        settler.settle(settler.ledger().open(Wanted(topic=topic, reason="invalid_event")), "replayed")
    again = wait_until(lambda: [one for one in letters() if one["attempt"] == 2][4:] and letters(), 30)
    ids = {one["id"] for one in again if one["attempt"] == 2}
    assert ids == {one["id"] for one in again if one["topic"] == topic and one["reason"] == "invalid_event"}
    (given,) = {tuple(h["name"] for h in one["headers"]) for one in again if one["attempt"] == 2 and one["headers"]}
    assert given == ("id", "timestamp")
    deployment.send(topic, b'{"fine":2}', headers=Origin(topic, 0, 10**6, WHEN, 2).headers())
    (event,) = [one for one in deployment.raw(project, 2) if one["properties"] == '{"fine":2}']
    assert (event["id"], event["timestamp"]) == (origin_id(topic, 0, 10**6), WHEN)


def test_a_transaction_that_was_left_open_is_waited_for(own: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a collector leaves that is killed between its records and their commit: their offsets cannot be read until Kafka gives it up."""
    monkeypatch.setattr(intake, "ANSWER_SECONDS", 0.2)
    plane = ControlPlane(own.settings)
    project = own.writer.create_project("test")
    topic = own.topic(project, "c")
    own.send(topic, b'{"n":1}', partition=0)
    killed = Producer(durable_producer_config(own.settings) | {"transactional.id": "killed"})
    killed.init_transactions(30)
    with closing(intake._consumer(own.settings, Membership(own.settings, intake_group(own.settings)))) as consumer:
        consumer.subscribe([topic])
        assert wait_until(lambda: consumer.poll(0.1), 30)
        killed.begin_transaction()
        position = [TopicPartition(topic, 0, 1)]
        killed.send_offsets_to_transaction(position, consumer.consumer_group_metadata(), 30)
    assigned = metrics.rebalances.labels("intake")._value.get
    before = assigned()
    with plane.running(), Intake(own.settings, plane).running():
        wait_until(lambda: assigned() > before, 30)
        since = time.monotonic()
        wait_until(lambda: time.monotonic() - since > 5 * intake.ANSWER_SECONDS)
        assert assigned() == before + 1, "it has not begun anew"
        killed.abort_transaction(30)
        (record,) = own.raw(project, 1)
    assert record["properties"] == '{"n":1}'


def test_what_a_killed_collector_left_open_ends_when_it_is_back(own: Deployment) -> None:
    """Raw records behind an open transaction are not read: of any producer, and of this one until Kafka gives it up."""
    plane = ControlPlane(own.settings)
    project = own.writer.create_project("test")
    topic = own.topic(project, "c")
    killed = Producer(
        durable_producer_config(own.settings)
        | {"transactional.id": intake.writer_name(own.settings), "transaction.timeout.ms": 600_000}
    )
    killed.init_transactions(30)
    killed.begin_transaction()
    for partition in range(own.settings.raw_partitions):
        killed.produce(raw_topic(own.settings), b"left open", partition=partition)
    assert killed.flush(30) == 0
    own.send(topic, b'{"n":1}')
    with plane.running(), Intake(own.settings, plane).running():
        (record,) = own.raw(project, 1)
    assert record["properties"] == '{"n":1}'


def test_two_collectors_of_one_address_take_turns_once(deployment: Deployment, project: Project) -> None:
    """As on machines that are all called localhost: the second ends the first one's transactions, which goes on under another name."""
    settings = deployment.settings
    topic = deployment.topic(project, "c")
    failures = metrics.intake_failures._value.get
    assigned = metrics.rebalances.labels("intake")._value.get
    plane = ControlPlane(settings)
    with plane.running():
        for count in (20, 40):
            before = failures(), assigned()
            with Intake(settings, plane).running():
                wait_until(lambda before=before[1]: assigned() >= before + 2, 60)  # type: ignore[misc]  # both
                deployment.send(topic, *(b'{"n":%d}' % n for n in range(count - 20, count)))
                records = deployment.raw(project, count)
            assert failures() <= before[0] + 2, "each is fenced once at most"
    assert Counter(orjson.loads(one["properties"])["n"] for one in records) == Counter(range(40))


def test_collectors_that_are_killed_and_told_to_stop_pass_every_record_on_once(
    deployment: Deployment, tmp_path: Path
) -> None:
    settings = deployment.settings.model_copy(update={"topic_prefix": f"{deployment.settings.topic_prefix}-killed"})
    total = 20_000
    with running_collector(settings, tmp_path) as collector:
        own = Deployment(settings, collector.writer)
        topic = own.topic(collector.project, "c")
        producer = Producer(durable_producer_config(settings) | {"queue.buffering.max.messages": total})
        for number in range(total):
            producer.produce(topic, b'{"n":%d}' % number, str(number))
        assert producer.flush(60) == 0
        for share in (4, 2):
            own.raw(collector.project, total // share)
            assert collector.child is not None
            if share == 4:
                collector.kill()
            else:
                assert collector.child.stop(20), "it ends by itself"
                assert collector.child.exit_code() == 0
            collector.start()
        records = own.raw(collector.project, total)
        assert Counter(orjson.loads(one["properties"])["n"] for one in records) == Counter(range(total))
        assert len({uuid.UUID(one["id"]) for one in records}) == total
