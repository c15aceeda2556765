"""Queries over HTTP: run in a few threads, cancelled when nobody waits for them, extractions sent as they are read."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

import structlog
from clickhouse_connect.driver.client import Client
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from api.admission import Admission
from api.connections import Connections
from api.extraction_files import ExtractionFiles
from api.refresher import AT_ONCE
from api.responses import json_response, parts_response
from headwater import exact_json, metrics
from headwater.control import Grant
from headwater.query import QueryError
from headwater.query.arguments import boolean, present
from headwater.query.catalogue import TypeCatalogue
from headwater.query.clickhouse import answer, extracted
from headwater.query.definition import ANALYSES, Definition, Query, parse_definition
from headwater.query.execution import Execution
from headwater.query.statements import Cancellation, Limits, cancelled
from headwater.settings import Settings

THREADS = 8
MOST_WAITING = 64  # beyond it a query is refused: it would only wait
KILL_AGAIN_SECONDS = 0.2
KILL_SECONDS = 2.0
METADATA = "execution_metadata"  # what Keen calls it, beside `result`

log = structlog.get_logger("headwater.api")

T = TypeVar("T")


class Reply(NamedTuple):
    """What is sent in reply to a query, as JSON text, and what it took to find it; None for an extraction."""

    text: bytes
    execution: Execution | None


class Queries:
    """Answers queries. Belongs to one event loop."""

    def __init__(self, settings: Settings, files: ExtractionFiles) -> None:
        """`files` takes the extractions that go to a file."""
        self._files = files
        self._limits = Limits.of(settings)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="query")
        self._background = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="refresh")
        self._catalogue = TypeCatalogue()
        self._connections = Connections(settings.clickhouse, self._limits)
        self._hurry = asyncio.Event()  # set when what still runs has to end
        self._in_background: set[Cancellation] = set()
        self._admission = Admission(THREADS + MOST_WAITING, settings.query_max_concurrent_per_key)

    async def respond(self, request: Request, grant: Grant, analysis: str, parameters: dict[str, Any]) -> Response:
        """The response to a query, `parameters` being narrowed to what the key may see. Raises QueryError.

        An extraction is sent as it is read. When the client goes away, what runs for it is cancelled.
        """
        with ExitStack() as until_sent, _measured(grant.project_id, analysis):
            until_sent.enter_context(self._admission.admitted(grant.key_id))
            now = _now()
            query = parse_definition(analysis, parameters, now)
            told = wants_metadata(parameters)
            if isinstance(query, Definition) and query.to_file:
                about = await asyncio.to_thread(self._files.begin, grant, parameters, now)
                return json_response(
                    {"result": f"Processing. The file will be at {about['url']}/file", "extraction": about}
                )
            if isinstance(query, Definition) and query.analysis == "extraction":
                return await self._stream(request, grant.project_id, query, until_sent)
            cancellation = Cancellation()
            work = self._threads.submit(self._answered, grant.project_id, query, cancellation, told=told)
            return parts_response([(await self._wanted(request, work, cancellation)).text])

    async def answer(
        self, project_id: str, analysis: str, parameters: dict[str, Any], *, background: bool = False
    ) -> Reply:
        """What `respond` would send, without metadata, for routes that ask themselves. Raises QueryError.

        Those that ask for a key take a `place` first. What is asked in the `background` has threads of its own: neither does it
        wait for keys' queries, nor they for it.
        """
        with _measured(project_id, analysis):
            query = parse_definition(analysis, parameters, _now())
            threads = self._background if background else self._threads
            cancellation = Cancellation()
            if background:
                self._in_background.add(cancellation)
            try:
                return await asyncio.wrap_future(threads.submit(self._answered, project_id, query, cancellation))
            finally:
                self._in_background.discard(cancellation)

    def place(self, key_id: str) -> AbstractContextManager[None]:
        """A key's place among the queries under way. Entering raises QueryError (429) where there is none."""
        return self._admission.admitted(key_id)

    def hurry_after(self, seconds: float) -> None:
        """It is time to stop: queries that still run in so many seconds are ended then, and answered 503. For the event loop."""
        asyncio.get_running_loop().call_later(seconds, self._hurry.set)

    def close(self) -> None:
        """Wait for the queries that run, and drop those that wait."""
        for cancellation in self._in_background.copy():
            self._kill(cancellation)
        for threads in (self._threads, self._background):
            threads.shutdown(cancel_futures=True)
        self._connections.close()

    def _answered(self, project_id: str, query: Query, cancellation: Cancellation, told: bool = False) -> Reply:
        with self._connections.lent() as client:
            if isinstance(query, Definition) and query.analysis == "extraction":
                return Reply(
                    b"".join(extracted(client, query, project_id, self._limits, self._catalogue, cancellation)), None
                )
            value, _, execution = answer(client, query, project_id, self._limits, self._catalogue, cancellation)
        reply = value if query.analysis == "funnel" else {"result": value}
        return Reply(exact_json.dumps(reply | {METADATA: execution.metadata} if told else reply), execution)

    async def _wanted(self, request: Request, work: Future[T], cancellation: Cancellation) -> T:
        """What the work gives. When the client goes away, or it is time to stop, its statement is ended, and QueryError (499, 503) raised."""
        result, gone = asyncio.wrap_future(work), asyncio.ensure_future(_gone(request))
        hurry = asyncio.ensure_future(self._hurry.wait())
        either: set[asyncio.Future[Any]] = {result, gone, hurry}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return await result
            began = time.monotonic()
            while not work.done() and not work.cancel():  # it can be cancelled while it has not begun
                if hurry.done() and time.monotonic() - began > KILL_SECONDS:
                    break  # ClickHouse does not answer: the client is told all the same
                killing = asyncio.ensure_future(asyncio.to_thread(self._kill, cancellation))
                await asyncio.wait([killing], timeout=KILL_SECONDS)
                await asyncio.wait([result], timeout=KILL_AGAIN_SECONDS)
            raise _stopping() if hurry.done() and not gone.done() else cancelled()
        finally:
            gone.cancel()
            hurry.cancel()

    def _kill(self, cancellation: Cancellation) -> None:
        with suppress(QueryError), self._connections.lent() as client:
            cancellation.cancel(client)

    async def _stream(self, request: Request, project_id: str, query: Definition, until_sent: ExitStack) -> Response:
        """An extraction's events as they are read: whatever can go wrong does so before the status is sent."""
        cancellation = Cancellation()
        parts = _Parts(
            self._connections,
            lambda client: extracted(client, query, project_id, self._limits, self._catalogue, cancellation),
        )
        try:
            first = await self._wanted(request, self._threads.submit(parts.next), cancellation)
        except BaseException:
            self._threads.submit(parts.close)
            raise
        place = until_sent.pop_all()
        place.callback(self._threads.submit, parts.close)

        async def sent() -> AsyncIterator[bytes]:
            part = first
            while part is not None:
                yield part
                part = await asyncio.wrap_future(self._threads.submit(parts.next))

        headers = {"Content-Encoding": "gzip"} if query.gzip else {}
        return _Streamed(sent(), place, headers, query.content_type)


class _Streamed(StreamingResponse):
    """A response that lets go of what it holds when it is sent, and when the client has gone away meanwhile."""

    def __init__(self, parts: AsyncIterator[bytes], held: ExitStack, headers: dict[str, str], media_type: str) -> None:
        super().__init__(parts, headers=headers, media_type=media_type)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._held:
            await super().__call__(scope, receive, send)


class _Parts:
    """Parts of a text that are read in whichever thread is free, one after another, over one connection."""

    def __init__(self, connections: Connections, read: Callable[[Client], Iterator[bytes]]) -> None:
        self._lock = threading.Lock()
        self._parts = self._all(connections, read)

    def next(self) -> bytes | None:
        """The next part, None after the last. Blocks; raises QueryError."""
        with self._lock:
            return next(self._parts, None)

    def close(self) -> None:
        """Read no further."""
        with self._lock:
            self._parts.close()

    @staticmethod
    def _all(connections: Connections, read: Callable[[Client], Iterator[bytes]]) -> Generator[bytes, None, None]:
        with connections.lent() as client:
            yield from read(client)


def wants_metadata(parameters: Mapping[str, Any]) -> bool:
    """Whether a request asks what its answer took. Raises QueryError."""
    return boolean(present(parameters).get("include_metadata", False), "include_metadata")


def _now() -> int:
    return time.time_ns() // 1_000_000


def _stopping() -> QueryError:
    return QueryError("ServiceUnavailableError", "The API is stopping; ask again.", 503)


async def _gone(request: Request) -> None:
    """Returns when the client has gone away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


@contextmanager
def _measured(project_id: str, analysis: str) -> Iterator[None]:
    """Counts a query with its status and time; one line for those that failed by no fault of who asked."""
    label = analysis if analysis in ANALYSES else "unknown"
    started, status = time.perf_counter(), 500
    try:
        yield
        status = 200
    except QueryError as error:
        status = error.status
        if status >= 500:
            log.warning("query failed", project=project_id, analysis=label, error=error.name, cause=_cause(error))
        raise
    finally:
        metrics.queries_answered.labels(label, str(status)).inc()
        metrics.query_seconds.labels(label).observe(time.perf_counter() - started)


def _cause(error: QueryError) -> str | None:
    return None if error.__cause__ is None else str(error.__cause__)[:500]
