"""Ports of a local stack."""

import socket
from collections.abc import Iterator

import pytest

from headwater.local.ports import LOOPBACK, PortError, Ports

FIRST = 22_000


@pytest.fixture
def ports() -> Iterator[Ports]:
    claimed = Ports()
    yield claimed
    claimed.close()


def test_a_port_where_somebody_listens_is_passed_over(ports: Ports) -> None:
    free = ports.claim(FIRST)
    ports.close()
    with socket.create_server((LOOPBACK, free)):
        assert ports.claim(free) > free


def test_a_claimed_port_is_passed_over_before_anybody_listens_on_it(ports: Ports) -> None:
    first, second = Ports(), Ports()
    port = first.claim(FIRST)
    assert second.claim(port) > port
    second.close()
    first.close()
    assert ports.claim(port) == port


def test_a_child_can_listen_on_the_claimed_port(ports: Ports) -> None:
    port = ports.claim(FIRST)
    with socket.create_server((LOOPBACK, port)) as server:
        assert server.getsockname()[1] == port


def test_no_port_above_the_last(ports: Ports) -> None:
    with pytest.raises(PortError, match="no port from 65535"), socket.create_server((LOOPBACK, 65535)):
        ports.claim(65535)
