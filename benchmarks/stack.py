"""What benchmarks run against: a Kafka and a ClickHouse engine of their own, in a temporary folder, and child processes."""

import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import httpx
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from headwater.local.child import Child
from headwater.local.kafka import KafkaNode
from headwater.local.kafka_files import fetch_kafka
from headwater.local.ports import Ports
from headwater.settings import PREFIX, Settings, load_settings

FIRST_PORT = 23_000
START_SECONDS = 90.0
STOP_SECONDS = 20.0

T = TypeVar("T")


class BenchmarkError(Exception):
    """A benchmark cannot be run; the message says why."""


def wait_for(condition: Callable[[], T], seconds: float, what: str, every: float = 0.05) -> T:
    """Call `condition` until it gives something true; return that. Raises BenchmarkError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{what}: not within {seconds:g} s")
        time.sleep(every)


class Stack:
    """Ports, child processes and settings of one benchmark, all gone when it is closed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = Ports()
        self._exits = ExitStack()
        self._exits.callback(self.ports.close)
        self._kafka: str | None = None
        self._clickhouse: str | None = None
        self.clickhouse_pid: int | None = None

    def __enter__(self) -> "Stack":
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def start_kafka(self) -> None:
        """A real Kafka, empty."""
        jars = fetch_kafka()
        port, controller = self.ports.claim(FIRST_PORT), self.ports.claim(FIRST_PORT)
        node = KafkaNode(self.folder / "kafka", self.folder / "kafka.log", port, controller)
        node.prepare(jars)
        child = Child(node.command(), node.environment(jars), self.folder / "kafka.out")
        self._exits.callback(child.stop, STOP_SECONDS)
        wait_for(lambda: _kafka_answers(node.bootstrap), START_SECONDS, f"Kafka (log: {node.log_file})")
        self._kafka = node.bootstrap

    def start_clickhouse(self, data: Path | None = None) -> None:
        """The embedded engine on a folder of data, kept afterwards; without one, empty."""
        password, port = secrets.token_hex(16), self.ports.claim(FIRST_PORT)
        log = self.folder / "clickhouse.log"
        folder = str(data or self.folder / "clickhouse")
        command = [sys.executable, "-m", "headwater.local.clickhouse", "--path", folder, "--port", str(port)]
        child = Child(command, os.environ | {f"{PREFIX}ENGINE_PASSWORD": password}, log)
        self._exits.callback(child.stop, STOP_SECONDS)
        wait_for(lambda: _answers(f"http://127.0.0.1:{port}/ping"), START_SECONDS, f"ClickHouse (log: {log})")
        self._clickhouse = f"http://default:{password}@127.0.0.1:{port}"
        self.clickhouse_pid = child.pid

    def deployment(self) -> Settings:
        """Settings of a fresh deployment on this stack."""
        prefix = f"bench-{secrets.token_hex(4)}"
        addresses = {"kafka": self._kafka, "clickhouse": self._clickhouse}
        return load_settings(
            data_dir=self.folder / prefix,
            secret=secrets.token_hex(32),
            topic_prefix=prefix,
            log_level="warning",
            **{name: address for name, address in addresses.items() if address is not None},
        )

    @contextmanager
    def running(self, settings: Settings, *arguments: str, python: Path | None = None) -> Iterator["Running"]:
        """`python -m ARGUMENTS` with these settings, by another interpreter where one is given; ended on leaving."""
        with closing(Running(settings, self.folder, *arguments, python=python)) as running:
            yield running

    @contextmanager
    def service(self, settings: Settings, *arguments: str) -> Iterator[tuple[Child, int]]:
        """`headwater ARGUMENTS`, as it is run in production, and its port; ready when this returns, ended on leaving."""
        port_name = "port" if arguments[0] == "serve" else "health_port"
        with self._listening(settings, port_name, "headwater.cli", *arguments) as listening:
            yield listening

    @contextmanager
    def http_peer(self, settings: Settings, module: str) -> Iterator[tuple[Child, int]]:
        """`python -m MODULE`, which serves HTTP and any GET with 200, and its port."""
        with self._listening(settings, "port", module) as listening:
            yield listening

    @contextmanager
    def _listening(self, settings: Settings, port_name: str, *arguments: str) -> Iterator[tuple[Child, int]]:
        port = self.ports.claim(FIRST_PORT)
        with closing(Running(settings.model_copy(update={port_name: port}), self.folder, *arguments)) as running:
            ready = f"http://127.0.0.1:{port}/readyz"
            wait_for(lambda: running.check() and _answers(ready), START_SECONDS, " ".join(arguments))
            yield running.child, port


class Running:
    """A child process with settings in its environment."""

    def __init__(self, settings: Settings, folder: Path, *arguments: str, python: Path | None = None) -> None:
        self._name = " ".join(arguments)
        self._log = folder / f"{settings.topic_prefix}-{'-'.join(arguments[:3])}.log".replace("/", "_")
        self.child = Child([str(python or sys.executable), "-m", *arguments], environment(settings), self._log)

    def check(self) -> bool:
        """True while it runs. Raises BenchmarkError with the end of its log when it has ended."""
        if self.child.exit_code() is not None:
            raise BenchmarkError(f"{self._name} ended: {self._log.read_text()[-2000:]}")
        return True

    def close(self) -> None:
        """End it."""
        self.child.stop(STOP_SECONDS)


def environment(settings: Settings) -> dict[str, str]:
    """The environment of a service with these settings."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        if value is not None:
            plain[PREFIX + name.upper()] = str(value.get_secret_value() if name == "secret" else value)
    return plain


def _kafka_answers(bootstrap: str) -> bool:
    with suppress(KafkaException):
        return bool(AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(timeout=2).brokers)
    return False


def _answers(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(url, timeout=2).status_code == 200
    return False
