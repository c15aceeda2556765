"""A Kafka and a ClickHouse of the test's own, that it may stop, kill and start again."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from headwater.local.ports import Ports
from tests.broker import Broker
from tests.engine import Engine


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that runs when the test begins."""
    with closing(Ports()) as ports:
        broker = Broker(tmp_path, ports)
        yield broker
        broker.kill()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine that runs when the test begins."""
    with closing(Ports()) as ports:
        engine = Engine(tmp_path, ports.claim(21223))
        yield engine
        engine.child.kill()
