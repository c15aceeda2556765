"""The collector while Kafka hangs, is killed, or is not there yet: 503, nothing lost that was accepted, no hand needed."""

import asyncio
import signal
import time
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from collector.errors import ApiError
from collector.publish import Publisher
from collector.rates import Rates
from headwater.control import ControlPlane
from headwater.identity import event_id
from headwater.kafka import create_base_topics
from headwater.settings import Settings, load_settings
from tests.broker import Broker
from tests.collecting import Collector, raw_records, running_collector
from tests.local_http import HTTP
from tests.processing import new_project
from tests.waiting import wait_until

ACK_SECONDS = 2.0
ANSWER_SECONDS = 6.0  # an answer comes within the wait for acknowledgements and what the client needs to notice
LIMIT = 60.0


@pytest.fixture
def settings(broker: Broker, tmp_path: Path) -> Settings:
    return load_settings(
        data_dir=tmp_path,
        secret=SecretStr("a secret of more than thirty-two characters"),
        kafka=broker.bootstrap,
        raw_partitions=2,
        ack_timeout_seconds=ACK_SECONDS,
    )


def send(collector: Collector, token: str) -> int:
    """The status of a write; a 503 is checked to be one that clients can act on, in time."""
    started = time.monotonic()
    answer = HTTP.post(
        f"{collector.url}/3.0/projects/{collector.project.id}/events/c",
        json={"keen": {"uniqueness_token": token}},
        headers={"Authorization": collector.project.write_key},
        timeout=LIMIT,
    )
    if answer.status_code == 503:
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error_code"] == "ServiceUnavailableError"
        assert time.monotonic() - started < ACK_SECONDS + ANSWER_SECONDS
    else:
        assert answer.status_code == 201, answer.text
    return answer.status_code


def probe(collector: Collector, name: str) -> int:
    return HTTP.get(f"{collector.url}/{name}", timeout=LIMIT).status_code


def test_kafka_hangs_and_is_killed(broker: Broker, settings: Settings, tmp_path: Path) -> None:
    accepted: set[str] = set()

    def accept(token: str) -> bool:
        if send(collector, token) == 201:
            accepted.add(token)
        return token in accepted

    with running_collector(settings, tmp_path) as collector:
        assert accept("before")

        broker.signal(signal.SIGSTOP)
        assert not accept("hanging")
        assert probe(collector, "readyz") == 503
        assert probe(collector, "livez") == 200
        broker.signal(signal.SIGCONT)
        wait_until(lambda: accept("resumed"), LIMIT)
        wait_until(lambda: probe(collector, "readyz") == 200, LIMIT)

        broker.kill()
        assert not accept("killed")
        broker.start()
        wait_until(lambda: accept("restarted"), LIMIT)

        stored = {record["id"] for record in raw_records(settings, collector.project.id)}
        assert stored >= {event_id(collector.project.id, token) for token in accepted}


def test_a_collector_that_starts_before_kafka(broker: Broker, settings: Settings, tmp_path: Path) -> None:
    with running_collector(settings, tmp_path) as collector:
        collector.kill()
        broker.kill()
        collector.launch()
        wait_until(lambda: answers(collector), LIMIT)
        assert send(collector, "early") == 503
        assert probe(collector, "readyz") == 503
        broker.start()
        wait_until(lambda: probe(collector, "readyz") == 200, LIMIT)
        assert send(collector, "late") == 201


async def test_what_is_on_its_way_is_answered_when_the_producer_is_replaced(broker: Broker, settings: Settings) -> None:
    """librdkafka reports not everything that it purges, and nobody may wait for ever."""
    create_base_topics(settings)
    project_id = new_project(settings)
    patient = settings.model_copy(update={"ack_timeout_seconds": 60.0})
    publisher = Publisher(patient, Rates(ControlPlane(patient)))
    await publisher.publish(project_id, [(b"k", b"v")])
    broker.signal(signal.SIGSTOP)
    try:
        sizes = (1, 1, 100, 5_000)
        waiting = [asyncio.create_task(publisher.publish(project_id, [(b"k", b"v")] * size)) for size in sizes]
        done, _ = await asyncio.wait(waiting, timeout=0.5)
        assert not done
        publisher._replace_producer("of this test")
        answers = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 10)
        assert [answer.status for answer in answers if isinstance(answer, ApiError)] == [503] * len(sizes)
    finally:
        broker.signal(signal.SIGCONT)
    await asyncio.wait_for(publisher.publish(project_id, [(b"k", b"v")]), LIMIT)
    assert publisher.close() == 0


def answers(collector: Collector) -> bool:
    """Whether the process serves HTTP."""
    assert collector.child
    assert collector.child.exit_code() is None, collector.log.read_text()[-3000:]
    try:
        return probe(collector, "livez") == 200
    except httpx.HTTPError:
        return False
