"""SIGTERM under load, with Kafka there and with Kafka away: every service ends in time, and says what it left undone."""

import json
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from headwater.control import Project
from headwater.identity import event_id
from headwater.local.child import Child
from headwater.local.ports import Ports
from headwater.settings import Settings, load_settings
from headwater.stopping import UNDONE
from tests.broker import Broker
from tests.collecting import Collector, environment, raw_records, running_collector
from tests.local_http import HTTP
from tests.processing import ProcessorProcess, RawTopic, new_project, raw_record
from tests.sinking import start_sink
from tests.waiting import wait_until

SERVE_API = "from headwater.serve import run_http; from headwater.settings import load_settings; run_http('api', load_settings())"
LIMIT = 60.0
STOP_LIMIT = 20.0
CLIENTS = 4


@pytest.fixture
def settings(broker: Broker, clickhouse: str, tmp_path: Path) -> Settings:
    return load_settings(
        data_dir=tmp_path,
        secret=SecretStr(secrets.token_hex(32)),
        kafka=broker.bootstrap,
        clickhouse=clickhouse,
        raw_partitions=2,
        collection_partitions=1,
        ack_timeout_seconds=2.0,
        settle_seconds=10.0,  # so that there is something unsettled
        log_format="json",
    )


class Ledger:
    """Clients that write one event after another until the server is gone, and what they were answered."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self.stored: set[str] = set()
        self.refused = 0
        self.unanswered: set[str] = set()  # connections that ended without an answer
        self.answered_at = time.monotonic()  # the last answer to any client
        self._gone = threading.Event()
        self._threads = [threading.Thread(target=self._write) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Until all clients have seen that the server is gone."""
        for thread in self._threads:
            thread.join(LIMIT)
            assert not thread.is_alive()

    def _write(self) -> None:
        project = self._collector.project
        url = f"{self._collector.url}/3.0/projects/{project.id}/events/c"
        with httpx.Client(headers={"Authorization": project.write_key}, timeout=LIMIT, trust_env=False) as http:
            while not self._gone.is_set():
                token = str(uuid.uuid4())
                try:
                    status = http.post(url, json={"keen": {"uniqueness_token": token}}).status_code
                except httpx.ConnectError:
                    self._gone.set()
                except httpx.TransportError:
                    self.unanswered.add(token)
                else:
                    self.answered_at = time.monotonic()
                    assert status in (201, 503)
                    if status == 201:
                        self.stored.add(token)
                    else:
                        self.refused += 1


def ended(process: "subprocess.Popen[bytes] | Child", told_at: float) -> int:
    """The exit code of a process that was told to stop, which must come in time."""
    code = process.poll if isinstance(process, subprocess.Popen) else process.exit_code
    wait_until(lambda: code() is not None, STOP_LIMIT + 5)
    assert time.monotonic() - told_at < STOP_LIMIT
    found = code()
    assert found is not None
    return found


def test_a_collector_answers_what_it_has_accepted(kafka_settings: Settings, tmp_path: Path) -> None:
    with running_collector(kafka_settings, tmp_path) as collector:
        ledger = Ledger(collector)
        wait_until(lambda: len(ledger.stored) > 100, LIMIT)
        assert collector.child
        told_at = time.monotonic()
        collector.child.terminate()
        assert ended(collector.child, told_at) == 0
        ledger.join()
        stored = {record["id"] for record in raw_records(kafka_settings, collector.project.id)}
        assert stored == {event_id(collector.project.id, token) for token in ledger.stored}
        assert not ledger.refused


@contextmanager
def hanging_server() -> Iterator[str]:
    """The URL of a ClickHouse that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://default:@127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def asked_api(settings: Settings, project: Project, log: Path) -> Iterator[tuple[Child, Future[httpx.Response]]]:
    """An API that is busy with a query, and its answer."""
    with closing(Ports()) as ports, ThreadPoolExecutor() as threads:
        own = settings.model_copy(update={"port": ports.claim(17300)})
        root = f"http://127.0.0.1:{own.port}"
        child = Child([sys.executable, "-c", SERVE_API], environment(own), log)
        try:

            def read_all_but_clickhouse() -> bool:
                with suppress(httpx.TransportError):
                    answer = HTTP.get(f"{root}/readyz", timeout=LIMIT)
                    return answer.text == "not ready\napi: ClickHouse does not answer a statement\n"
                return False

            wait_until(read_all_but_clickhouse, LIMIT)
            query = f"{root}/3.0/projects/{project.id}/queries/count?event_collection=c"
            headers = {"Authorization": project.read_key}
            yield child, threads.submit(HTTP.get, query, headers=headers, timeout=LIMIT)
        finally:
            child.kill()


def test_kafka_and_clickhouse_hang_while_all_are_told_to_stop(
    broker: Broker, settings: Settings, tmp_path: Path
) -> None:
    project_id = new_project(settings)
    raw = RawTopic(settings)
    for number in range(2_000):
        raw.send(raw_record(project_id, "c", id=str(uuid.UUID(int=number))), b"%d" % number)
    raw.flush()
    worker = ProcessorProcess(settings, "processor", tmp_path)  # first, since it takes longest to start
    sink = start_sink(settings, tmp_path / "sink.log")
    try:
        with (
            hanging_server() as nowhere,
            running_collector(settings, tmp_path) as collector,
            asked_api(settings.model_copy(update={"clickhouse": nowhere}), collector.project, tmp_path / "api.log") as (
                api,
                answer,
            ),
        ):
            worker.wait_ready()
            wait_until(lambda: worker.metric("headwater_processor_records_total") >= 2_000, LIMIT)
            ledger = Ledger(collector)
            wait_until(lambda: len(ledger.stored) > 500, LIMIT)
            broker.signal(signal.SIGSTOP)
            wait_until(lambda: ledger.refused > 0, LIMIT)
            wait_until(lambda: time.monotonic() - ledger.answered_at > 0.5)  # the clients' next requests are under way
            told_at, refused = time.monotonic(), ledger.refused
            assert collector.child
            assert not answer.done()
            for process in (worker.process, sink, collector.child, api):
                process.terminate()
            codes = {
                "collector": ended(collector.child, told_at),
                "sink": ended(sink, told_at),
                "processor": ended(worker.process, told_at),
                "api": ended(api, told_at),
            }
            ledger.join()
    finally:
        worker.kill()
        sink.kill()
        sink.wait()
    assert ledger.refused > refused  # those that were under way were answered, too
    assert (answer.result().status_code, answer.result().json()["error_code"]) == (503, "ServiceUnavailableError")
    assert (codes["collector"], codes["api"]) == (0, UNDONE)
    assert {codes["sink"], codes["processor"]} <= {0, UNDONE}  # whether a commit was on its way, or a settle just over
    said = {name: (tmp_path / f"{name}.log").read_text() for name in codes}
    if codes["processor"] == UNDONE:
        last = json.loads(said["processor"].splitlines()[-1])
        assert last["event"] == "stopped before all was done"
        assert sum(last["unsettled_offsets"].values()) > 0
    if codes["sink"] == UNDONE:
        last = json.loads(said["sink"].splitlines()[-1])
        assert last["event"] == "stopped before all was done"
        assert last["partitions_not_committed"] > 0
    last = json.loads(said["api"].splitlines()[-1])
    assert (last["event"], last["requests_unanswered"]) == ("stopped before all was done", 0)
    assert not [name for name, text in said.items() if "Traceback" in text]
