"""Kafka is killed, and hangs, under a processor that has work under way: nothing is lost, and nothing is counted twice."""

import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from headwater.settings import Settings, load_settings
from tests.broker import Broker
from tests.faults.test_processor_churn import check_exact, records, send_events
from tests.processing import ProcessorProcess, new_project, storing, wait_processed
from tests.waiting import wait_until

EVENTS = 20_000
LIMIT = 120.0
NOTICED = 5.0
# A settle waits half a minute for Kafka; what follows when that was too short does not depend on how long it was.
IMPATIENT = """
from processors import fence, worker
fence.TIMEOUT_SECONDS = worker.FLUSH_SECONDS = 10.0
"""


@pytest.fixture
def settings(broker: Broker, tmp_path: Path) -> Settings:
    return load_settings(
        data_dir=tmp_path,
        secret=SecretStr(secrets.token_hex(32)),
        kafka=broker.bootstrap,
        settle_seconds=0.1,
        raw_partitions=3,
        collection_partitions=1,
    )


@pytest.fixture(autouse=True)
def stored(settings: Settings) -> Iterator[None]:
    """History goes on only when what was put out is stored."""
    with storing(settings):
        yield


@pytest.mark.timeout(400)
def test_a_broker_that_is_killed_and_one_that_hangs(broker: Broker, settings: Settings, tmp_path: Path) -> None:
    project_id = new_project(settings)
    worker = ProcessorProcess(settings, "processor", tmp_path, IMPATIENT)

    def send_until_it_works_on(first: int) -> int:
        before = worker.metric("headwater_processor_records_total")
        send_events(settings, project_id, first, EVENTS, 0)
        wait_until(lambda: worker.metric("headwater_processor_records_total") > before, LIMIT, 0.02)
        return first + EVENTS

    def settles_failed() -> float:
        return worker.metric('headwater_processor_settles_total{outcome="failed"}')

    def check(sent: int) -> None:
        state = wait_processed(settings, sent // EVENTS * records(EVENTS), LIMIT)
        check_exact(settings, project_id, state, sent)

    try:
        worker.wait_ready()
        sent = send_until_it_works_on(0)
        broker.kill()
        broker.start()
        check(sent)

        sent = send_until_it_works_on(sent)
        failed_before = settles_failed()
        broker.signal(signal.SIGSTOP)  # until a settle has failed
        wait_until(lambda: not worker.ready, NOTICED)
        wait_until(lambda: settles_failed() > failed_before, LIMIT)
        assert "Kafka does not answer for topic" in worker.unready
        assert "settles fail, for " in worker.unready
        broker.signal(signal.SIGCONT)
        check(sent)
        wait_until(lambda: worker.ready, LIMIT)
        assert worker.end() == 0, worker.log.read_text()
        assert "Traceback" not in worker.log.read_text()
    finally:
        worker.kill()
