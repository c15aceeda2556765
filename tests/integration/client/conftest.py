"""Fixtures of the client's tests."""

from collections.abc import Iterator

import pytest

from headwater.settings import Settings
from tests.collecting import Collector, running_collector


@pytest.fixture(scope="module")
def shared_collector(module_settings: Settings) -> Iterator[Collector]:
    """A real collector in front of the session's Kafka."""
    with running_collector(module_settings, module_settings.data_dir) as running:
        yield running


@pytest.fixture
def collector(shared_collector: Collector) -> Iterator[Collector]:
    """The collector, with a project that only this test has."""
    own = shared_collector.with_a_new_project()
    yield own
    shared_collector.child = own.child  # another one, where the test has killed it
