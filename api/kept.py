"""What the API itself keeps in ClickHouse: statements in a few threads, the tables made before the first."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from api.connections import Connections
from headwater.query import QueryError
from headwater.query.statements import Limits
from headwater.saved import dataset_results, results
from headwater.settings import Settings

T = TypeVar("T")

THREADS = 4
STATEMENTS = dict.fromkeys((*results.STATEMENTS, *dataset_results.STATEMENTS))


class KeptTables:
    """The tables of results. Belongs to one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._connections = Connections(settings.clickhouse, Limits.of(settings))
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="kept")
        self._preparing = threading.Lock()
        self._prepared = False

    async def run(self, work: Callable[[Client], T]) -> T:
        """What `work` gives, in a thread with a connection. Raises QueryError (503) where ClickHouse cannot do it."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, work)

    def close(self) -> None:
        """Wait for what runs, and drop what waits."""
        self._threads.shutdown(cancel_futures=True)
        self._connections.close()

    def _run(self, work: Callable[[Client], T]) -> T:
        try:
            with self._connections.lent() as client:
                with self._preparing:
                    if not self._prepared:
                        for statement in STATEMENTS:
                            client.command(statement)
                        self._prepared = True
                return work(client)
        except (ClickHouseError, OSError) as error:
            raise QueryError(
                "ServiceUnavailableError", "ClickHouse cannot be reached; try again later.", 503
            ) from error
