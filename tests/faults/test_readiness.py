"""What keeps a service from its work makes it not ready, it says what, and is ready again when that is over."""

import signal
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from api.reach import Reach
from headwater.kafka import client_config
from headwater.settings import Settings
from headwater.topics import raw_topic
from tests.collecting import Collector, running_collector
from tests.engine import Engine
from tests.local_http import HTTP
from tests.waiting import wait_until

LIMIT = 60.0


def take_no_older(settings: Settings, milliseconds: int) -> None:
    """How old a record may be that the raw topic takes; with 0 it refuses any that was on its way for a millisecond."""
    name, value = "message.timestamp.before.max.ms", str(milliseconds)
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, raw_topic(settings), incremental_configs=[entry])
    admin = AdminClient(client_config(settings))  # held: one that is let go of while it is asked never answers
    admin.incremental_alter_configs([resource])[resource].result(30)


def write(collector: Collector) -> int:
    url = f"{collector.url}/3.0/projects/{collector.project.id}/events/c"
    headers = {"Authorization": collector.project.write_key}
    return HTTP.post(url, json={}, headers=headers, timeout=LIMIT).status_code


def test_a_kafka_that_answers_and_takes_no_records(kafka_settings: Settings, tmp_path: Path) -> None:
    settings = kafka_settings
    with running_collector(settings, tmp_path) as collector:
        assert HTTP.get(f"{collector.url}/readyz").text == "ok\n"
        take_no_older(settings, 0)
        wait_until(lambda: write(collector) == 503, LIMIT)
        answer = HTTP.get(f"{collector.url}/readyz", timeout=LIMIT)
        assert answer.status_code == 503
        assert answer.text.startswith("not ready\ncollector: Kafka did not acknowledge the last events, ")
        assert HTTP.get(f"{collector.url}/readyz/collector", timeout=LIMIT).status_code == 503
        assert HTTP.get(f"{collector.url}/livez").status_code == 200
        take_no_older(settings, 3_600_000)
        wait_until(lambda: write(collector) == 201, LIMIT)
        assert HTTP.get(f"{collector.url}/readyz", timeout=LIMIT).status_code == 200


@pytest.mark.parametrize(
    ("away", "back"),
    [
        (lambda engine: engine.signal(signal.SIGSTOP), lambda engine: engine.signal(signal.SIGCONT)),
        (lambda engine: engine.child.kill(), lambda engine: engine.start()),
    ],
    ids=["hangs", "is killed"],
)
def test_an_api_notices_a_clickhouse_that(engine: Engine, away: object, back: object) -> None:
    assert callable(away)
    assert callable(back)
    reach = Reach(engine.url)
    try:
        assert reach.problems() == []
        away(engine)
        wait_until(lambda: reach.problems() == ["ClickHouse does not answer a statement"], LIMIT)
        back(engine)
        wait_until(lambda: reach.problems() == [], LIMIT)
    finally:
        reach.close()


def test_an_api_notices_that_clickhouse_refuses_its_user(clickhouse: str) -> None:
    before, _, address = clickhouse.rpartition("@")
    reach = Reach(f"{before}-wrong@{address}")
    assert reach.problems() == ["ClickHouse does not answer a statement"]
