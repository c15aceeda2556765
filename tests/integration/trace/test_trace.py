"""`headwater trace` finds an event in each place that it can be in, in real topics and tables."""

import secrets
import time
import zlib
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from typer.testing import CliRunner

from headwater.aggregates import table_key
from headwater.cli import app
from headwater.codec import codec
from headwater.control import Project
from headwater.dead_letters import GivenUp, Settler, Wanted, dead_letter
from headwater.identity import event_id, id_digest, id_salt, new_event_id, record_key
from headwater.kafka import client_config, create_topics, durable_producer_config, sink_group
from headwater.origin import Origin
from headwater.settings import PREFIX, Settings
from headwater.topics import backfill_topic, dead_letters_topic, in_topic, raw_topic, state_topic
from sinks.datums import Collection
from tests.processing import new_project, raw_record, read_topic
from tests.sinking import deletion_writer, encoded, new_store, produce, read, running_sink, topic_of
from tests.waiting import wait_until

NOW = time.time_ns() // 1_000_000


@dataclass
class Traced:
    """A deployment without services, whose topics the tests fill as services would; each test takes a collection of its own."""

    settings: Settings
    project: Project
    producer: Producer
    partitions: dict[str, int] = field(default_factory=dict)

    def collection(self) -> Collection:
        return Collection(self.project.id, f"c_{secrets.token_hex(4)}")

    def raw(self, collection: Collection, identity: str, topic: str | None = None, **fields: Any) -> tuple[int, int]:
        """Write a raw record as the collector does; where it stands."""
        times = {"timestamp": NOW, "received_at": NOW, "id": identity, "id_given": True}
        value = raw_record(collection.project_id, collection.name, **(times | fields))
        return self.write(topic or raw_topic(self.settings), value, record_key(collection.project_id, {}, identity))

    def write(self, topic: str, value: bytes, key: bytes | str | None = None, **options: Any) -> tuple[int, int]:
        at: list[tuple[int, int]] = []
        self.producer.produce(
            topic, value, key, on_delivery=lambda error, one: at.append((one.partition(), one.offset())), **options
        )
        assert self.producer.flush(30) == 0
        return at[0]

    def processed(self, partition: int, offset: int, kind: str = "watermark") -> None:
        """Say what a processor says when it has settled so far."""
        key = table_key(partition, "watermark" if kind == "watermark" else "backfill")
        self.write(state_topic(self.settings), codec("watermark").encode({"offset": offset}), key, partition=partition)

    def put_out(self, collection: Collection, identity: str, **changes: Any) -> None:
        """Put the event out as a processor does."""
        value = encoded(collection, {"a": 1}, id=identity, timestamp=NOW, received_at=NOW, **changes)
        produce(self.settings, collection, [])
        self.write(topic_of(self.settings, collection), value, identity)

    def commit(self, collection: Collection, identity: str) -> None:
        """Commit all of the collection's topic as a sink does."""
        topic = topic_of(self.settings, collection)
        places = [TopicPartition(topic, n, 1) for n in range(self.settings.collection_partitions)]
        request = [ConsumerGroupTopicPartitions(sink_group(self.settings), places)]
        admin = AdminClient(client_config(self.settings))

        def altered() -> bool:  # not while a broker that has just started looks the group up
            (future,) = admin.alter_consumer_group_offsets(request).values()
            return all(place.error is None for place in future.result().topic_partitions)

        wait_until(altered)

    def store(self, collection: Collection, copies: int = 1) -> None:
        with new_store(self.settings) as store:
            for _ in range(copies):
                store.store(topic_of(self.settings, collection), read(self.settings, collection, 1))

    def letter(self, record: GivenUp, stage: str, collection: Collection) -> None:
        letter = dead_letter(
            record, stage, "invalid_event", "RuleError", "it is odd", NOW, collection.project_id, collection.name
        )
        self.write(dead_letters_topic(self.settings), codec("dead_letter").encode(letter), letter["id"])

    def trace(self, identity: str, *options: str, code: int = 0) -> dict[str, Any]:
        arguments = ["trace", identity, "--project", self.project.id, "--json", *options]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == code, result.output
        document: dict[str, Any] = orjson.loads(result.stdout)
        return document

    def said(self, identity: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, ["trace", identity, "--project", self.project.id])
        assert result.exit_code == code, result.output
        return result.stdout


@pytest.fixture(scope="module")
def deployment(module_settings: Settings) -> Traced:
    project = new_project(module_settings)
    return Traced(
        module_settings, project_of(module_settings, project), Producer(durable_producer_config(module_settings))
    )


def project_of(settings: Settings, project_id: str) -> Project:
    with deletion_writer(settings) as writer:
        project = writer.plane.project(project_id)
    assert project is not None
    return project


@pytest.fixture
def traced(deployment: Traced, monkeypatch: pytest.MonkeyPatch) -> Traced:
    for name in ("kafka", "clickhouse", "topic_prefix", "data_dir"):
        monkeypatch.setenv(PREFIX + name.upper(), str(getattr(deployment.settings, name)))
    monkeypatch.setenv(f"{PREFIX}SECRET", deployment.settings.required_secret())
    return deployment


def test_an_event_is_followed_from_hop_to_hop_to_the_answers(traced: Traced) -> None:
    collection, token = traced.collection(), "order 1"
    identity = event_id(traced.project.id, token)
    assert traced.trace(identity, code=3)["verdict"] == "nowhere"

    partition, offset = traced.raw(collection, identity)
    before = traced.trace(token)
    assert before["verdict"] == "waiting"
    (raw,) = before["raw"]
    assert (raw["topic"], raw["partition"], raw["offset"]) == (raw_topic(traced.settings), partition, offset)
    assert (raw["processed"], raw["collection"], raw["received_at"]) == (False, collection.name, NOW)
    assert "not yet" in traced.said(token)

    traced.put_out(collection, identity)
    traced.processed(partition, offset)
    put = traced.trace(identity)
    assert (put["verdict"], put["raw"][0]["processed"], put["topic"][0]["stored"]) == ("waiting", True, False)
    assert put["topic"][0]["topic"] == topic_of(traced.settings, collection)
    assert "not yet by the sink" in traced.said(token)

    traced.store(collection, copies=2)
    traced.commit(collection, identity)
    end = traced.trace(identity)
    assert (end["verdict"], end["topic"][0]["stored"]) == ("visible", True)
    assert [(row["collection"], row["copies"], row["visible"]) for row in end["rows"]] == [(collection.name, 2, True)]
    assert "2 copies" in traced.said(token)
    assert traced.trace(identity, "--collection", collection.name)["verdict"] == "visible"
    assert traced.trace(identity, "--collection", "another", code=3)["verdict"] == "nowhere"


def test_an_event_whose_user_is_its_key_is_found_in_whatever_partition(traced: Traced) -> None:
    collection, identity = traced.collection(), new_event_id()
    key = record_key(traced.project.id, {}, identity)
    elsewhere = (zlib.crc32(key) + 1) % traced.settings.raw_partitions
    value = raw_record(traced.project.id, collection.name, id=identity)
    at = traced.write(raw_topic(traced.settings), value, partition=elsewhere)
    assert [(raw["partition"], raw["offset"]) for raw in traced.trace(identity)["raw"]] == [at]


def test_history_waits_by_its_own_watermark(traced: Traced) -> None:
    collection, identity = traced.collection(), new_event_id()
    partition, offset = traced.raw(collection, identity, backfill_topic(traced.settings))
    # The raw topic is processed so far, and has records so far: else another test's first would count as processed.
    while traced.write(raw_topic(traced.settings), b"", partition=partition)[1] < offset:
        pass
    traced.processed(partition, offset)
    found = traced.trace(identity)
    assert (found["verdict"], found["raw"][0]["topic"]) == ("waiting", backfill_topic(traced.settings))
    traced.processed(partition, offset, "backfill")
    assert traced.trace(identity, code=3)["verdict"] == "missing"


def test_what_processors_and_sinks_gave_up_is_dead_with_its_reason(traced: Traced) -> None:
    traced.write(dead_letters_topic(traced.settings), b"no letter", "k", partition=0)  # and hides none behind it
    collection, identity = traced.collection(), new_event_id()
    partition, offset = traced.raw(collection, identity)
    traced.processed(partition, offset)
    raw = next(one for one in read_topic(traced.settings, raw_topic(traced.settings)) if identity.encode() in one[1])
    traced.letter(
        GivenUp(Origin(raw_topic(traced.settings), partition, offset, NOW), raw[0], raw[1], []), "processor", collection
    )
    found = traced.trace(identity)
    assert (found["verdict"], found["dead_letters"][0]["reason"]) == ("dead", "invalid_event")
    assert "it is odd" in traced.said(identity)
    assert found["dead_letters"][0]["outcome"] is None
    letter_id = found["dead_letters"][0]["id"]
    with Settler(traced.settings) as settler:
        settler.settle(settler.ledger().open(Wanted(ids=frozenset({letter_id}))), "replayed")
    found = traced.trace(letter_id)
    assert found["dead_letters"][0]["outcome"]["outcome"] == "replayed", "it is found by the letter's own id, too"
    found = traced.trace(identity)
    copy = {"topic": raw_topic(traced.settings), "partition": partition, "offset": offset}
    assert (found["verdict"], [raw["copy_of"] for raw in found["raw"]]) == ("waiting", [None, copy])
    assert "written again; it stood first in" in traced.said(identity)

    collection, identity = traced.collection(), new_event_id()
    traced.put_out(collection, identity)
    traced.commit(collection, identity)
    (record,) = read(traced.settings, collection, 1)
    traced.letter(GivenUp.of(record), "sink", collection)
    found = traced.trace(identity)
    assert (found["verdict"], found["dead_letters"][0]["stage"]) == ("dead", "sink")


def test_a_repetition_says_which_one_it_repeats(traced: Traced) -> None:
    collection, identity = traced.collection(), new_event_id()
    _, first = traced.raw(collection, identity)
    traced.put_out(collection, identity)
    partition, again = traced.raw(collection, identity, received_at=NOW + 60_000, timestamp=NOW + 60_000)
    traced.processed(partition, again)
    found = traced.trace(identity)
    assert found["verdict"] == "waiting", "the first one is on its way"
    assert {raw["offset"]: raw["repeats"] and raw["repeats"]["offset"] for raw in found["raw"]} == {
        first: None,
        again: first,
    }
    assert f"as a repetition of the one at offset {first}" in traced.said(identity)


def test_a_repetition_of_what_topics_keep_no_more_is_told_by_the_window_of_ids(traced: Traced) -> None:
    collection, identity = traced.collection(), new_event_id()
    partition, offset = traced.raw(collection, identity)
    traced.processed(partition, offset)
    assert traced.trace(identity, code=3)["verdict"] == "missing"
    ids = b"x" * 16 + id_digest(id_salt(traced.project.id, collection.name), identity.encode())
    key = table_key(partition, "ids") + f"/{NOW - 1000:015d}".encode()
    traced.write(state_topic(traced.settings), codec("seen_ids").encode({"ids": ids}), key, partition=partition)
    found = traced.trace(identity)
    assert (found["verdict"], found["seen_at"], found["raw"][0]["dropped"]) == ("dropped", NOW - 1000, True)
    assert "ids.window is untimed" in traced.said(identity)


def test_a_deletion_is_named_and_only_one_that_is_about_the_event(traced: Traced) -> None:
    collection, identity = traced.collection(), new_event_id()
    traced.put_out(collection, identity)
    traced.commit(collection, identity)
    traced.store(collection)

    def equals(value: int) -> list[dict[str, Any]]:
        return [{"property_name": "a", "operator": "eq", "property_value": value}]

    with running_sink(traced.settings), deletion_writer(traced.settings) as writer:
        writer.delete(collection.project_id, collection.name, filters=equals(2))
        assert traced.trace(identity)["deletions"] == []
        deletion = writer.delete(collection.project_id, collection.name, filters=equals(1))
        wait_until(lambda: (one := writer.plane.deletions.get(deletion.id)) and one.done_at)
    found = traced.trace(identity)
    assert (found["verdict"], [one["id"] for one in found["deletions"]]) == ("deleted", [deletion.id])
    assert found["deletions"][0]["done_at"] is not None


def test_what_no_collector_has_taken_in_yet_waits_where_its_producer_put_it(traced: Traced) -> None:
    topic = in_topic(traced.settings.topic_prefix, traced.project.id, "parcels")
    create_topics(traced.settings, [NewTopic(topic, 1, 1)])
    traced.write(topic, b"{}")
    traced.write(topic, b'{"keen": {"uniqueness_token": "parcel 7"}}')
    found = traced.trace("parcel 7")
    assert (found["verdict"], found["waiting"][0]["offset"], found["waiting"][0]["before"]) == ("waiting", 1, 1)


def test_times_bound_what_is_read(traced: Traced) -> None:
    collection, identity = traced.collection(), new_event_id()
    value = raw_record(traced.project.id, collection.name, id=identity)
    traced.write(raw_topic(traced.settings), value, timestamp=NOW - 3 * 3_600_000)
    assert traced.trace(identity, "--since", "2h", code=3)["verdict"] == "nowhere"
    assert traced.trace(identity, "--since", "4h")["verdict"] == "waiting"


def test_without_clickhouse_what_kafka_knows_is_said(traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    collection, identity = traced.collection(), new_event_id()
    monkeypatch.setenv(f"{PREFIX}CLICKHOUSE", "http://default@127.0.0.1:1")
    assert traced.trace(identity, code=1)["verdict"] == "unknown"
    traced.raw(collection, identity)
    found = traced.trace(identity)
    assert found["verdict"] == "waiting"
    assert "table" in found["not_answered"]


def test_without_kafka_it_ends_with_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv(f"{PREFIX}KAFKA", "127.0.0.1:1")
    monkeypatch.setenv(f"{PREFIX}DATA_DIR", str(tmp_path))
    result = CliRunner().invoke(app, ["trace", "x", "--project", "a" * 24])
    assert result.exit_code == 1
    assert "127.0.0.1:1" in result.stderr
    assert "Traceback" not in result.output
