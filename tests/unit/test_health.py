"""A worker's health server."""

import urllib.error
import urllib.request

import pytest

from headwater.health import serve_health


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
    server = serve_health("127.0.0.1", 0, lambda: ready, lambda: alive)
    try:
        assert (status(server.server_port, "/readyz"), status(server.server_port, "/livez")) == expected
        assert status(server.server_port, "/metrics") == 200
        assert status(server.server_port, "/other") == 404
    finally:
        server.shutdown()
        server.server_close()
