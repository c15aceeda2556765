"""Ports of a local stack: the usual one where it is free, else the next free one."""

import socket
from contextlib import ExitStack, suppress

LOOPBACK = "127.0.0.1"
TRIES = 1000


class PortError(Exception):
    """No free port near the wanted one."""


class Ports:
    """The ports that one stack has claimed, until `close()` or the end of the process.

    Between the choice of a port and the moment that a child listens on it, seconds pass. So that two stacks that start
    together choose different ports, each holds its ports' UDP twins, which nobody uses: the kernel lets only one have them and
    takes them back however the process ends. Ports below the ephemeral range are chosen, where no outgoing connection
    takes the port of a child that is being restarted.
    """

    def __init__(self) -> None:
        self._claims = ExitStack()

    def claim(self, wanted: int, host: str = LOOPBACK) -> int:
        """`wanted`, or the next port above it that is free for TCP on `host`. Raises PortError."""
        for port in range(wanted, min(wanted + TRIES, 65536)):
            if self._try_claim(port, host):
                return port
        raise PortError(f"no port from {wanted} to {wanted + TRIES} is free on {host}")

    def close(self) -> None:
        """Let go of all."""
        self._claims.close()

    def _try_claim(self, port: int, host: str) -> bool:
        with suppress(OSError), ExitStack() as held:
            twin = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            twin.bind((LOOPBACK, port))
            with socket.create_server((host, port)):
                self._claims.enter_context(held.pop_all())
                return True
        return False


def reachable(host: str) -> str:
    """Where to connect to, on this machine, what listens on `host`."""
    return LOOPBACK if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
