"""The stack under test: real processes of the product, each on a way of its own to Kafka and ClickHouse that can be broken."""

import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx
import psutil
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from headwater.control import ControlWriter, Project
from headwater.kafka import create_base_topics
from headwater.local.child import Child
from headwater.local.kafka import KafkaNode
from headwater.local.kafka_files import fetch_kafka
from headwater.local.ports import Ports
from headwater.settings import PREFIX, Settings, load_settings
from tests.faults.matrix.proxy import Proxy
from tests.local_http import HTTP

ROOT = Path(__file__).parents[3]
FIRST_PORT = 24_000
START_SECONDS = 120.0
STOP_SECONDS = 20.0
ROUTES = ("http", "processor-1", "sink-1")  # the services whose way to Kafka can be broken; all others go straight
PROCESSORS, SINKS = 2, 1
PROGRAMS = dict.fromkeys(("serve", "processor", "sink"), "headwater.cli")

T = TypeVar("T")


class FaultError(Exception):
    """A fault cannot be injected here, or the stack cannot be had: no verdict. The message says why."""


def wait_for(condition: Callable[[], T], seconds: float, what: str, every: float = 0.05) -> T:
    """Call `condition` until it gives something true; return that. Raises FaultError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise FaultError(f"{what}: not within {seconds:g} s")
        time.sleep(every)


@dataclass(frozen=True)
class RoutedNode(KafkaNode):
    """A Kafka node with a listener for each route, whose address, as clients are told it, is a proxy's."""

    routes: tuple[tuple[str, int, int], ...] = ()  # name, port, the proxy's port
    more: tuple[tuple[str, str], ...] = ()

    def _configuration(self) -> dict[str, object]:
        plain = super()._configuration()
        listeners = [f"{name}://127.0.0.1:{port}" for name, port, _ in self.routes]
        advertised = [f"{name}://127.0.0.1:{proxy}" for name, _, proxy in self.routes]
        protocols = [f"{name}:PLAINTEXT" for name, _, _ in self.routes]
        return (
            plain
            | {
                "listeners": ",".join([str(plain["listeners"]), *listeners]),
                "advertised.listeners": ",".join([str(plain["advertised.listeners"]), *advertised]),
                "listener.security.protocol.map": ",".join([str(plain["listener.security.protocol.map"]), *protocols]),
                "inter.broker.listener.name": "PLAINTEXT",
            }
            | dict(self.more)
        )


@dataclass
class Process:
    """One process of the stack: how it is started, and what runs now."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    ready: Callable[[], bool]
    child: Child | None = None
    started: int = 0

    def start(self) -> None:
        """Start it; does not wait until it is ready."""
        self.child = Child(self.command, self.environment, self.log)
        self.started += 1

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.child is not None and self.child.exit_code() is None

    def signal(self, number: int) -> None:
        """Send a signal to the process and what it started. Raises FaultError where it has ended."""
        if not self.running:
            raise FaultError(f"{self.name} had ended before the fault: {self.tail()}")
        assert self.child is not None
        os.killpg(self.child.pid, number)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        if self.child is not None:
            self.child.kill()

    def terminate(self, seconds: float = STOP_SECONDS) -> bool:
        """SIGTERM, and wait for the end; False where it had to be killed."""
        return self.child is None or self.child.stop(seconds)

    def stopped(self) -> bool:
        """Whether SIGSTOP holds it."""
        assert self.child is not None
        return psutil.Process(self.child.pid).status() == psutil.STATUS_STOPPED

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-1500:] if self.log.exists() else "no log"


@dataclass
class Options:
    """What a stack may have that others have not."""

    kafka_folder: Path | None = None  # where Kafka's records are to be
    preload: str = ""  # LD_PRELOAD of the services
    environment: dict[str, str] = field(default_factory=dict)


class Stack:
    """Kafka, ClickHouse, the collector with the API, processors and sinks. Closed, all is gone."""

    def __init__(self, folder: Path, options: Options | None = None) -> None:
        self.folder = folder
        self.options = options or Options()
        self._programs = dict(PROGRAMS)
        self.processes: dict[str, Process] = {}
        self.kafka_routes: dict[str, Proxy] = {}
        self._ports = Ports()
        claim = lambda: self._ports.claim(FIRST_PORT)  # noqa: E731
        self._jars = fetch_kafka()
        inner = {name: claim() for name in ROUTES}
        outer = {name: claim() for name in ROUTES}
        self.node = RoutedNode(
            self.options.kafka_folder or folder / "kafka",
            folder / "kafka.log",
            claim(),
            claim(),
            tuple((name.upper().replace("-", "_"), inner[name], outer[name]) for name in ROUTES),
        )
        engine, engine_proxy = claim(), claim()
        password = secrets.token_hex(16)
        self.settings = load_settings(
            data_dir=folder,
            secret=secrets.token_hex(32),
            kafka=self.node.bootstrap,
            clickhouse=f"http://default:{password}@127.0.0.1:{engine}",
            topic_prefix="faults",
            raw_partitions=4,
            collection_partitions=2,
            port=claim(),
        )
        self.url = f"http://127.0.0.1:{self.settings.port}"
        try:
            self.clickhouse_route = Proxy(engine_proxy, engine)
            for name in ROUTES:
                self.kafka_routes[name] = Proxy(outer[name], inner[name])
            self._outer = outer
            self._routed_clickhouse = f"http://default:{password}@127.0.0.1:{engine_proxy}"
            self._add_kafka()
            self._add_engine(engine, password)
            self._wait("kafka", "clickhouse")
            create_base_topics(self.settings)
            self.control = ControlWriter(self.settings)
            self._add_service("http", "serve", ["serve", "all"])
            self.start_base()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Stack":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything."""
        with suppress(AttributeError):
            self.control.close()
        for process in reversed(list(self.processes.values())):
            process.kill()
        for proxy in [
            *self.kafka_routes.values(),
            *([self.clickhouse_route] if hasattr(self, "clickhouse_route") else []),
        ]:
            proxy.close()
        self._ports.close()

    # Services

    def workers(self, kind: str) -> list[Process]:
        """The processors or sinks that there are, by their numbers."""
        return [process for name, process in self.processes.items() if name.startswith(f"{kind}-")]

    def scale(self, kind: str, count: int) -> list[str]:
        """So many processors or sinks: those beyond are told to end, new ones are started. Does not wait until they are ready.

        Returns who did not end by itself.
        """
        there = self.workers(kind)
        killed = []
        for process in there[count:]:
            if not process.terminate():
                killed.append(process.name)
            del self.processes[process.name]
        for number in range(len(there), count):
            self._add_service(f"{kind}-{number + 1}", kind, ["worker", kind])
        return killed

    def start_base(self) -> None:
        """The stack as it is without a fault: all ways open, every process there and ready. Raises FaultError."""
        for proxy in (*self.kafka_routes.values(), self.clickhouse_route):
            proxy.heal()
        for process in list(self.processes.values()):
            if process.running:
                process.signal(signal.SIGCONT)
            else:
                process.start()
        self.scale("processor", PROCESSORS)
        self.scale("sink", SINKS)
        self._wait(*self.processes)

    def run_programs(self, programs: Mapping[str, str]) -> None:
        """Let these programs run in the place of the product's, and the product's everywhere else; ends and starts what ran another."""
        wanted = PROGRAMS | dict(programs)
        changed = [kind for kind in wanted if wanted[kind] != self._programs[kind]]
        self._programs = wanted
        for kind in changed:
            for process in self.workers(kind):
                process.terminate()
                process.command = self._command(kind, ["worker", kind])
                process.start()
        self._wait(*self.processes)

    @property
    def ready(self) -> bool:
        """Whether every process is ready."""
        return all(process.running and process.ready() for process in self.processes.values())

    def keep_up(self) -> None:
        """Start again what has ended, as a supervisor does."""
        for process in self.processes.values():
            if not process.running:
                process.start()

    def project(self, name: str, window: str) -> Project:
        """A new project, with this window of ids."""
        return self.control.change_settings(self.control.create_project(name).id, {"ids.window": window})

    def logs(self) -> dict[str, Path]:
        """Each service's log."""
        return {name: process.log for name, process in self.processes.items()}

    def _wait(self, *names: str) -> None:
        for name in names:
            process = self.processes[name]

            def ready(process: Process = process) -> bool:
                if not process.running:
                    raise FaultError(f"{process.name} ended: {process.tail()}")
                return process.ready()

            wait_for(ready, START_SECONDS, f"{name} (log: {process.log})")

    def _add_kafka(self) -> None:
        try:
            self.node.prepare(self._jars)
        except OSError as error:
            raise FaultError(f"Kafka's folder: {error}") from error
        self._add(
            "kafka", self.node.command(), self.node.environment(self._jars), lambda: kafka_answers(self.node.bootstrap)
        )

    def _add_engine(self, port: int, password: str) -> None:
        command = [sys.executable, "-m", "headwater.local.clickhouse", "--path", str(self.folder / "clickhouse")]
        environment = os.environ | {f"{PREFIX}ENGINE_PASSWORD": password}
        ping = f"http://127.0.0.1:{port}/ping"
        self._add("clickhouse", [*command, "--port", str(port)], environment, lambda: answers(ping))

    def _add_service(self, name: str, kind: str, arguments: list[str]) -> None:
        changes: dict[str, object] = {"worker_name": name, "clickhouse": self._routed_clickhouse}
        if name in self._outer:
            changes["kafka"] = f"127.0.0.1:{self._outer[name]}"
        port = self.settings.port
        if kind != "serve":
            changes["health_port"] = port = self._ports.claim(FIRST_PORT)
        environment = settings_environment(self.settings.model_copy(update=changes)) | self.options.environment
        environment["PYTHONPATH"] = str(ROOT)
        if self.options.preload:
            environment["LD_PRELOAD"] = self.options.preload
        self._add(name, self._command(kind, arguments), environment, lambda: answers(f"http://127.0.0.1:{port}/readyz"))

    def _command(self, kind: str, arguments: list[str]) -> list[str]:
        return [sys.executable, "-m", self._programs[kind], *arguments]

    def _add(self, name: str, command: list[str], environment: dict[str, str], ready: Callable[[], bool]) -> None:
        process = Process(name, command, environment, self.folder / f"{name}.out", ready)
        self.processes[name] = process
        process.start()


def settings_environment(settings: Settings) -> dict[str, str]:
    """The environment of a process with these settings, and none of ours."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        plain[PREFIX + name.upper()] = value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
    return plain


def kafka_answers(bootstrap: str) -> bool:
    """Whether Kafka there answers for its brokers."""
    with suppress(KafkaException):
        return bool(AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(timeout=2).brokers)
    return False


def answers(url: str) -> bool:
    """Whether a GET is answered 200 within two seconds."""
    with suppress(httpx.HTTPError):
        return HTTP.get(url, timeout=2).status_code == 200
    return False


def metric(url: str, name: str) -> float:
    """The sum of a metric's samples at a service's /metrics; 0 where there is none."""
    lines = HTTP.get(f"{url}/metrics", timeout=5).text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)
