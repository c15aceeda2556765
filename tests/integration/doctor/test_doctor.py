"""`headwater doctor` finds what is broken in a real Kafka and a real engine, whatever else is."""

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType
from confluent_kafka.admin._config import ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic
from pydantic import SecretStr
from typer.testing import CliRunner

from headwater.aggregates import table_key
from headwater.cli import app
from headwater.cli.doctor import target_of
from headwater.codec import codec
from headwater.dead_letters import GivenUp, dead_letter
from headwater.doctor import Check, Deployment, Target, examine
from headwater.doctor.event import COLLECTION
from headwater.doctor.groups import look_at_groups
from headwater.kafka import client_config, create_base_topics, create_topics, durable_producer_config, sink_group
from headwater.origin import Origin
from headwater.settings import PREFIX, Settings
from headwater.topics import dead_letters_topic, in_topic, raw_topic, state_topic
from sinks.datums import Collection
from tests.collecting import running_collector
from tests.processing import RawTopic, raw_record, storing
from tests.sinking import committed as stored
from tests.sinking import encoded, new_collection, produce, topic_of
from tests.waiting import wait_until

NOWHERE = "http://127.0.0.1:1"


def look(settings: Settings, **changes: Any) -> dict[str, Check]:
    """The checks by name, without a test event where none is asked for."""
    return {check.name: check for check in examine(Deployment(settings, **({"event_seconds": None} | changes)))}


def write(settings: Settings, topic: str, value: bytes, key: bytes = b"", partition: int = 0) -> None:
    producer = Producer(durable_producer_config(settings))
    producer.produce(topic, value, key, partition=partition)
    assert producer.flush(30) == 0


def committed(settings: Settings, collection: Collection, offset: int) -> None:
    places = [TopicPartition(topic_of(settings, collection), n, offset) for n in range(settings.collection_partitions)]
    request = [ConsumerGroupTopicPartitions(sink_group(settings), places)]
    admin = AdminClient(client_config(settings))

    def altered() -> bool:  # not while a broker that has just started looks the group up
        (future,) = admin.alter_consumer_group_offsets(request).values()
        return all(place.error is None for place in future.result().topic_partitions)

    wait_until(altered)


def delete_records(settings: Settings, topic: str, partitions: int) -> None:
    """What retention does, at once: all that is there now."""
    admin = AdminClient(client_config(settings))
    found = admin.delete_records([TopicPartition(topic, n, -1) for n in range(partitions)])
    for future in found.values():
        future.result()


def test_before_the_first_start_topics_are_missing(settings: Settings) -> None:
    checks = look(settings)
    assert checks["Kafka"].outcome == checks["ClickHouse"].outcome == checks["clock of ClickHouse"].outcome == "ok"
    assert checks[f"topic {raw_topic(settings)}"].said == "does not exist"
    assert checks["disk of ClickHouse (default)"].said


def test_what_is_wrong_with_topics_records_and_groups_is_found_in_one_look(settings: Settings) -> None:
    """Retention cut, one partition too few wanted, unreadable records, lag with nobody, what retention took, and dead letters."""
    create_base_topics(settings)
    admin = AdminClient(client_config(settings))
    entry = ConfigEntry("retention.ms", "60000", incremental_operation=AlterConfigOpType.SET)
    change = ConfigResource(ResourceType.TOPIC, raw_topic(settings), incremental_configs=[entry])
    for future in admin.incremental_alter_configs([change]).values():
        future.result()

    raw = RawTopic(settings)
    for _ in range(3):
        raw.send(raw_record("a" * 24, "c"), partition=1)
        raw.send(raw_record("a" * 24, "c"), partition=2)
    raw.flush()
    delete_records(settings, raw_topic(settings), 2)  # of partition 1 nothing is left, and nothing was processed
    watermark = codec("watermark").encode({"offset": 0})
    write(settings, state_topic(settings), watermark, table_key(2, "watermark"), 2)

    collection = new_collection()
    produce(settings, collection, [encoded(collection, {}) for _ in range(20)])
    committed(settings, collection, 1)
    delete_records(settings, topic_of(settings, collection), 2)
    unknown = b"\xc3\x01" + b"\x00" * 8 + b"x"
    write(settings, topic_of(settings, collection), unknown)

    letter = dead_letter(
        GivenUp(Origin("t", 0, 1, None), None, b"x", []), "sink", "too_large", "E", "m", time.time_ns() // 1_000_000
    )
    for _ in range(2):
        write(settings, dead_letters_topic(settings), codec("dead_letter").encode(letter))

    producers = in_topic(settings.topic_prefix, "a" * 24, "parcels")
    create_topics(settings, [NewTopic(producers, 1, 1)])
    write(settings, producers, b"{}")

    other = settings.model_copy(update={"raw_partitions": 5, "data_dir": settings.data_dir / "none"})
    checks = look(other, services={"sink": NOWHERE})
    failed = {name: check.said for name, check in checks.items() if check.outcome == "failed"}
    prefix = settings.topic_prefix
    for topic in (raw_topic(settings), state_topic(settings)):
        assert f"topic {topic}" in failed
    assert "unknown schema fingerprint" in failed[f"schema {topic_of(settings, collection)}"]
    assert "has no member" in failed[f"group {prefix}.processors"]
    assert "has no member" in failed[f"group {prefix}.sink"]
    assert "has no member" in failed[f"group {prefix}.intake"]
    assert failed["lag of collectors"].startswith("1 record, ")
    assert failed["lag of processors"].startswith("2 records")
    assert f"({raw_topic(settings)}, partition 2)" in failed["lag of processors"]
    assert failed["lag of sinks"].startswith("1 record, ")
    assert "UP TO 3 RECORDS ARE LOST" in failed["retention before processors"]
    assert "UP TO 18 RECORDS ARE LOST" in failed["retention before sinks"]
    assert "does not answer" in failed["service sink"]
    assert checks["dead letters"].said.startswith("1: 1 too_large (sink)")
    assert all(check.remedy for check in checks.values() if check.outcome in ("failed", "warning"))
    assert "retention.ms" in look(settings)[f"topic {raw_topic(settings)}"].said


def test_a_group_that_works_and_one_that_has_stopped(settings: Settings) -> None:
    collection = new_collection()
    produce(settings, collection, [encoded(collection, {"n": n}) for n in range(5)])
    name = f"group {settings.topic_prefix}.sink"
    with storing(settings):
        wait_until(lambda: stored(settings, collection) == 5, 60)
        wait_until(lambda: len(look_at_groups(settings)[sink_group(settings)].owned) == 2, 60)
        checks = look(settings)
        assert (
            checks[name].outcome == checks["lag of sinks"].outcome == checks["retention before sinks"].outcome == "ok"
        )
    wait_until(lambda: not look_at_groups(settings)[sink_group(settings)].members, 60)
    assert look(settings)[name].outcome == "failed"


@pytest.mark.parametrize(("away", "there"), [("kafka", "ClickHouse"), ("clickhouse", "Kafka")])
def test_one_that_is_away_does_not_hide_the_other(settings: Settings, away: str, there: str) -> None:
    gone = "127.0.0.1:1" if away == "kafka" else "http://default:sesame@127.0.0.1:1"
    checks = look(settings.model_copy(update={away: gone}))
    names = {"kafka": "Kafka", "clickhouse": "ClickHouse"}
    assert (checks[names[away]].outcome, checks[there].outcome) == ("failed", "ok")
    assert "127.0.0.1:1" in checks[names[away]].said
    assert "sesame" not in str(checks)
    if away == "kafka":
        assert checks["topics"].outcome == checks["dead letters"].outcome == "skipped"


def test_a_test_event_stops_where_nobody_passes_it_on(settings: Settings, tmp_path: Path) -> None:
    with running_collector(settings, tmp_path) as collector:
        project = collector.project
        target = Target(collector.url, project.id, project.write_key, project.read_key)
        checks = look(collector.settings, target=target, event_seconds=1.0, services={"http": collector.url})
        assert checks["test event"].outcome == "failed"
        assert "in the raw topic after" in checks["test event"].said
        assert "not in the collection's topic" in checks["test event"].said
        assert "processor" in (checks["test event"].remedy or "")
        assert checks["service http"].outcome == checks["clock of Kafka"].outcome == "ok"
        assert checks["clock of the collector"].outcome == checks["versions of services"].outcome == "ok"
        own = collector.settings.model_copy(update={"url": collector.url, "project_id": project.id})
        assert target_of(own, None, None) == target, "by the keys that the control plane has"
        keyed = own.model_copy(update={"master_key": SecretStr("m"), "read_key": SecretStr("r")})
        assert target_of(keyed, None, None) == target._replace(write_key="m", read_key="r")
        assert target_of(keyed, None, "b" * 24) is None, "the settings' keys are of another project"
        refused = look(collector.settings, target=target._replace(write_key="no"), event_seconds=1.0)
        assert "answers 401" in refused["test event"].said or "answers 403" in refused["test event"].said
    away = look(settings, target=target._replace(url=NOWHERE), event_seconds=1.0)
    assert "not answered" in away["test event"].said
    assert COLLECTION == "headwater_doctor"


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["doctor", *arguments])


@pytest.fixture
def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Sets a setting of the deployment that the command line finds in the environment."""

    def set_one(name: str, value: str) -> None:
        monkeypatch.setenv(PREFIX + name.upper(), value)

    for name in ("kafka", "clickhouse", "topic_prefix", "data_dir"):
        set_one(name, str(getattr(settings, name)))
    return set_one


def test_the_command_ends_with_what_to_do_and_1(environment: Callable[[str, str], None]) -> None:
    environment("kafka", "127.0.0.1:1")
    result = run()
    assert result.exit_code == 1
    assert "FAILED   Kafka: 127.0.0.1:1 does not answer" in result.stdout
    assert "\n1. Kafka: see that Kafka runs at 127.0.0.1:1" in result.stdout
    assert "\nok       ClickHouse: version" in result.stdout


def test_a_service_is_given_with_its_name(environment: Callable[[str, str], None]) -> None:
    assert run("--service", "sink").exit_code == 2
    assert run("--service", f"sink-{secrets.token_hex(2)}=x").exit_code == 2
