"""`headwater dead-letter` against a real topic."""

from typing import Any

import orjson
import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from headwater.cli import app
from headwater.cli.dead_letters import readable
from headwater.codec import codec
from headwater.identity import origin_id
from headwater.kafka import create_base_topics, durable_producer_config
from headwater.settings import PREFIX, Settings
from headwater.topics import dead_letters_topic

EVENT = {
    "project_id": "a" * 24,
    "collection": "purchases",
    "id": "6f4f6d5e-2a0b-4a1f-9f3e-6865616477a7",
    "timestamp": 1,
    "received_at": 2,
    "processed_at": 3,
    "properties": '{"a":1}',
}


def letter(offset: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": origin_id("t", 0, offset),
        "stage": "sink",
        "reason": "refused_by_clickhouse",
        "error_class": "INCORRECT_DATA",
        "message": "Cannot read JSON object",
        "topic": "t",
        "partition": 0,
        "offset": offset,
        "failed_at": 1_700_000_000_000 + offset,
        "project_id": "a" * 24,
        "collection": "purchases",
        "record_timestamp": 1_700_000_000_000,
        "key": b"key",
        "payload": codec("event").encode(EVENT),
    } | changes


LETTERS = [
    letter(0),
    letter(1, stage="processor", reason="unreadable", payload=b'{"half": ', collection=None, project_id=None),
    letter(2, payload=b"\xff\x00", key=None, record_timestamp=None),
    letter(0, failed_at=1_700_000_009_000),  # given up again after a restart
]


@pytest.fixture
def written(kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A deployment with dead letters, which the command line finds in the environment."""
    create_base_topics(kafka_settings)
    producer = Producer(durable_producer_config(kafka_settings))
    for one in LETTERS:
        producer.produce(dead_letters_topic(kafka_settings), codec("dead_letter").encode(one), key=one["id"])
    for nobodys in (b"", b"no letter", codec("dead_letter").encode(letter(3))[:20]):
        producer.produce(dead_letters_topic(kafka_settings), nobodys)  # passed over
    assert producer.flush(30) == 0
    for name in ("kafka", "topic_prefix", "data_dir"):
        monkeypatch.setenv(PREFIX + name.upper(), str(getattr(kafka_settings, name)))
    return kafka_settings


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["dead-letter", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_each_record_is_listed_once_and_the_newest_first(written: Settings) -> None:
    listed = orjson.loads(run("list", "--json"))
    assert [one["offset"] for one in listed] == [0, 2, 1]
    assert listed[0]["failed_at"] == "2023-11-14T22:13:29.000+00:00"
    assert "payload" not in listed[0]


def test_the_list_is_of_one_reason_and_so_long(written: Settings) -> None:
    assert [one["offset"] for one in orjson.loads(run("list", "--json", "--reason", "unreadable"))] == [1]
    assert [one["offset"] for one in orjson.loads(run("list", "--json", "--limit", "1"))] == [0]
    assert orjson.loads(run("list", "--json", "--reason", "no_such")) == []


def test_people_get_a_table(written: Settings) -> None:
    printed = run("list")
    assert LETTERS[0]["id"] in printed
    assert "refused_by_clickhouse" in printed
    assert "purchases" in printed
    assert "3 of 3 dead letters" in printed


def test_a_record_of_ours_is_shown_as_the_event_it_holds(written: Settings) -> None:
    shown = orjson.loads(run("show", LETTERS[0]["id"], "--json"))
    assert shown["failed_at"] == "2023-11-14T22:13:29.000+00:00", "the last time it was given up"
    assert shown["key"] == "key"
    assert shown["payload"] == "hex:" + LETTERS[0]["payload"].hex()
    assert shown["event"] == EVENT


def test_a_payload_that_is_text_is_shown_as_text(written: Settings) -> None:
    shown = orjson.loads(run("show", LETTERS[1]["id"], "--json"))
    assert (shown["payload"], shown["event"]) == ('{"half": ', None)
    assert '{"half": ' in run("show", LETTERS[1]["id"])


def test_an_unknown_id_is_said(written: Settings) -> None:
    result = CliRunner().invoke(app, ["dead-letter", "show", "nope"])
    assert result.exit_code == 1
    assert "There is no dead letter nope" in result.stderr


def test_before_the_first_start_there_are_none(kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("kafka", "topic_prefix", "data_dir"):
        monkeypatch.setenv(PREFIX + name.upper(), str(getattr(kafka_settings, name)))
    assert orjson.loads(run("list", "--json")) == []


def test_kafka_away_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv(f"{PREFIX}KAFKA", "127.0.0.1:1")
    monkeypatch.setenv(f"{PREFIX}DATA_DIR", str(tmp_path))
    result = CliRunner().invoke(app, ["dead-letter", "list"])
    assert result.exit_code == 1
    assert "127.0.0.1:1" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (None, None),
        (b"", ""),
        ("é 🙂\n".encode(), "é 🙂\n"),
        (b"\xc3\x01", "hex:c301"),
        (b"a\x00", "hex:6100"),
        (b"\x1b[31m", "hex:1b5b33316d"),
    ],
)
def test_bytes_are_text_where_a_terminal_can_show_them(data: bytes | None, shown: str | None) -> None:
    assert readable(data) == shown
