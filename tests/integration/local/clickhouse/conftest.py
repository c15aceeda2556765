"""Embedded engines of these tests' own, apart from the session-wide one: they are killed, filled and limited here."""

import os
import re
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import clickhouse_connect
import httpx
import psutil
import pytest
from clickhouse_connect.driver.client import Client

from headwater.local.child import Child
from tests.waiting import wait_until

PASSWORD = "a password: with % and ü"


class EngineServer:
    """A running `python -m headwater.local.clickhouse` on a free port."""

    def __init__(self, path: Path, log: Path, *options: str) -> None:
        """Start it and wait until it answers."""
        self.path = path
        self._log = log
        before = log.stat().st_size if log.exists() else 0
        command = [sys.executable, "-m", "headwater.local.clickhouse", "--path", str(path), "--port", "0", *options]
        self.child = Child(command, os.environ | {"HEADWATER_ENGINE_PASSWORD": PASSWORD}, log)
        found = wait_until(lambda: self._port_line(before), 60)
        self.port = int(found.group(1))
        self.url = f"http://127.0.0.1:{self.port}"

    def _port_line(self, start: int) -> re.Match[str] | None:
        text = self.log()[start:]
        assert self.child.exit_code() is None, text
        return re.search(r"ready.*url=\S*http://127\.0\.0\.1:(\d+)", text)

    def log(self) -> str:
        """What it logged."""
        return self._log.read_text() if self._log.exists() else ""

    def http(self, **options: object) -> httpx.Client:
        """A plain HTTP client with the right credentials."""
        return httpx.Client(base_url=self.url, auth=("default", PASSWORD.encode()), timeout=60, **options)  # type: ignore[arg-type]  # passes options on

    def connect(self, **options: object) -> Client:
        """An unmodified clickhouse-connect client."""
        return clickhouse_connect.get_client(
            host="127.0.0.1", port=self.port, username="default", password=PASSWORD, **options
        )

    def memory(self) -> psutil.Process:
        """Its process, to look at."""
        return psutil.Process(self.child.pid)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., EngineServer]]:
    """Start engines on folders under the test's own; what still runs at the end is killed."""
    started: list[EngineServer] = []

    def start_one(name: str = "d a%41t&é", *options: str) -> EngineServer:
        started.append(EngineServer(tmp_path / name, tmp_path / f"{name}.log", *options))
        return started[-1]

    yield start_one
    for server in started:
        server.child.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineServer]:
    """One engine for all tests of a module that do it no harm; it must end cleanly."""
    folder = tmp_path_factory.mktemp("engine")
    running = EngineServer(folder / "data", folder / "log")
    try:
        yield running
        assert running.child.stop(30), running.log()
        assert running.child.exit_code() == 0, running.log()
    finally:
        running.child.kill()


@pytest.fixture
def http(server: EngineServer) -> Iterator[httpx.Client]:
    """A plain HTTP client of the module's engine."""
    with server.http() as client:
        yield client


@pytest.fixture
def database(http: httpx.Client) -> str:
    """A fresh database."""
    name = f"db_{secrets.token_hex(6)}"
    http.post("/", content=f"CREATE DATABASE {name}").raise_for_status()
    return name
