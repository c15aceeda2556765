"""Running one request's statement: where its data comes from, where its result goes, and who may cancel it."""

import contextlib
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from headwater.local.clickhouse import errors
from headwater.local.clickhouse.body import Body
from headwater.local.clickhouse.engine import Engine, Handle, Limits, Outcome, running_with
from headwater.local.clickhouse.forms import ExternalTable
from headwater.local.clickhouse.pipe import ResultPipe
from headwater.local.clickhouse.request import Request
from headwater.local.clickhouse.sessions import Sessions
from headwater.local.clickhouse.statement import Kind, Statement, recognise
from headwater.local.clickhouse.tokens import TokenKind, literal, quoted_name, tokens

STATEMENT_LIMIT = 1 << 20
"""Bytes of a statement's text, an insert's data not counted."""

_GET_MAY = ("SET", "USE")


@dataclass(frozen=True)
class Running:
    """A statement that runs. `read` gives the result piece by piece, b"" at its end; then `outcome` does not block.

    `read` raises ClientGoneError when the client closes its connection; `outcome` raises EngineError where it failed.
    """

    statement: Statement
    read: Callable[[], bytes]
    outcome: Callable[[], Outcome]


class Executor:
    """Runs statements on the engine, at most `limits.concurrent_queries` at once. Safe for use by several threads."""

    def __init__(self, engine: Engine, spool: Path, limits: Limits) -> None:
        """`spool` is a folder for bodies and pipes; what is left in it from an earlier run is removed."""
        self._engine = engine
        self._spool = spool
        shutil.rmtree(spool, ignore_errors=True)
        spool.mkdir(parents=True, mode=0o700)
        self._sessions = Sessions(engine)
        self._limits = limits
        self._lock = threading.Condition()
        self._running: dict[str, str] = {}  # the client's query id -> the marker in the statement's text
        self._closing = False
        self._pool = ThreadPoolExecutor(limits.concurrent_queries, thread_name_prefix="statement")

    @contextmanager
    def run(
        self, request: Request, body: Body, tables: list[ExternalTable], client: socket.socket
    ) -> Iterator[Running]:
        """Start the request's statement and hand out its result as it comes; what it used is cleaned up at the end.

        Leaving before the end of the result cancels a query, while an insert or a command goes on to its end first.
        Raises EngineError for what is refused before the start.
        """
        marker = uuid.uuid4().hex
        data = self._spool / f"{marker}.in"
        self._enter(request.query_id, marker)
        try:
            statement = self._receive(request, body, data)
            if request.read_only and statement.kind is not Kind.QUERY and statement.verb not in _GET_MAY:
                raise errors.refused(
                    errors.Code.READONLY,
                    "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. "
                    "You should use method POST for modifying queries",
                )
            with self._handle(request, statement) as handle, self._tables(handle, tables, marker):
                pipe = ResultPipe(self._spool / f"{marker}.out")
                future = self._pool.submit(self._execute, handle, statement, request, marker, pipe)
                try:
                    yield Running(statement, lambda: pipe.read(client), future.result)
                finally:
                    if statement.kind is Kind.QUERY:
                        self._cancel(marker, pipe, future)
                    wait([future])
                    pipe.close()
        finally:
            data.unlink(missing_ok=True)
            self._leave(request.query_id)

    def close(self, patience: float) -> None:
        """Take no more statements, wait `patience` seconds for what runs, cancel the rest, and close the sessions."""
        until = time.monotonic() + patience
        with self._lock:
            self._closing = True
            self._lock.wait_for(lambda: not self._running, timeout=patience)
        while self._running:
            for marker in list(self._running.values()):
                self._engine.kill(marker)
            with self._lock:
                self._lock.wait_for(lambda: not self._running, timeout=0.2)
            if time.monotonic() > until + patience:
                break  # what cannot be cancelled ends with the process, as on a kill: the engine recovers from that
        self._pool.shutdown(wait=not self._running)
        self._sessions.close()

    def _enter(self, query_id: str, marker: str) -> None:
        with self._lock:
            if self._closing:
                raise errors.refused(errors.Code.ABORTED, "The embedded engine is shutting down")
            if query_id in self._running:
                raise errors.refused(
                    errors.Code.QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING, f"Query with id = {query_id} is already running"
                )
            if len(self._running) >= self._limits.concurrent_queries:
                raise errors.refused(
                    errors.Code.TOO_MANY_SIMULTANEOUS_QUERIES,
                    f"Too many simultaneous queries. Maximum: {self._limits.concurrent_queries}",
                )
            self._running[query_id] = marker

    def _leave(self, query_id: str) -> None:
        with self._lock:
            del self._running[query_id]
            self._lock.notify_all()

    def _handle(self, request: Request, statement: Statement) -> AbstractContextManager[Handle]:
        if request.session_id:
            return self._sessions.borrow(
                request.session_id,
                request.session_timeout,
                request.session_check,
                request.database,
                request.settings,
                statement,
            )
        # A SET, a USE or a temporary table would stay in the handle.
        return self._engine.borrow(request.database, request.settings, keep=statement.kind is not Kind.COMMAND)

    @contextmanager
    def _tables(self, handle: Handle, tables: list[ExternalTable], marker: str) -> Iterator[None]:
        """The tables that come with the request, for as long as it runs."""
        path = self._spool / f"{marker}.table"
        made: list[bytes] = []
        try:
            for table in tables:
                name = quoted_name(table.name).encode()
                path.write_bytes(table.data)
                handle.run(b"CREATE TEMPORARY TABLE " + name + b" (" + table.structure.encode() + b")")
                made.append(name)
                insert = recognise(b"INSERT INTO " + name + b" FORMAT " + table.format.encode())
                handle.run(insert.from_file(str(path)))
            yield
        finally:
            path.unlink(missing_ok=True)
            for name in made:
                handle.run(b"DROP TEMPORARY TABLE " + name)

    def _execute(
        self, handle: Handle, statement: Statement, request: Request, marker: str, pipe: ResultPipe
    ) -> Outcome:
        """Run the statement; every text that the engine gets holds the marker, by which it can be cancelled."""
        try:
            match statement.kind:
                case Kind.QUERY:
                    sql = statement.into_file(str(pipe.path), request.default_format)
                case Kind.INSERT:
                    sql = statement.from_file(str(self._spool / f"{marker}.in"))
                case Kind.COMMAND:
                    sql = self._with_engine_ids(statement) + f"\n/* {marker} */".encode()
            return handle.run(sql, request.default_format, request.params)
        finally:
            pipe.statement_over()

    def _with_engine_ids(self, statement: Statement) -> bytes:
        """A KILL with the engine's query ids in the place of clients' ids, which the engine does not know."""
        if statement.verb != "KILL":
            return statement.text
        with self._lock:
            markers = {literal(query_id).encode(): marker for query_id, marker in self._running.items()}
        pieces, position = [], 0
        for token in tokens(statement.text):
            if token.kind is TokenKind.STRING and (marker := markers.get(token.text)):
                engine_id = f"(SELECT any(query_id) FROM system.processes WHERE {running_with(marker)})"  # noqa: S608 - our own marker
                pieces += [statement.text[position : token.start], engine_id.encode()]
                position = token.end
        return b"".join([*pieces, statement.text[position:]])

    def _cancel(self, marker: str, pipe: ResultPipe, future: "Future[Outcome]") -> None:
        """Kill the query if it still runs. Killed first, then cut off, so that it ends as cancelled and not as done."""
        while not future.done() and not wait([future], timeout=0.002).done:
            with contextlib.suppress(errors.EngineError):
                self._engine.kill(marker)  # finds nothing where the statement has not reached the engine yet: so again
            pipe.close()
            wait([future], timeout=0.2)

    def _receive(self, request: Request, body: Body, data: Path) -> Statement:
        """Recognise the statement, from the URL and the body's beginning, and spool an insert's data to the file."""
        head = request.query.encode("utf-8", "surrogateescape")
        if head.strip():
            if (statement := recognise(head)).kind is Kind.INSERT:
                beginning = head[statement.data_start :]
                _spool(data, beginning and beginning + b"\n", body)
                return statement
            head += b"\n"
        while len(head) <= STATEMENT_LIMIT and (piece := body.read()):
            head += piece
        statement = recognise(head)
        if statement.kind is Kind.INSERT:
            _spool(data, head[statement.data_start :], body)
        elif len(head) > STATEMENT_LIMIT:
            raise errors.refused(errors.Code.QUERY_IS_TOO_LARGE, f"The query is longer than {STATEMENT_LIMIT} bytes")
        return statement


def _spool(path: Path, beginning: bytes, body: Body) -> None:
    """Write an insert's data to a file, piece by piece."""
    with path.open("xb") as file:
        file.write(beginning)
        while piece := body.read():
            file.write(piece)
