"""The services of a local stack, as data: how each is started, when it counts as ready, and in what order they come."""

import http.client
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import httpx
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from headwater.local.kafka import KafkaNode
from headwater.local.ports import reachable
from headwater.settings import PREFIX, Settings

PROBE_SECONDS = 1.0
ANSWER_SECONDS = 5.0
ENGINE_PASSWORD = "HEADWATER_ENGINE_PASSWORD"  # noqa: S105 - the variable's name, no password
Probe = Callable[[], bool]


@dataclass(frozen=True)
class Service:
    """One child of the supervisor. `probe` and `prepare` may block: `probe` for about PROBE_SECONDS at most."""

    name: str
    stage: int  # Kafka and ClickHouse come first, the others when these are ready; stopped in reverse
    command: Sequence[str]
    environment: Mapping[str, str]
    log_file: Path
    port: int
    probe: Probe
    prepare: Callable[[], None] = lambda: None  # before the first start
    stop_seconds: float = 20.0  # how long it may take to end after SIGTERM


BACKENDS, COLLECTING, PROCESSING, SINKING = range(4)


def kafka_service(folder: Path, logs: Path, port: int, controller_port: int, jars: list[Path]) -> Service:
    """Our own Kafka."""
    node = KafkaNode(folder, logs / "kafka.log", port, controller_port)
    return Service(
        name="kafka",
        stage=BACKENDS,
        command=node.command(),
        environment=node.environment(jars),
        log_file=node.log_file,
        port=port,
        probe=kafka_probe(node.bootstrap),
        prepare=lambda: node.prepare(jars),
    )


def clickhouse_service(folder: Path, logs: Path, port: int, password: str) -> Service:
    """Our own embedded ClickHouse engine."""
    return Service(
        name="clickhouse",
        stage=BACKENDS,
        command=[sys.executable, "-m", "headwater.local.clickhouse", "--path", str(folder), "--port", str(port)],
        environment=os.environ | {ENGINE_PASSWORD: password},
        log_file=logs / "clickhouse.log",
        port=port,
        probe=http_probe("127.0.0.1", port, "/ping"),
    )


def headwater_services(settings: Settings, logs: Path, health_ports: Mapping[str, int]) -> list[Service]:
    """Collector and API on one port, and the workers named in `health_ports`, with these settings."""

    def service(name: str, stage: int, command: Sequence[str], own: Settings, probe_host: str, port: int) -> Service:
        return Service(
            name=name,
            stage=stage,
            command=[sys.executable, "-m", "headwater.cli", *command],
            environment=_environment(own),
            log_file=logs / f"{name}.log",
            port=port,
            probe=http_probe(probe_host, port, "/readyz"),
        )

    host = reachable(settings.host)
    http = settings.model_copy(update={"worker_name": "http"})
    services = [service("http", COLLECTING, ["serve", "all"], http, host, settings.port)]
    for name, port in health_ports.items():
        kind, stage = ("sink", SINKING) if name == "sink" else ("processor", PROCESSING)
        own = settings.model_copy(update={"worker_name": name, "health_port": port})
        services.append(service(name, stage, ["worker", kind], own, host, port))
    return services


def _environment(settings: Settings) -> dict[str, str]:
    """Our environment with these settings in the place of what it had of them."""
    plain = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if value is not None:
            plain[PREFIX + name.upper()] = (
                value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
            )
    return plain


def http_probe(host: str, port: int, path: str) -> Probe:
    """Whether GET answers 200 within a second."""

    def probe() -> bool:
        connection = http.client.HTTPConnection(host, port, timeout=PROBE_SECONDS)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return probe


class ClickHouseProblem(NamedTuple):
    """Why a ClickHouse cannot be used, and whether waiting may help: it does not where it refuses the user."""

    reason: str
    may_pass: bool


def clickhouse_problem(url: str) -> ClickHouseProblem | None:
    """What keeps one from using a ClickHouse with this URL's user and password; None for nothing. Blocks up to ANSWER_SECONDS."""
    try:
        answer = httpx.get(url, params={"query": "SELECT 1"}, timeout=ANSWER_SECONDS, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return ClickHouseProblem(str(error) or type(error).__name__, may_pass=True)
    if answer.is_success:
        return None
    return ClickHouseProblem(f"{answer.status_code}, {answer.text[:300].strip()}", may_pass=answer.is_server_error)


def kafka_probe(bootstrap: str) -> Probe:
    """Whether Kafka answers for its brokers within a second."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 500})

    def probe() -> bool:
        with suppress(KafkaException):
            return bool(admin.list_topics(timeout=PROBE_SECONDS).brokers)
        return False

    return probe
