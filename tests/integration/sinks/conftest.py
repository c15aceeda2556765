"""Fixtures of the sink's tests against a real Kafka and a real engine."""

from collections.abc import Iterator

import pytest

from headwater.settings import Settings
from tests.sinking import Tables


@pytest.fixture
def tables(settings: Settings) -> Iterator[Tables]:
    """What the sink wrote."""
    reader = Tables(settings)
    yield reader
    reader.close()
