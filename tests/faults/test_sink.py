"""The sink and the engine are killed, stopped and away: every event is stored, none is given up."""

import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from headwater.settings import Settings
from headwater.stopping import UNDONE
from sinks.datums import Collection
from tests.engine import Engine
from tests.local_http import HTTP
from tests.processing import PORTS
from tests.sinking import Tables, committed, dead_letters, encoded, new_collection, produce, start_sink
from tests.waiting import wait_until

LIMIT = 60.0
STOP_LIMIT = 20.0
SESSION_SECONDS = 10.0  # how long Kafka waits for a member that does not answer


@pytest.fixture
def deployment(kafka_settings: Settings, engine: Engine) -> Settings:
    """A deployment with this engine, whose sink has small batches, so that a fault meets many of them."""
    return kafka_settings.model_copy(
        update={"clickhouse": engine.url, "sink_flush_records": 500, "worker_name": "sink", "log_format": "json"}
    )


@contextmanager
def sink(settings: Settings, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A sink in a process of its own, killed at the end where it still runs."""
    process = start_sink(settings, log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def load(settings: Settings, collections: list[Collection], count: int) -> Iterator[None]:
    """Events are produced over a few seconds while the block runs; all of them are there when it ends."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            for part in range(10):
                for collection in collections:
                    start = part * count // 10
                    numbers = range(start, (part + 1) * count // 10)
                    produce(settings, collection, [encoded(collection, {"n": n}) for n in numbers])
                time.sleep(0.3)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert not failures


def has_committed(settings: Settings, collection: Collection, count: int) -> bool:
    return committed(settings, collection) == count


def complete(settings: Settings, tables: Tables, collections: list[Collection], count: int) -> None:
    """Waits until every event is committed, and holds that each is there once and that none was given up."""
    for collection in collections:
        wait_until(partial(has_committed, settings, collection, count), LIMIT)
        assert tables.rows(collection, "count(), uniqExact(properties.n), sum(properties.n.:Int64)") == [
            (count, count, count * (count - 1) // 2)
        ]
    assert dead_letters(settings) == []


def test_a_sink_that_was_killed_has_its_partitions_back_at_once(deployment: Settings, tmp_path: Path) -> None:
    collection, later = new_collection(), new_collection("later")
    with closing(Tables(deployment)) as tables:
        with sink(deployment, tmp_path / "sink.log"):
            produce(deployment, collection, [encoded(collection, {"n": 0})])
            wait_until(lambda: tables.count(collection) == 1, LIMIT)
        killed = time.monotonic()
        with sink(deployment, tmp_path / "sink.log"):
            produce(deployment, collection, [encoded(collection, {"n": 1})])
            wait_until(lambda: tables.count(collection) == 2, LIMIT)
            assert time.monotonic() - killed < SESSION_SECONDS
            produce(deployment, later, [encoded(later, {"n": 2})])
            wait_until(lambda: tables.count(later) == 1, LIMIT)


def test_a_collection_that_is_made_while_the_sink_is_away_is_stored(deployment: Settings, tmp_path: Path) -> None:
    collection, later = new_collection(), new_collection("later")
    with closing(Tables(deployment)) as tables:
        with sink(deployment, tmp_path / "sink.log"):
            produce(deployment, collection, [encoded(collection, {"n": 0})])
            wait_until(lambda: tables.count(collection) == 1, LIMIT)
        produce(deployment, later, [encoded(later, {"n": 1})])
        with sink(deployment, tmp_path / "sink.log"):
            wait_until(lambda: tables.count(later) == 1, LIMIT)


def test_an_engine_that_is_killed_in_a_load_loses_nothing(deployment: Settings, engine: Engine, tmp_path: Path) -> None:
    collections = [new_collection(name) for name in ("first", "second")]
    with sink(deployment, tmp_path / "sink.log"), closing(Tables(deployment)) as tables:
        with load(deployment, collections, 4000):
            for _ in range(2):
                time.sleep(1.0)
                engine.child.kill()
                engine.start()
        complete(deployment, tables, collections, 4000)


def test_an_engine_that_is_away_pauses_the_sink_and_is_said_once(
    deployment: Settings, engine: Engine, tmp_path: Path
) -> None:
    collection = new_collection()
    log = tmp_path / "sink.log"
    port = PORTS.claim(21323)
    watched = deployment.model_copy(update={"health_port": port})
    with sink(watched, log), closing(Tables(watched)) as tables:
        wait_until(lambda: status(port) == 200, LIMIT)
        produce(watched, collection, [encoded(collection, {"n": 0})])
        wait_until(lambda: tables.count(collection) == 1, LIMIT)
        engine.child.kill()
        produce(watched, collection, [encoded(collection, {"n": n}) for n in range(1, 20_000)])
        wait_until(lambda: metric(port, "headwater_sink_paused") == 1.0, LIMIT)
        wait_until(lambda: metric(port, "headwater_sink_lag_seconds") > 2.0, LIMIT)
        wait_until(lambda: set(unready(port)) == {"ClickHouse does not answer", "inserts fail"}, LIMIT)
        wait_until(lambda: metric(port, "headwater_sink_lag_records") == 19_999, LIMIT)
        assert committed(watched, collection) == 1
        engine.start()
        complete(watched, tables, [collection], 20_000)
        wait_until(lambda: status(port) == 200 and metric(port, "headwater_sink_paused") == 0.0, LIMIT)
    lines = log.read_text()
    assert lines.count("sink.inserts_fail") == lines.count("sink.inserting_again") == 1
    assert "Traceback" not in lines


def test_an_engine_that_hangs_does_not_cost_the_sink_its_place(
    deployment: Settings, engine: Engine, tmp_path: Path
) -> None:
    collection = new_collection()
    with sink(deployment, tmp_path / "sink.log") as process, closing(Tables(deployment)) as tables:
        produce(deployment, collection, [encoded(collection, {"n": 0})])
        wait_until(lambda: tables.count(collection) == 1, LIMIT)
        engine.signal(signal.SIGSTOP)
        produce(deployment, collection, [encoded(collection, {"n": n}) for n in range(1, 5_000)])
        time.sleep(SESSION_SECONDS + 2)  # longer than Kafka waits for a member: that time passes is the fault
        assert process.poll() is None
        engine.signal(signal.SIGCONT)
        complete(deployment, tables, [collection], 5_000)


def test_a_sink_that_is_told_to_stop_stores_what_it_has_and_exits_with_0(
    deployment: Settings, engine: Engine, tmp_path: Path
) -> None:
    collection = new_collection()
    port = PORTS.claim(21323)
    watched = deployment.model_copy(update={"health_port": port})
    with closing(Tables(watched)) as tables, sink(watched, tmp_path / "sink.log") as process:
        produce(watched, collection, [encoded(collection, {"n": 0})])
        wait_until(lambda: tables.count(collection) == 1, LIMIT)
        engine.signal(signal.SIGSTOP)  # so it has all of the others when it is told
        produce(watched, collection, [encoded(collection, {"n": n}) for n in range(1, 1000)])
        wait_until(lambda: metric(port, "headwater_sink_buffered_records") == 999, LIMIT)
        process.send_signal(signal.SIGTERM)
        engine.signal(signal.SIGCONT)
        assert process.wait(10) == 0
        assert tables.count(collection) == committed(watched, collection) == 1000


def test_a_sink_that_is_told_to_stop_while_the_engine_is_away_stops(
    deployment: Settings, engine: Engine, tmp_path: Path
) -> None:
    collection = new_collection()
    with sink(deployment, tmp_path / "sink.log") as process:
        with closing(Tables(deployment)) as tables:
            produce(deployment, collection, [encoded(collection, {"n": 0})])
            wait_until(lambda: tables.count(collection) == 1, LIMIT)
        engine.child.kill()
        produce(deployment, collection, [encoded(collection, {"n": 1})])
        wait_until(lambda: "sink.inserts_fail" in (tmp_path / "sink.log").read_text(), LIMIT)
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_LIMIT) == UNDONE
    last = (tmp_path / "sink.log").read_text().splitlines()[-1]
    assert "stopped before all was done" in last
    assert '"records_not_stored": 1' in last
    engine.start()
    with sink(deployment, tmp_path / "sink.log"), closing(Tables(deployment)) as tables:
        complete(deployment, tables, [collection], 2)


def test_a_sink_whose_name_is_taken_ends_and_says_so(deployment: Settings, tmp_path: Path) -> None:
    collection = new_collection()
    with sink(deployment, tmp_path / "first.log") as first, closing(Tables(deployment)) as tables:
        produce(deployment, collection, [encoded(collection, {"n": 0})])
        wait_until(lambda: tables.count(collection) == 1, LIMIT)
        with sink(deployment, tmp_path / "second.log"):
            assert first.wait(30) == 1
            produce(deployment, collection, [encoded(collection, {"n": 1})])
            wait_until(lambda: tables.count(collection) == 2, LIMIT)
    said = (tmp_path / "first.log").read_text()
    assert "HEADWATER_WORKER_NAME" in said
    assert "Traceback" not in said


def status(port: int) -> int:
    """The answer of /readyz; 0 for none."""
    try:
        return HTTP.get(f"http://127.0.0.1:{port}/readyz").status_code
    except httpx.TransportError:
        return 0


def unready(port: int) -> list[str]:
    """What /readyz says is wrong, without for how long."""
    answer = HTTP.get(f"http://127.0.0.1:{port}/readyz")
    first, *lines = answer.text.splitlines()
    assert (answer.status_code, first) == (503, "not ready")
    return [line.split(", for ")[0] for line in lines]


def metric(port: int, name: str) -> float:
    """A metric's value."""
    lines = HTTP.get(f"http://127.0.0.1:{port}/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))
