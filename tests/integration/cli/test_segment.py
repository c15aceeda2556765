"""`headwater segment` against a real topic."""

import time

import orjson
import pytest
from typer.testing import CliRunner

from headwater.cli import app
from headwater.kafka import create_base_topics
from headwater.segment_users import IDENTIFY
from headwater.settings import PREFIX, Settings
from headwater.topics import backfill_topic, raw_topic
from tests.processing import read_topic

PROJECT = "a1" * 12


def test_forget_is_a_raw_record_with_the_users_key(kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    create_base_topics(kafka_settings)
    for name in ("kafka", "topic_prefix", "data_dir"):
        monkeypatch.setenv(PREFIX + name.upper(), str(getattr(kafka_settings, name)))
    began = time.time_ns() // 1_000_000
    done = CliRunner().invoke(app, ["segment", "forget", "u-7", "--project", PROJECT])
    assert done.exit_code == 0, done.output
    [(key, value, _)] = read_topic(kafka_settings, raw_topic(kafka_settings))
    assert key == f"{PROJECT}:u-7".encode()
    assert orjson.loads(value) == {
        "project_id": PROJECT,
        "collection": IDENTIFY,
        "properties": {"user": "u-7", "userId": None, "traits": None},
    }
    [(key, value, _)] = read_topic(kafka_settings, backfill_topic(kafka_settings))
    assert key == f"{PROJECT}:u-7".encode()
    before = orjson.loads(value)["properties"]["before"]
    assert began <= before <= time.time_ns() // 1_000_000
