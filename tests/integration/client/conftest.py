"""Fixtures of the client's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.settings import Settings
from tests.collecting import Collector, running_collector


@pytest.fixture
def collector(kafka_settings: Settings, tmp_path: Path) -> Iterator[Collector]:
    """A real collector in front of the session's Kafka."""
    with running_collector(kafka_settings, tmp_path) as running:
        yield running
