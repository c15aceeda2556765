"""Fixtures of the client's tests."""

import secrets
from collections.abc import Iterator
from dataclasses import replace

import pytest

from headwater.settings import Settings
from tests.collecting import Collector, new_project, running_collector


@pytest.fixture(scope="module")
def shared_collector(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """A real collector in front of the session's Kafka."""
    folder = tmp_path_factory.mktemp("collector")
    settings = Settings(
        data_dir=folder,
        secret=secrets.token_hex(32),
        kafka=kafka,
        topic_prefix=f"test-{secrets.token_hex(6)}",
        raw_partitions=4,
    )
    with running_collector(settings, folder) as running:
        yield running


@pytest.fixture
def collector(shared_collector: Collector) -> Iterator[Collector]:
    """The collector, with a project that only this test has."""
    own = replace(shared_collector, project=new_project(shared_collector.settings))
    yield own
    shared_collector.child = own.child  # another one, where the test has killed it
