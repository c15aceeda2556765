"""One real processor on a real Kafka: what goes in, what comes out, what is counted, what is given up."""

import uuid
from pathlib import Path

import orjson
import pytest
from confluent_kafka import Producer

from headwater.aggregates import LiveFigures
from headwater.identity import event_id, origin_id
from headwater.kafka import client_config
from headwater.settings import Settings
from headwater.topics import raw_topic
from tests.processing import (
    RawTopic,
    new_project,
    processor,
    raw_record,
    read_dead_letters,
    read_events,
    wait_processed,
)

DAY = 1_769_904_000_000  # 2026-02-01T00:00:00Z
URL_ADDON = [{"name": "keen:url_parser", "input": {"url": "page"}, "output": "page_parts"}]


@pytest.fixture
def project_id(kafka_settings: Settings) -> str:
    return new_project(kafka_settings)


def test_events_are_enriched_routed_and_counted(kafka_settings: Settings, project_id: str) -> None:
    settings, raw = kafka_settings, RawTopic(kafka_settings)
    ids = [str(uuid.UUID(int=number)) for number in range(3)]
    untouched = '{"n": 1, "text": "2026-01-01", "big": 9223372036854775807, "nested": [[1, {"a": null}]]}'
    enriched = '{"page":"https://example.com/a?b=c","who":"${keen.ip}"}'
    raw.send(raw_record(project_id, "plain", id=ids[0], timestamp=DAY, received_at=DAY + 5, properties=untouched))
    raw.send(
        raw_record(
            project_id,
            "with add-ons",
            id=ids[1],
            timestamp=DAY,
            received_at=DAY,
            ip="8.8.8.8",
            addons=orjson.dumps(URL_ADDON).decode(),
            properties=enriched,
        )
    )
    raw.send(raw_record(project_id, "plain"), partition=2, timestamp=DAY + 7)
    raw.flush()
    with processor(settings):
        state = wait_processed(settings, 3)

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
    assert read_dead_letters(settings) == []

    (live,) = (part for part in state.aggregates(project_id, "with add-ons"))
    assert (live.events, live.size, live.last_event_at) == (1, len(enriched), DAY)
    assert state.events(project_id, "plain") == 2
    (catalogue,) = state.catalogues(project_id, "with add-ons")
    assert catalogue.paths["page_parts.domain"] == [1, DAY, DAY, 1]
    figures = LiveFigures()
    for key, value in state.values.items():
        figures.apply(key, value)
    assert figures.figures(project_id, DAY)["collections"]["plain"]["bytes"] == len(untouched) + 2


def test_json_envelopes_are_events_too(kafka_settings: Settings, project_id: str) -> None:
    settings, raw = kafka_settings, RawTopic(kafka_settings)
    envelope = {
        "project_id": project_id,
        "collection": "envelopes",
        "id": "order-7",
        "timestamp": "2026-02-01T01:00:00+01:00",
        "properties": {"n": 1, "page": "https://example.com/x", "keen": {"addons": URL_ADDON}},
    }
    raw.send(orjson.dumps(envelope))
    raw.send(orjson.dumps({"project_id": project_id, "collection": "envelopes", "properties": '{"n":2}'}))
    raw.send(b'{"project_id": "' + project_id.encode() + b'", "collection": "envelopes", "properties": {"a.b": 1}}')
    raw.send(b'{"project_id": "' + project_id.encode() + b'", "collecton": "typo"}')
    raw.flush()
    with processor(settings):
        wait_processed(settings, 4)
    events = sorted(read_events(settings, project_id, "envelopes"), key=lambda event: str(event["properties"]))
    assert [orjson.loads(event["properties"])["n"] for event in events] == [1, 2]
    assert (events[0]["id"], events[0]["timestamp"]) == (event_id(project_id, "order-7"), DAY)
    assert orjson.loads(events[0]["properties"])["page_parts"]["path"] == "/x"
    letters = {letter["reason"]: letter["message"] for letter in read_dead_letters(settings)}
    assert letters.keys() == {"invalid_event", "unreadable"}
    assert "a.b" in letters["invalid_event"]
    assert "'collecton'" in letters["unreadable"]


def test_what_cannot_be_processed_is_given_up_with_its_bytes(kafka_settings: Settings, project_id: str) -> None:
    settings = kafka_settings.model_copy(update={"max_collections": 2, "topic_max_message_bytes": 1_000_000})
    raw = RawTopic(settings)
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
                properties='{"page":"https://example.com/x","filling":"' + "x" * 999_400 + '"}',
            )
        ],
    }
    for record in good:
        raw.send(record, partition=0)
    raw.flush()
    with processor(settings) as process:
        wait_processed(settings, len(good))  # so these two are the project's collections
        for records in bad.values():
            for record in records:
                raw.send(record or None, b"the key", partition=1, timestamp=DAY)
        raw.flush()
        state = wait_processed(settings, len(good) + sum(map(len, bad.values())))
        assert process.metric('headwater_dead_letters_total{reason="unreadable",stage="processor"}') == 5
    letters = read_dead_letters(settings)
    assert len({letter["id"] for letter in letters}) == len(letters)
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


def test_a_new_project_and_its_first_events_need_no_wait(kafka_settings: Settings, project_id: str) -> None:
    with processor(kafka_settings):
        later = new_project(kafka_settings)
        raw = RawTopic(kafka_settings)
        raw.send(raw_record(later, "first", id=str(uuid.UUID(int=1)), timestamp=DAY))
        raw.flush()
        wait_processed(kafka_settings, 1)
    assert len(read_events(kafka_settings, later, "first")) == 1
    assert read_dead_letters(kafka_settings) == []
    assert read_events(kafka_settings, project_id, "first") == []


def test_aborted_raw_records_are_never_seen(kafka_settings: Settings, project_id: str) -> None:
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


def test_paths_beyond_the_cap_are_counted_only(kafka_settings: Settings, project_id: str) -> None:
    settings, raw = kafka_settings.model_copy(update={"max_paths": 10}), RawTopic(kafka_settings)
    for number in range(25):
        raw.send(raw_record(project_id, "wide", properties=f'{{"p{number}":1,"same":true}}'), partition=0)
    raw.flush()
    with processor(settings):
        state = wait_processed(settings, 25)
    (catalogue,) = state.catalogues(project_id, "wide")
    assert len(catalogue.paths) == 10
    assert catalogue.paths["same"][3] == 25
    assert catalogue.beyond == 25 - 9
    assert state.watermarks == {0: 24}
    assert catalogue.offset == state.aggregates(project_id, "wide")[0].offset == 24
    assert len(read_events(settings, project_id, "wide")) == 25


def test_a_record_as_large_as_the_topic_takes_passes(kafka_settings: Settings, project_id: str, tmp_path: Path) -> None:
    raw = RawTopic(kafka_settings)
    text = orjson.dumps({"filling": "x" * 3_500_000}).decode()
    for number in range(2):
        raw.send(raw_record(project_id, "large", id=str(uuid.UUID(int=number)), timestamp=DAY, properties=text))
    raw.flush()
    with processor(kafka_settings):
        state = wait_processed(kafka_settings, 2)
    assert state.events(project_id, "large") == 2
    assert all(event["properties"] == text for event in read_events(kafka_settings, project_id, "large"))
