"""One real processor on a real Kafka: what goes in, what comes out, what is counted, what is given up."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from headwater.aggregates import LiveFigures, table_key
from headwater.control import ControlWriter
from headwater.doctor import Deployment, examine
from headwater.identity import event_id, origin_id
from headwater.kafka import client_config, create_base_topics
from headwater.settings import Settings
from headwater.topics import raw_topic, state_topic
from tests.processing import (
    ProcessorProcess,
    RawTopic,
    State,
    new_project,
    processor,
    raw_record,
    read_dead_letters,
    read_events,
    wait_processed,
)
from tests.waiting import wait_until

DAY = 1_769_904_000_000  # 2026-02-01T00:00:00Z
URL_ADDON = [{"name": "keen:url_parser", "input": {"url": "page"}, "output": "page_parts"}]


MAX_COLLECTIONS = 2
MAX_PATHS = 40


@dataclass
class Running:
    """A deployment with one processor, which the tests share; each takes a project of its own."""

    settings: Settings
    process: ProcessorProcess
    writer: ControlWriter
    sent: int = 0

    def new_project(self) -> str:
        return self.writer.create_project("test").id

    def processed(self, *records: bytes | None, **where: Any) -> State:
        """Send raw records, and the state when they are settled."""
        raw = RawTopic(self.settings)
        for record in records:
            raw.send(record, **where)
        raw.flush()
        self.sent += len(records)
        return wait_processed(self.settings, self.sent)


@pytest.fixture(scope="module")
def running(module_settings: Settings) -> Iterator[Running]:
    settings = module_settings.model_copy(update={"max_collections": MAX_COLLECTIONS, "max_paths": MAX_PATHS})
    create_base_topics(settings)
    with ControlWriter(settings) as writer, processor(settings) as process:
        yield Running(settings, process, writer)


@pytest.fixture
def project_id(running: Running) -> str:
    return running.new_project()


def test_events_are_enriched_routed_and_counted(running: Running, project_id: str) -> None:
    settings = running.settings
    ids = [str(uuid.UUID(int=number)) for number in range(3)]
    untouched = '{"n": 1, "text": "2026-01-01", "big": 9223372036854775807, "nested": [[1, {"a": null}]]}'
    enriched = '{"page":"https://example.com/a?b=c","who":"${keen.ip}"}'
    running.processed(
        raw_record(project_id, "plain", id=ids[0], timestamp=DAY, received_at=DAY + 5, properties=untouched),
        raw_record(
            project_id,
            "with add-ons",
            id=ids[1],
            timestamp=DAY,
            received_at=DAY,
            ip="8.8.8.8",
            addons=orjson.dumps(URL_ADDON).decode(),
            properties=enriched,
        ),
    )
    state = running.processed(raw_record(project_id, "plain"), partition=2, timestamp=DAY + 7)

    plain = {event["id"]: event for event in read_events(settings, project_id, "plain")}
    assert plain.keys() == {ids[0], origin_id(raw_topic(settings), 2, state.watermarks[2])}
    first = plain.pop(ids[0])
    assert first["properties"] == untouched  # byte for byte
    assert (first["project_id"], first["collection"]) == (project_id, "plain")
    assert (first["timestamp"], first["received_at"]) == (DAY, DAY + 5)
    assert first["processed_at"] > DAY
    (derived,) = plain.values()
    assert (derived["timestamp"], derived["received_at"], derived["properties"]) == (DAY + 7, DAY + 7, "{}")
    (event,) = read_events(settings, project_id, "with add-ons")
    properties = orjson.loads(event["properties"])
    assert properties["page_parts"]["domain"] == "example.com"
    assert properties["who"] == "8.8.8.8"
    assert not {letter["project_id"] for letter in read_dead_letters(settings)} & {project_id}

    (live,) = (part for part in state.aggregates(project_id, "with add-ons"))
    assert (live.events, live.size, live.last_event_at) == (1, len(enriched), DAY)
    assert state.events(project_id, "plain") == 2
    (catalogue,) = state.catalogues(project_id, "with add-ons")
    assert catalogue.paths["page_parts.domain"] == [1, DAY, DAY, 1]
    figures = LiveFigures()
    for key, value in state.values.items():
        figures.apply(key, value)
    assert figures.figures(project_id, DAY)["collections"]["plain"]["bytes"] == len(untouched) + 2


def test_json_envelopes_are_events_too(running: Running, project_id: str) -> None:
    envelope = {
        "project_id": project_id,
        "collection": "envelopes",
        "id": "order-7",
        "timestamp": "2026-02-01T01:00:00+01:00",
        "properties": {"n": 1, "page": "https://example.com/x", "keen": {"addons": URL_ADDON}},
    }
    known = letters_of(running)
    running.processed(
        orjson.dumps(envelope),
        orjson.dumps({"project_id": project_id, "collection": "envelopes", "properties": '{"n":2}'}),
        b'{"project_id": "' + project_id.encode() + b'", "collection": "envelopes", "properties": {"a.b": 1}}',
        b'{"project_id": "' + project_id.encode() + b'", "collecton": "typo"}',
    )
    events = sorted(read_events(running.settings, project_id, "envelopes"), key=lambda event: str(event["properties"]))
    assert [orjson.loads(event["properties"])["n"] for event in events] == [1, 2]
    assert (events[0]["id"], events[0]["timestamp"]) == (event_id(project_id, "order-7"), DAY)
    assert orjson.loads(events[0]["properties"])["page_parts"]["path"] == "/x"
    letters = {one["reason"]: one["message"] for number, one in letters_of(running).items() if number not in known}
    assert letters.keys() == {"invalid_event", "unreadable"}
    assert "a.b" in letters["invalid_event"]
    assert "'collecton'" in letters["unreadable"]


def letters_of(running: Running) -> dict[str, dict[str, Any]]:
    """The dead letters by their ids."""
    letters = read_dead_letters(running.settings)
    found = {letter["id"]: letter for letter in letters}
    assert len(found) == len(letters)
    return found


def test_what_cannot_be_processed_is_given_up_with_its_bytes(running: Running, project_id: str) -> None:
    settings, known = running.settings, letters_of(running)
    nobody = "0" * 24
    good = [raw_record(project_id, name, id=str(uuid.UUID(int=n)), timestamp=DAY) for n, name in enumerate("ab")]
    bad = {
        "unreadable": [b"\xc3\x01nonsense", b"", b"\xff" * 20, raw_record(project_id, "a") + b"x", b"{broken"],
        "invalid_event": [
            raw_record(project_id, "a", properties='{"x.y":1}'),
            raw_record(project_id, "a", properties='{"ok":1,"n":9223372036854775808}'),
            raw_record(project_id, "a", properties='{"n":123456789012345678901234567890}'),
            raw_record(project_id, "a", properties='{"deep":' + "[" * 200 + "]" * 200 + "}"),
            raw_record(project_id, "a", timestamp=-(10**16)),
            raw_record(project_id, "$a"),
        ],
        "unknown_project": [raw_record(nobody, "a")],
        "addon_failed": [raw_record(project_id, "a", addons='[{"name":"keen:none","input":{},"output":"o"}]')],
        "too_many_collections": [raw_record(project_id, "c")],
        "too_large": [
            raw_record(
                project_id,
                "a",
                id=str(uuid.UUID(int=9)),
                addons=orjson.dumps(URL_ADDON).decode(),
                properties='{"page":"https://example.com/x","filling":"'
                + "x" * (settings.topic_max_message_bytes - 600)
                + '"}',
            )
        ],
    }
    running.processed(*good, partition=0)  # so these two are the project's collections
    counter = 'headwater_dead_letters_total{reason="unreadable",stage="processor"}'
    before = running.process.metric(counter)
    records = [record or None for each in bad.values() for record in each]
    state = running.processed(*records, partition=1, key=b"the key", timestamp=DAY)
    assert running.process.metric(counter) == before + 5
    letters = [letter for number, letter in letters_of(running).items() if number not in known]
    got: dict[str, list[bytes]] = {reason: [] for reason in bad}
    for letter in sorted(letters, key=lambda letter: int(letter["offset"])):
        got[letter["reason"]].append(letter["payload"] or b"")
        assert (letter["topic"], letter["partition"], letter["stage"]) == (raw_topic(settings), 1, "processor")
        assert letter["id"] == origin_id(raw_topic(settings), 1, letter["offset"])
        assert (letter["key"], letter["record_timestamp"]) == (b"the key", DAY)
        assert letter["error_class"]
        assert letter["message"]
    assert got == bad
    assert [state.events(project_id, name) for name in "abc"] == [1, 1, 0]


def test_a_new_project_and_its_first_events_need_no_wait(running: Running, project_id: str) -> None:
    later = running.new_project()
    running.processed(raw_record(later, "first", id=str(uuid.UUID(int=1)), timestamp=DAY))
    assert len(read_events(running.settings, later, "first")) == 1
    assert read_events(running.settings, project_id, "first") == []


def test_paths_beyond_the_cap_are_counted_only(running: Running, project_id: str) -> None:
    events = MAX_PATHS + 15
    state = running.processed(
        *(raw_record(project_id, "wide", properties=f'{{"p{number}":1,"same":true}}') for number in range(events)),
        partition=0,
    )
    (catalogue,) = state.catalogues(project_id, "wide")
    assert len(catalogue.paths) == MAX_PATHS
    assert catalogue.paths["same"][3] == events
    assert catalogue.beyond == events - (MAX_PATHS - 1)
    assert catalogue.offset == state.aggregates(project_id, "wide")[0].offset == state.watermarks[0]
    assert len(read_events(running.settings, project_id, "wide")) == events


def test_a_record_as_large_as_the_topic_takes_passes(running: Running, project_id: str) -> None:
    text = orjson.dumps({"filling": "x" * 3_500_000}).decode()
    state = running.processed(
        *(
            raw_record(project_id, "large", id=str(uuid.UUID(int=number)), timestamp=DAY, properties=text)
            for number in range(2)
        )
    )
    assert state.events(project_id, "large") == 2
    assert all(event["properties"] == text for event in read_events(running.settings, project_id, "large"))


def test_aborted_raw_records_are_never_seen(kafka_settings: Settings) -> None:
    project_id = new_project(kafka_settings)
    producer = Producer(client_config(kafka_settings) | {"transactional.id": kafka_settings.topic_prefix})
    producer.init_transactions(30)
    for number in range(4):
        producer.begin_transaction()
        record = raw_record(project_id, "tx", id=str(uuid.UUID(int=number)), timestamp=DAY)
        producer.produce(raw_topic(kafka_settings), record, partition=0)
        producer.flush(30)
        if number % 2:
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)
    with processor(kafka_settings):
        wait_processed(kafka_settings, 5)  # offsets 0 to 4: records and markers, the last of them committed
    assert {event["id"] for event in read_events(kafka_settings, project_id, "tx")} == {
        str(uuid.UUID(int=number)) for number in (0, 2)
    }


def test_raw_records_that_kafka_no_longer_has_are_counted_and_said(kafka_settings: Settings) -> None:
    project_id = new_project(kafka_settings)
    raw = RawTopic(kafka_settings)
    for _ in range(10):
        raw.send(raw_record(project_id, "late"), partition=1)
    raw.flush()
    admin, place = AdminClient(client_config(kafka_settings)), TopicPartition(raw_topic(kafka_settings), 1, 4)
    admin.delete_records([place])[place].result(30)
    with processor(kafka_settings) as process:
        state = wait_processed(kafka_settings, 10)
        assert state.events(project_id, "late") == 6
        wait_until(lambda: process.metric('headwater_offsets_lost_total{stage="processor"}') == 4)
        wait_until(lambda: process.metric('headwater_processor_lag_records{partition="1"}') == 0)
        assert "Kafka has not kept records until they were read" in process.log.read_text()


def test_a_watermark_that_is_none_holds_up_its_own_partition_until_it_is_taken_away(kafka_settings: Settings) -> None:
    project_id = new_project(kafka_settings)
    raw, state = RawTopic(kafka_settings), RawTopic(kafka_settings, state_topic(kafka_settings))
    with processor(kafka_settings):
        for partition in range(3):
            raw.send(raw_record(project_id, "visits"), partition=partition)
        raw.flush()
        wait_processed(kafka_settings, 3)
    for partition in range(3):
        raw.send(raw_record(project_id, "visits"), partition=partition)
    raw.flush()
    key = table_key(0, "watermark")
    state.send(b"no watermark", key, partition=0)
    state.flush()
    process = ProcessorProcess(kafka_settings, "processor-1", kafka_settings.data_dir)
    try:
        wait_until(lambda: len(read_events(kafka_settings, project_id, "visits")) == 5, 60)
        wait_until(lambda: "partition 0 is stuck" in process.unready)
        assert "not a watermark record" in process.unready
        assert process.log.read_text().count("partitions could not be taken") == 1
        checks = examine(Deployment(kafka_settings, event_seconds=None))
        assert any(check.name == "lag of processors" for check in checks)
        assert not any("fault of the check" in (check.remedy or "") for check in checks)
        state.send(None, key, partition=0)
        state.flush()
        process.wait_ready()
        assert wait_processed(kafka_settings, 6).events(project_id, "visits") == 6
        assert len(read_events(kafka_settings, project_id, "visits")) == 6
        assert process.end() == 0
    finally:
        process.kill()
