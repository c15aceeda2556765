"""Running one request's statement: where its data comes from, where its result goes, who may cancel it."""

import shutil
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from headwater.local.clickhouse import errors
from headwater.local.clickhouse.body import Body
from headwater.local.clickhouse.engine import Engine, Handle, Limits, Outcome
from headwater.local.clickhouse.pipe import ResultPipe
from headwater.local.clickhouse.request import Request
from headwater.local.clickhouse.sessions import Sessions
from headwater.local.clickhouse.statement import Kind, Statement, recognise

STATEMENT_LIMIT = 1 << 20
"""Bytes of a statement's text, an insert's data not counted."""


@dataclass
class Running:
    """A statement that runs: read the result until b"", then ask for the outcome."""

    statement: Statement
    read: Callable[[], bytes]
    outcome: Callable[[], Outcome]  # raises EngineError


class Executor:
    """Runs statements on the engine, at most `limits.concurrent_queries` at once."""

    def __init__(self, engine: Engine, spool: Path, limits: Limits) -> None:
        """`spool` is a folder for bodies and pipes; what is left in it from an earlier run is removed."""
        self._engine = engine
        self._spool = spool
        shutil.rmtree(spool, ignore_errors=True)
        spool.mkdir(parents=True, mode=0o700)
        self._sessions = Sessions(engine)
        self._limits = limits
        self._slots = threading.BoundedSemaphore(limits.concurrent_queries)
        self._pool = ThreadPoolExecutor(limits.concurrent_queries, thread_name_prefix="statement")

    @contextmanager
    def run(self, request: Request, body: Body, client: socket.socket) -> Iterator[Running]:
        """Start the request's statement and hand out its result as it comes; what it used is cleaned up at the end.

        Leaving before the end of the result cancels a query. Raises EngineError for what can be refused before the start.
        """
        if not self._slots.acquire(blocking=False):
            raise errors.refused(
                errors.TOO_MANY_SIMULTANEOUS_QUERIES,
                "TOO_MANY_SIMULTANEOUS_QUERIES",
                f"Too many simultaneous queries. Maximum: {self._limits.concurrent_queries}",
            )
        marker = uuid.uuid4().hex
        data = self._spool / f"{marker}.in"
        try:
            statement = self._receive(request, body, data)
            with self._handle(request) as handle:
                pipe = ResultPipe(self._spool / f"{marker}.out")
                try:
                    future = self._pool.submit(self._execute, handle, statement, request, data, pipe)
                    try:
                        yield self._running(statement, pipe, future, client)
                    finally:
                        if statement.kind is Kind.QUERY and not future.done():
                            self._cancel(marker, pipe, future)
                        else:
                            future.exception()
                finally:
                    pipe.close()
        finally:
            data.unlink(missing_ok=True)
            self._slots.release()

    def close(self) -> None:
        """Wait for what runs and close the sessions."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._sessions.close()

    def _handle(self, request: Request) -> AbstractContextManager[Handle]:
        settings = dict(request.settings)
        if request.read_only:
            settings.setdefault("readonly", "2")
        if request.session_id:
            return self._sessions.handle(
                request.session_id, request.session_timeout, request.session_check, request.database, settings
            )
        return self._own_handle(request.database, settings)

    @contextmanager
    def _own_handle(self, database: str, settings: dict[str, str]) -> Iterator[Handle]:
        handle = self._engine.handle(database, settings)
        try:
            yield handle
        finally:
            handle.close()

    def _execute(self, handle: Handle, statement: Statement, request: Request, data: Path, pipe: ResultPipe) -> Outcome:
        try:
            if statement.kind is Kind.QUERY:
                return handle.run(statement.into_file(str(pipe.path), request.default_format), params=request.params)
            if statement.kind is Kind.INSERT:
                return handle.run(statement.from_file(str(data)), params=request.params)
            return handle.run(statement.text.decode("utf-8", "replace"), request.default_format, request.params)
        finally:
            pipe.statement_over()

    def _running(
        self, statement: Statement, pipe: ResultPipe, future: "Future[Outcome]", client: socket.socket
    ) -> Running:
        def read() -> bytes:
            return pipe.read(client)

        return Running(statement, read, future.result)

    def _cancel(self, marker: str, pipe: ResultPipe, future: "Future[Outcome]") -> None:
        """Kill the query and wait for its end; killed first, then cut off, so that it ends as cancelled and not as done."""
        while not future.done():
            self._engine.kill(marker)  # finds nothing when the statement has not reached the engine yet: so again
            pipe.close()
            wait([future], timeout=0.2)

    def _receive(self, request: Request, body: Body, data: Path) -> Statement:
        """Recognise the statement, from the URL and the body's beginning, and spool an insert's data to the file."""
        head = request.query.encode()
        if head:
            if (statement := recognise(head)).kind is Kind.INSERT:
                _spool(data, head[statement.data_start :], body)
                return statement
            head += b"\n"
        while len(head) <= STATEMENT_LIMIT and (piece := body.read()):
            head += piece
        statement = recognise(head)
        if statement.kind is Kind.INSERT:
            _spool(data, head[statement.data_start :], body)
        elif len(head) > STATEMENT_LIMIT:
            raise errors.refused(
                errors.QUERY_IS_TOO_LARGE, "QUERY_IS_TOO_LARGE", f"The query is longer than {STATEMENT_LIMIT} bytes"
            )
        return statement


def _spool(path: Path, beginning: bytes, body: Body) -> None:
    """Write an insert's data to a file, piece by piece."""
    try:
        with path.open("xb") as file:
            file.write(beginning)
            while piece := body.read():
                file.write(piece)
    except OSError as error:
        if isinstance(error, ConnectionError):
            raise
        raise errors.refused(
            errors.NOT_ENOUGH_SPACE, "NOT_ENOUGH_SPACE", f"Cannot spool the data of the insert: {error.strerror}"
        ) from None
