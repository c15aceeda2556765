"""Fixtures of the collector's tests."""

from collections.abc import Iterator

import pytest

from headwater.settings import Settings
from tests.collecting import Collector, running_collector


@pytest.fixture(scope="module")
def collector(module_settings: Settings) -> Iterator[Collector]:
    """A real collector behind one proxy, in front of the session's Kafka."""
    settings = module_settings.model_copy(update={"trusted_proxies": 1})
    with running_collector(settings, settings.data_dir) as running:
        yield running
