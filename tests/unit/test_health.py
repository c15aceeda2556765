"""A worker's health server."""

import socket
import struct
import threading
import urllib.error
import urllib.request

import pytest

from headwater.health import serve_health
from headwater.readiness import Trouble, answer


def status(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize(
    ("ready", "alive", "expected"), [(True, True, (200, 200)), (False, True, (503, 200)), (False, False, (503, 503))]
)
def test_it_says_what_the_worker_says(ready: bool, alive: bool, expected: tuple[int, int]) -> None:
    server = serve_health(
        "127.0.0.1", 0, (lambda: [] if ready else ["kafka: away"]), (lambda: [] if alive else ["stuck"])
    )
    try:
        assert (status(server.server_port, "/readyz"), status(server.server_port, "/livez")) == expected
        assert status(server.server_port, "/metrics") == 200
        assert status(server.server_port, "/other") == 404
    finally:
        server.shutdown()
        server.server_close()


def test_who_asks_and_goes_away_is_no_error(capfd: pytest.CaptureFixture[str]) -> None:
    gone, asked = threading.Event(), threading.Event()

    def unready() -> list[str]:
        asked.set()
        assert gone.wait(10)
        return ["x" * 10_000_000]  # more than a connection takes in without a reader

    server = serve_health("127.0.0.1", 0, unready)
    with socket.create_connection(("127.0.0.1", server.server_port)) as connection:
        connection.sendall(b"GET /readyz HTTP/1.1\r\n\r\n")
        assert asked.wait(10)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not a goodbye
    gone.set()
    try:
        assert status(server.server_port, "/livez") == 200
    finally:
        server.shutdown()
        server.server_close()
    handlers = [thread for thread in threading.enumerate() if "process_request_thread" in thread.name]
    for thread in handlers:
        thread.join(10)
    assert capfd.readouterr().err == ""


def test_a_probe_says_what_is_wrong() -> None:
    assert answer([]) == (200, b"ok\n")
    assert answer(["one thing", "another"]) == (503, b"not ready\none thing\nanother\n")


def test_trouble_lasts_from_the_first_failure_until_it_is_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("headwater.readiness.monotonic", lambda: now)
    trouble = Trouble()
    assert trouble.lines("it fails") == []
    trouble.failed()
    now = 103.0
    trouble.failed()
    assert trouble.seconds == 3.0
    assert trouble.lines("it fails") == ["it fails, for 3 s"]
    assert trouble.lines("it fails", after=3.5) == []
    trouble.mended()
    assert trouble.seconds is None
