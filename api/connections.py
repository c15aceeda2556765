"""Connections to ClickHouse, lent to one query at a time and used again."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from clickhouse_connect.driver.client import Client

from headwater.query.statements import Limits, connect


class Connections:
    """Makes connections as they are needed and keeps those that are given back. Safe to use from several threads."""

    def __init__(self, url: str, limits: Limits) -> None:
        self._url = url
        self._limits = limits
        self._idle: list[Client] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def lent(self) -> Iterator[Client]:
        """A connection of one's own. Blocks where it is a new one; raises QueryError (503) where ClickHouse is away."""
        with self._lock:
            client = self._idle.pop() if self._idle else None
        if client is None:
            client = connect(self._url, self._limits)
        try:
            yield client
        finally:
            with self._lock:
                keep = not self._closed
                if keep:
                    self._idle.append(client)
            if not keep:
                client.close()

    def close(self) -> None:
        """Close what is idle now, and each other connection when it is given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for client in idle:
            client.close()
