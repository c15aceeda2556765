"""Queries over HTTP: run in a few threads, each with a connection to ClickHouse of its own."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import structlog
from clickhouse_connect.driver.client import Client

from api.responses import dumped
from headwater import metrics
from headwater.query import QueryError
from headwater.query.catalogue import TypeCatalogue
from headwater.query.clickhouse import answer, extract
from headwater.query.definition import ANALYSES, Definition, parse_definition
from headwater.query.statements import Limits, connect
from headwater.settings import Settings

THREADS = 8
EVENTS_PER_PART = 500
MOST_WAITING = 64  # beyond it a query is refused: it would only wait

log = structlog.get_logger("headwater.api")


class Queries:
    """Answers queries. Belongs to one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.clickhouse
        self._limits = Limits.of(settings)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="query")
        self._catalogue = TypeCatalogue()
        self._own = threading.local()
        self._under_way = 0

    async def answer(self, project_id: str, analysis: str, parameters: dict[str, Any]) -> list[bytes]:
        """The answer to a query in Keen's shape, {"result": ...}, as JSON text in parts. Raises QueryError."""
        label = analysis if analysis in ANALYSES else "unknown"
        started, status = time.perf_counter(), 500
        try:
            if self._under_way >= THREADS + MOST_WAITING:
                raise QueryError(
                    "TooManyQueriesError", f"{self._under_way} queries are under way already; try again later.", 429
                )
            self._under_way += 1
            try:
                loop = asyncio.get_running_loop()
                text = await loop.run_in_executor(self._threads, self._run, project_id, analysis, parameters)
            finally:
                self._under_way -= 1
            status = 200
            return text
        except QueryError as error:
            status = error.status
            if status >= 500:
                log.warning("query failed", project=project_id, analysis=label, error=error.name, cause=_cause(error))
            raise
        finally:
            metrics.queries_answered.labels(label, str(status)).inc()
            metrics.query_seconds.labels(label).observe(time.perf_counter() - started)

    def close(self) -> None:
        """Wait for the queries that run, and drop those that wait."""
        self._threads.shutdown(cancel_futures=True)

    def _run(self, project_id: str, analysis: str, parameters: dict[str, Any]) -> list[bytes]:
        definition = parse_definition(analysis, parameters, now=time.time_ns() // 1_000_000)
        client: Client | None = getattr(self._own, "client", None)
        if client is None:
            client = self._own.client = connect(self._url, self._limits)
        if isinstance(definition, Definition) and definition.analysis == "extraction":
            return _listed(extract(client, definition, project_id, self._limits))
        value = answer(client, definition, project_id, self._limits, self._catalogue)
        return [dumped(value if definition.analysis == "funnel" else {"result": value})]


def _listed(events: Iterator[dict[str, Any]]) -> list[bytes]:
    """A result of many events, in parts, so that they never are in memory as objects and text all at once."""
    parts = [b'{"result":[']
    while part := list(islice(events, EVENTS_PER_PART)):
        if len(parts) > 1:
            parts.append(b",")
        parts.append(dumped(part)[1:-1])
    return [*parts, b"]}"]


def _cause(error: QueryError) -> str | None:
    return None if error.__cause__ is None else str(error.__cause__)[:500]
