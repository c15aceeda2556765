"""The real Kafka and ClickHouse of this process's tests, started when the first asks for them, and settings for one test."""

import logging
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from xdist.scheduler import Scheduling

from headwater.settings import PREFIX, Settings
from tests import backends
from tests.distribution import ByStack

# A run in a shell's background ignores Ctrl-C, and the processes that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more of what else runs on the machine.
hypothesis_settings.register_profile("headwater", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.register_profile("fuzz", parent=hypothesis_settings.get_profile("headwater"), max_examples=20_000)
hypothesis_settings.load_profile("headwater")


def pytest_addoption(parser: pytest.Parser) -> None:
    """--stack: what the tests run against."""
    parser.addoption(
        "--stack",
        choices=("embedded", "containers", "external"),
        default="embedded",
        help="Kafka and ClickHouse: our own; official images (needs Docker); or the ones in HEADWATER_KAFKA and HEADWATER_CLICKHOUSE",
    )


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """How the processes of `scripts/test` share the tests."""
    return ByStack(config, log)


@pytest.fixture(scope="session")
def kafka(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap address of a Kafka that the whole session shares."""
    started = {
        "embedded": lambda: backends.embedded_kafka(tmp_path_factory.mktemp("kafka")),
        "containers": backends.container_kafka,
        "external": lambda: backends.external("HEADWATER_KAFKA"),
    }[pytestconfig.getoption("--stack")]()
    with started as bootstrap:
        yield bootstrap


@pytest.fixture(scope="session")
def clickhouse(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL, with user and password, of a ClickHouse that the whole session shares."""
    started = {
        "embedded": lambda: backends.embedded_clickhouse(tmp_path_factory.mktemp("clickhouse")),
        "containers": backends.container_clickhouse,
        "external": lambda: backends.external("HEADWATER_CLICKHOUSE"),
    }[pytestconfig.getoption("--stack")]()
    with started as url:
        yield url


@pytest.fixture(autouse=True, scope="session")
def _clean_environment() -> Iterator[None]:
    """No setting of the developer's shell reaches a test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(PREFIX):
                patch.delenv(name)
        yield


@pytest.fixture(autouse=True, scope="session")
def _loggers_are_not_cached() -> Iterator[None]:
    """What a command configures in this process holds for loggers that were used before, too, and can be undone."""
    configure = structlog.configure

    def without_cache(**options: Any) -> None:
        configure(**options | {"cache_logger_on_first_use": False})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structlog, "configure", without_cache)
        yield


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """What a command that a test runs in this process sets of the logs ends with the test: one that writes errors only hides no warning from the next."""
    root, ours = logging.getLogger(), logging.getLogger("headwater")
    levels, handlers = (root.level, ours.level), list(root.handlers)
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
        root.setLevel(levels[0])
        ours.setLevel(levels[1])
        root.handlers[:] = handlers


@pytest.fixture
def kafka_settings(kafka: str, tmp_path: Path) -> Settings:
    """Settings of a deployment that only this test has, for tests that need no ClickHouse."""
    return new_deployment(kafka, tmp_path)


@pytest.fixture
def settings(kafka_settings: Settings, clickhouse: str) -> Settings:
    """Settings of a deployment that only this test has."""
    return kafka_settings.model_copy(update={"clickhouse": clickhouse})


@pytest.fixture(scope="module")
def module_settings(kafka: str, clickhouse: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a deployment that the tests of a module share; each takes a project or collections of its own."""
    settings = new_deployment(kafka, tmp_path_factory.mktemp("deployment"))
    return settings.model_copy(update={"clickhouse": clickhouse})


def new_deployment(kafka: str, folder: Path) -> Settings:
    """Settings under which nothing is there yet, and that want small topics and no patience."""
    return Settings(
        data_dir=folder,
        secret=secrets.token_hex(32),
        kafka=kafka,
        topic_prefix=f"test-{secrets.token_hex(6)}",
        settle_seconds=0.1,
        sink_flush_seconds=0.1,
        raw_partitions=4,
        collection_partitions=2,
    )
