"""The HTTP server: one process, one port, ended by a signal."""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from headwater.local.child import Child
from headwater.settings import Settings
from tests.collecting import SERVE, Collector, environment, running_collector
from tests.waiting import wait_until

EXIT_SECONDS = 10.0


@pytest.fixture
def collector(kafka_settings: Settings, tmp_path: Path) -> Iterator[Collector]:
    with running_collector(kafka_settings, tmp_path) as running:
        yield running


def exit_code(child: Child) -> int:
    """The code that the child ends with, soon."""
    wait_until(lambda: child.exit_code() is not None, EXIT_SECONDS)
    code = child.exit_code()
    assert code is not None
    return code


def test_a_signal_ends_it_in_spite_of_idle_connections(collector: Collector) -> None:
    child = collector.child
    assert child
    with socket.create_connection(("127.0.0.1", collector.settings.port)) as idle:
        idle.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(100).startswith(b"HTTP/1.1 200")
        child.terminate()
        assert exit_code(child) == 0


def test_a_connection_that_ends_says_so(collector: Collector) -> None:
    """Answers that come before the body was read: the server closes then, and the next request must not be lost to it."""
    url, key = f"{collector.url}/3.0/projects/{collector.project.id}/events", collector.project.write_key
    large = b'{"c":[' + b"1," * 500_000 + b"1]}"
    early = (
        ("POST", url, {"authorization": "no such key"}, 401),
        ("POST", f"{collector.url}/nowhere", {}, 404),
        ("PUT", url, {}, 405),
        ("OPTIONS", url, {}, 204),
        ("GET", f"{url}/c?data=e30=", {"authorization": key}, 200),
    )
    with httpx.Client(timeout=15, trust_env=False) as http:
        for _ in range(20):
            for method, where, headers, status in early:
                answer = http.request(method, where, content=large, headers=headers)
                assert (answer.status_code, answer.headers.get("connection")) == (status, "close")
                fine = http.post(f"{url}/c", content=b"{}", headers={"authorization": key})
                assert (fine.status_code, fine.headers.get("connection")) == (201, None)


def test_a_request_under_way_is_finished(collector: Collector) -> None:
    body = b'{"a": 1}'
    head = (
        f"POST /3.0/projects/{collector.project.id}/events/c HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: {collector.project.write_key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    child = collector.child
    assert child
    with socket.create_connection(("127.0.0.1", collector.settings.port)) as under_way:
        under_way.sendall(head.encode() + body[:4])
        assert httpx.get(f"{collector.url}/livez").status_code == 200  # so the server has read what was sent before
        child.terminate()
        time.sleep(0.1)  # whenever the rest comes, the answer has to be whole
        under_way.sendall(body[4:])
        under_way.settimeout(EXIT_SECONDS)
        answer = b""
        while chunk := under_way.recv(10_000):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 201")
    assert answer.endswith(b'{"created":true}')
    assert exit_code(child) == 0


def test_a_kill_leaves_no_process_and_no_port(collector: Collector) -> None:
    child = collector.child
    assert child
    children = psutil.Process(child.pid).children(recursive=True)
    os.kill(child.pid, signal.SIGKILL)
    assert exit_code(child) == -signal.SIGKILL
    assert not psutil.wait_procs(children, EXIT_SECONDS)[1]
    collector.start()
    assert httpx.get(f"{collector.url}/readyz").status_code == 200


def test_a_port_is_not_shared(collector: Collector, tmp_path: Path) -> None:
    log = tmp_path / "second.log"
    second = Child([sys.executable, "-c", SERVE], environment(collector.settings), log)
    try:
        assert exit_code(second) == 1
    finally:
        second.kill()
    assert f"Cannot listen on 127.0.0.1:{collector.settings.port}" in log.read_text()
    assert httpx.get(f"{collector.url}/livez").status_code == 200


def test_another_secret_stops_the_start(collector: Collector, tmp_path: Path) -> None:
    collector.kill()
    log = tmp_path / "other.log"
    other = Child(
        [sys.executable, "-c", SERVE], environment(collector.settings) | {"HEADWATER_SECRET": "another " * 8}, log
    )
    try:
        wait_until(lambda: other.exit_code() is not None, 60)
        assert other.exit_code() == 1
    finally:
        other.kill()
    assert "HEADWATER_SECRET is not the secret" in log.read_text()
