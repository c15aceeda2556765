"""The engine's end, clean and not, and its data folder."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

from tests.integration.local.clickhouse.conftest import PASSWORD, EngineServer
from tests.waiting import wait_until


def ask(server: EngineServer, query: str) -> str:
    with server.http() as http:
        answer = http.post("/", content=query)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_what_was_acknowledged_is_there_after_kill_9(start: Callable[..., EngineServer]) -> None:
    server = start()
    ask(server, "CREATE DATABASE d")
    ask(server, "CREATE TABLE d.t (a UInt64, p JSON) ENGINE = ReplacingMergeTree ORDER BY a")
    acknowledged = 0

    def insert() -> int:
        nonlocal acknowledged
        with server.http() as http, suppress(httpx.HTTPError):
            for n in range(10_000):
                answer = http.post(
                    "/",
                    params={"query": "INSERT INTO d.t FORMAT JSONEachRow"},
                    content=f'{{"a": {n}, "p": {{"n": {n}}}}}',
                )
                assert answer.status_code == 200, answer.text
                acknowledged = n + 1
        return acknowledged

    with ThreadPoolExecutor(1) as pool:
        inserting = pool.submit(insert)
        wait_until(lambda: acknowledged >= 30)
        server.child.kill()
        known = inserting.result(timeout=30)
    again = start()
    count, total = map(int, ask(again, "SELECT count(), sum(p.n.:Int64) FROM d.t").split())
    assert known <= count <= known + 1  # one may have been written and not answered
    assert total == sum(range(count))
    assert wait_until(lambda: not any((again.path / "spool").iterdir()))


def test_sigterm_ends_it_cleanly_and_the_folder_opens_again(start: Callable[..., EngineServer]) -> None:
    server = start()
    ask(server, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
    ask(server, "INSERT INTO t VALUES (1)")
    with server.http() as idle:
        idle.get("/ping")  # a connection that stays open holds nothing up
        assert server.child.stop(15)
    assert server.child.exit_code() == 0
    assert "stopped" in server.log()
    assert ask(start(), "SELECT * FROM t") == "1\n"


def test_sigterm_cancels_what_does_not_end(start: Callable[..., EngineServer]) -> None:
    server = start()
    with ThreadPoolExecutor(1) as pool, server.http() as http:
        future = pool.submit(
            http.post, "/", content="SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1"
        )
        wait_until(lambda: ask(server, "SELECT count() FROM system.processes") == "2\n")
        psutil.Process(server.child.pid).send_signal(signal.SIGTERM)
        assert future.result(timeout=30).headers["X-ClickHouse-Exception-Code"] == "394"
        wait_until(lambda: server.child.exit_code() is not None)
    assert server.child.exit_code() == 0


def refused(path: Path, *options: str) -> str:
    command = [sys.executable, "-m", "headwater.local.clickhouse", "--path", str(path), "--port", "0", *options]
    environment = os.environ | {"HEADWATER_ENGINE_PASSWORD": PASSWORD}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_two_engines_cannot_have_one_folder(start: Callable[..., EngineServer]) -> None:
    server = start()
    assert f"pid {server.child.pid}" in refused(server.path)
    assert ask(server, "SELECT 1") == "1\n"


def test_a_folder_of_a_newer_engine_is_refused(tmp_path: Path) -> None:
    (tmp_path / "version.json").write_text(json.dumps({"layout": 1, "engine": "99.1.0"}))
    assert "newer than this one" in refused(tmp_path)


def test_a_port_in_use_is_said(start: Callable[..., EngineServer], tmp_path: Path) -> None:
    assert "Address already in use" in refused(tmp_path / "other", "--port", str(start().port))


def test_it_needs_a_password(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "headwater.local.clickhouse", "--path", str(tmp_path), "--port", "0"]
    environment = {name: value for name, value in os.environ.items() if name != "HEADWATER_ENGINE_PASSWORD"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "HEADWATER_ENGINE_PASSWORD" in ended.stderr


def test_the_password_is_in_no_file_and_not_in_the_log(start: Callable[..., EngineServer]) -> None:
    server = start()
    ask(server, "SELECT 1")
    assert PASSWORD not in server.log()
    assert all(PASSWORD.encode() not in file.read_bytes() for file in server.path.rglob("*") if file.is_file())
    assert PASSWORD not in " ".join(psutil.Process(server.child.pid).cmdline())
