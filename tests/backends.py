"""The Kafka and the ClickHouse that a test session runs against: our own, containers of the official images, or given ones.

Each function starts one, gives its address when it is ready, and ends it on leaving.
"""

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from headwater.local.child import Child
from headwater.local.kafka import VERSION, KafkaNode
from headwater.local.kafka_files import fetch_kafka
from headwater.local.ports import Ports
from tests.local_http import HTTP
from tests.waiting import wait_until

KAFKA_IMAGE = f"apache/kafka:{VERSION}"
CLICKHOUSE_IMAGE = "clickhouse/clickhouse-server:26.9"
KAFKA_PORT, CLICKHOUSE_PORT = 21092, 21123  # first choices, apart from those of `headwater up`
START_LIMIT = 90.0
# Read before any test runs: tests see none of the shell's settings.
EXTERNAL = {name: os.environ[name] for name in ("HEADWATER_KAFKA", "HEADWATER_CLICKHOUSE") if name in os.environ}


@contextmanager
def embedded_kafka(folder: Path) -> Iterator[str]:
    """Our own Kafka; gives its bootstrap address."""
    jars = fetch_kafka()
    with closing(Ports()) as ports:
        node = KafkaNode(folder / "kafka", folder / "kafka.log", ports.claim(KAFKA_PORT), ports.claim(KAFKA_PORT + 1))
        node.prepare(jars)
        child = Child(node.command(), node.environment(jars), folder / "kafka.out")
        try:
            wait_until(lambda: _running(child, folder / "kafka.log") and kafka_answers(node.bootstrap), START_LIMIT)
            yield node.bootstrap
        finally:
            child.stop(20.0)


@contextmanager
def embedded_clickhouse(folder: Path) -> Iterator[str]:
    """Our own embedded engine; gives its URL with user and password."""
    password, log = secrets.token_hex(16), folder / "clickhouse.log"
    with closing(Ports()) as ports:
        port = ports.claim(CLICKHOUSE_PORT)
        command = [
            sys.executable,
            "-m",
            "headwater.local.clickhouse",
            "--path",
            str(folder / "data"),
            "--port",
            str(port),
        ]
        child = Child(command, os.environ | {"HEADWATER_ENGINE_PASSWORD": password}, log)
        try:
            wait_until(lambda: _running(child, log) and clickhouse_answers(f"http://127.0.0.1:{port}"), START_LIMIT)
            yield f"http://default:{password}@127.0.0.1:{port}"
        finally:
            child.stop(20.0)


@contextmanager
def container_kafka() -> Iterator[str]:
    """Apache's image; gives its bootstrap address."""
    from testcontainers.core.container import DockerContainer

    with closing(Ports()) as ports:
        port = ports.claim(KAFKA_PORT)
    environment = {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    }
    container = DockerContainer(KAFKA_IMAGE).with_bind_ports(9092, port).with_envs(**environment)
    with container:
        wait_until(lambda: kafka_answers(f"127.0.0.1:{port}"), START_LIMIT)
        yield f"127.0.0.1:{port}"


@contextmanager
def container_clickhouse() -> Iterator[str]:
    """ClickHouse's image; gives its URL with user and password."""
    from testcontainers.core.container import DockerContainer

    password = secrets.token_hex(16)
    container = (
        DockerContainer(CLICKHOUSE_IMAGE)
        .with_exposed_ports(8123)
        .with_envs(CLICKHOUSE_USER="headwater", CLICKHOUSE_PASSWORD=password)
    )
    with container:
        address = f"{container.get_container_host_ip()}:{container.get_exposed_port(8123)}"
        wait_until(lambda: clickhouse_answers(f"http://{address}"), START_LIMIT)
        yield f"http://headwater:{password}@{address}"


@contextmanager
def external(variable: str) -> Iterator[str]:
    """The address that an environment variable gives."""
    address = EXTERNAL.get(variable)
    assert address, f"--stack=external needs {variable}"
    yield address


def kafka_answers(bootstrap: str) -> bool:
    """Whether Kafka there answers for its brokers."""
    with suppress(KafkaException):
        admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        return bool(admin.list_topics(timeout=2).brokers)
    return False


def clickhouse_answers(url: str) -> bool:
    """Whether ClickHouse's HTTP interface there answers."""
    with suppress(httpx.HTTPError):
        return HTTP.get(f"{url}/ping", timeout=2).status_code == httpx.codes.OK
    return False


def _running(child: Child, log: Path) -> bool:
    """True; fails the session with the end of the log when the child has ended instead of starting."""
    code = child.exit_code()
    assert code is None, f"ended with {code}: {log.read_text()[-2000:] if log.exists() else 'no log'}"
    return True
