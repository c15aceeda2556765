"""Each broker of a cluster of three is killed under load, and then two at once: what was answered is stored, once.

A sink whose group's coordinator has moved may end, to be started again, as `headwater up` and every orchestrator do it.
"""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from headwater.control import Project
from headwater.doctor import Check, Deployment, examine
from headwater.local.ports import Ports
from headwater.settings import Settings, load_settings
from headwater.topics import raw_topic
from sinks.datums import Collection
from tests.cluster import NUMBERS, Cluster
from tests.collecting import raw_records, running_collector
from tests.processing import PORTS, ProcessorProcess, wait_processed
from tests.sinking import Tables, start_sink
from tests.waiting import wait_until

CLIENTS = 4
SOME = 200  # events that have to be answered before something else happens
LIMIT = 120.0
START = datetime(2026, 1, 31, 12, tzinfo=UTC)

pytestmark = pytest.mark.timeout(900)  # a dozen starts of Java on a machine of two cores


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """One that runs when the test begins."""
    with closing(Ports()) as ports, closing(Cluster(tmp_path, ports)) as cluster:
        yield cluster


@pytest.fixture
def settings(cluster: Cluster, clickhouse: str, tmp_path: Path) -> Settings:
    return load_settings(
        data_dir=tmp_path,
        secret=SecretStr(secrets.token_hex(32)),
        kafka=cluster.bootstrap,
        clickhouse=clickhouse,
        replication_factor=3,
        min_insync_replicas=2,
        raw_partitions=3,
        collection_partitions=3,
        settle_seconds=0.5,
        sink_flush_seconds=0.2,
        health_port=PORTS.claim(21343),
    )


class Sink:
    """A sink that is started again where it has ended by itself."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self._settings, self.log = settings, log
        self._process = start_sink(settings, log)

    def keep(self) -> None:
        """Start it again where it has ended."""
        code = self._process.poll()
        if code is not None:
            assert code == 1, self.log.read_text()[-4000:]
            self._process = start_sink(self._settings, self.log)

    def end(self) -> int:
        """SIGTERM; the exit code."""
        self._process.terminate()
        return self._process.wait(20)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()


class Clients:
    """Send events without a pause, each again, as it was, until it is answered with success."""

    def __init__(self, url: str, project: Project) -> None:
        self._path = f"{url}/3.0/projects/{project.id}/events/c"
        self._headers = {"Authorization": project.write_key}
        self._stop = threading.Event()
        self.stored: set[int] = set()
        self.unavailable = 0  # answers of 503
        self.unexpected: set[int] = set()  # other answers
        self._threads = [threading.Thread(target=self._send, args=(first,)) for first in range(CLIENTS)]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send meanwhile; what is under way at the end is sent to its end."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(LIMIT)

    def _send(self, n: int) -> None:
        with httpx.Client(headers=self._headers, timeout=30, trust_env=False) as http:
            while not self._stop.is_set():
                time_ = (START + timedelta(seconds=n)).isoformat()
                body = {"n": n, "keen": {"uniqueness_token": f"event {n}", "timestamp": time_}}
                while (status := http.post(self._path, json=body).status_code) != httpx.codes.CREATED:
                    if status == httpx.codes.SERVICE_UNAVAILABLE:
                        self.unavailable += 1
                    else:
                        self.unexpected.add(status)
                    time.sleep(0.05)  # as a client does that was told to try later
                self.stored.add(n)
                n += CLIENTS


def replicas(settings: Settings) -> list[Check]:
    """What doctor says of replicas, for each topic of which it has something to say."""
    found = examine(Deployment(settings, event_seconds=None))
    return [check for check in found if "replicas are in sync" in check.said or "no broker leads" in check.said]


def test_brokers_are_killed_one_by_one_and_two_at_once(cluster: Cluster, settings: Settings, tmp_path: Path) -> None:
    with running_collector(settings, tmp_path) as collector, closing(Tables(settings)) as tables:
        project, table = collector.project, Collection(collector.project.id, "c")
        worker, sink = ProcessorProcess(settings, "processor", tmp_path), Sink(settings, tmp_path / "sink.log")
        clients = Clients(collector.url, project)

        def visible() -> int:
            sink.keep()
            return tables.count(table)

        def goes_on() -> None:
            """More events are answered, and more are visible, than now."""
            answered, seen = len(clients.stored), visible()
            wait_until(lambda: len(clients.stored) > answered + SOME, LIMIT)
            wait_until(lambda: visible() > seen + SOME, LIMIT)

        try:
            worker.wait_ready()
            with clients.running():
                goes_on()
                assert replicas(settings) == []
                first = cluster.leader(raw_topic(settings), 0)
                for number in sorted(NUMBERS, key=lambda each: each != first):
                    cluster.kill(number)
                    goes_on()
                    told = wait_until(partial(replicas, settings), LIMIT)
                    assert {(check.outcome, check.said) for check in told} == {
                        ("warning", "2 of 3 replicas are in sync")
                    }
                    cluster.start(number)
                    wait_until(lambda: not replicas(settings), LIMIT)
                    goes_on()
                assert not clients.unexpected

                refused = clients.unavailable
                for number in NUMBERS[:2]:
                    cluster.kill(number)
                wait_until(lambda: clients.unavailable > refused + CLIENTS, LIMIT)
                for number in NUMBERS[:2]:
                    cluster.start(number)
                goes_on()
            assert not clients.unexpected
            raw = raw_records(settings, project.id)
            state = wait_processed(settings, len(raw), LIMIT)
            assert state.events(project.id, "c") == len(raw)
            sent = clients.stored
            wanted = [(len(sent), len(sent), sum(sent))]
            wait_until(lambda: visible() >= len(sent), LIMIT)
            assert tables.rows(table, "count(), uniqExact(id), sum(properties.n::Int64)") == wanted
            assert worker.end() == 0
            assert sink.end() == 0
        finally:
            worker.kill()
            sink.kill()
        assert collector.child
        assert collector.child.exit_code() is None
    for said in (worker.log, sink.log, collector.log):
        assert "Traceback" not in said.read_text()
