"""What one statement may take, who may end it, and that many share one engine."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from tests.integration.local.clickhouse.conftest import EngineServer
from tests.waiting import wait_until

FOREVER = "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1"


def code(answer: httpx.Response) -> str:
    return answer.headers.get("X-ClickHouse-Exception-Code", "0")


def running(http: httpx.Client) -> int:
    answer = http.post("/", content="SELECT count() FROM system.processes WHERE query NOT LIKE '%system.processes%'")
    return int(answer.text)


def test_a_query_ends_after_its_time(http: httpx.Client) -> None:
    started = time.monotonic()
    answer = http.post("/", content=FOREVER, params={"max_execution_time": "0.5"})
    assert (answer.status_code, code(answer)) == (408, "159")
    assert time.monotonic() - started < 10


def test_a_query_ends_at_its_memory(http: httpx.Client) -> None:
    query = "SELECT length(groupArray(number)) FROM numbers(100000000)"
    answer = http.post("/", content=query, params={"max_memory_usage": "100000000"})
    assert (answer.status_code, code(answer)) == (500, "241")


def test_defaults_bound_every_query(start: Callable[..., EngineServer]) -> None:
    server = start("small", "--memory", "700", "--query-memory", "200", "--query-seconds", "1")
    with server.http() as http:
        assert code(http.post("/", content=FOREVER)) == "159"
        hungry = "SELECT length(groupArray(number)) FROM numbers(1000000000)"
        answer = http.post("/", content=hungry, params={"max_execution_time": "0"})
        assert code(answer) == "241"
        assert "200.00 MiB" in answer.text
        # Beyond its own limit the server's holds.
        answer = http.post("/", content=hungry, params={"max_memory_usage": "0", "max_execution_time": "0"})
        assert code(answer) == "241"
        assert "700.00 MiB" in answer.text
        assert http.post("/", content="SELECT 1").text == "1\n"


def test_kill_query_by_the_clients_query_id(server: EngineServer, http: httpx.Client) -> None:
    with ThreadPoolExecutor(1) as pool, server.http() as victim:
        future = pool.submit(victim.post, "/", content=FOREVER, params={"query_id": "the victim's"})
        wait_until(lambda: running(http) == 1)
        again = http.post("/", content="SELECT 1", params={"query_id": "the victim's"})
        assert code(again) == "216"
        answer = http.post("/", content="KILL QUERY WHERE query_id = 'the victim\\'s' SYNC FORMAT JSON")
        assert answer.status_code == 200, answer.text
        assert code(future.result(timeout=20)) == "394"
    assert running(http) == 0


def test_a_query_ends_when_its_client_leaves(server: EngineServer, http: httpx.Client) -> None:
    with server.http() as leaving, pytest.raises(httpx.ReadTimeout):
        leaving.post("/", content=FOREVER, timeout=0.5)
    wait_until(lambda: running(http) == 0, 10)


def test_a_streaming_query_ends_when_its_client_leaves(server: EngineServer, http: httpx.Client) -> None:
    with server.http() as leaving, leaving.stream("POST", "/", content="SELECT * FROM numbers(100000000000)") as answer:
        pieces = answer.iter_raw()  # held: letting go of it closes the connection
        next(pieces)
        wait_until(lambda: running(http) == 1, 10)
    wait_until(lambda: running(http) == 0, 10)


def test_a_slow_reader_holds_the_query_back_and_no_memory(server: EngineServer, http: httpx.Client) -> None:
    before = server.memory().memory_info().rss
    query = "SELECT number, repeat('x', 1000) FROM numbers(1000000) SETTINGS max_block_size = 1000"
    with http.stream("POST", "/", content=query) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        with server.http() as other:
            assert other.post("/", content="SELECT 1").text == "1\n"
            wait_until(lambda: running(other) == 1, 10)
        assert server.memory().memory_info().rss - before < 150e6
        assert sum(map(len, pieces)) > 900e6


def test_a_body_larger_than_its_share_of_memory_is_inserted(
    server: EngineServer, http: httpx.Client, database: str
) -> None:
    http.post("/", content=f"CREATE TABLE {database}.t (a UInt64, s String) ENGINE = Null").raise_for_status()
    line = b'{"a": 12345678, "s": "' + b"x" * 200 + b'"}\n'
    block = line * 4000
    # Small blocks, so that what is measured is the way of the body and not the engine's own buffers.
    params = {
        "input_format_parallel_parsing": "0",
        "max_insert_block_size": "20000",
        "min_insert_block_size_bytes": "8000000",
    }
    process = server.memory()
    before, peak, done = process.memory_info().rss, 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, process.memory_info().rss)

    def body() -> Iterator[bytes]:
        for _ in range(300):
            yield block

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        answer = http.post(
            "/", params=params | {"query": f"INSERT INTO {database}.t FORMAT JSONEachRow"}, content=body()
        )
        done.set()
        watching.result()
    assert answer.status_code == 200, answer.text
    assert '"written_rows":"1200000"' in answer.headers["X-ClickHouse-Summary"]
    assert len(block) * 300 > 250e6
    assert peak - before < 120e6


def test_many_readers_beside_a_writer(server: EngineServer, database: str) -> None:
    with server.http() as http:
        http.post(
            "/", content=f"CREATE TABLE {database}.t (a UInt64, b UInt64) ENGINE = MergeTree ORDER BY a"
        ).raise_for_status()
    stop = threading.Event()

    def write() -> int:
        with server.http() as http:
            for batch in range(60):
                rows = "\n".join(f"{batch * 100 + n}\t1" for n in range(100))
                answer = http.post("/", params={"query": f"INSERT INTO {database}.t FORMAT TSV"}, content=rows)
                assert answer.status_code == 200, answer.text
        stop.set()
        return 6000

    def read() -> int:
        last = queries = 0
        with server.http() as http:
            while not stop.is_set():
                count, total = http.post("/", content=f"SELECT count(), sum(b) FROM {database}.t").text.split()
                assert count == total
                assert int(count) % 100 == 0, "an insert is seen whole or not at all"
                assert int(count) >= last
                last, queries = int(count), queries + 1
        return queries

    with ThreadPoolExecutor(5) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        written = pool.submit(write).result(timeout=120)
        assert all(reader.result(timeout=30) > 0 for reader in readers)
    with server.http() as http:
        assert http.post("/", content=f"SELECT count() FROM {database}.t").text == f"{written}\n"


def test_nothing_is_left_in_the_spool(server: EngineServer, http: httpx.Client) -> None:
    http.post("/", content="SELEC")
    wait_until(lambda: running(http) == 0)
    assert wait_until(lambda: list((server.path / "spool").iterdir()) == [])
    assert psutil.Process(server.child.pid).num_fds() < 300
