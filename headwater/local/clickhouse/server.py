"""ClickHouse's HTTP interface on loopback, in front of the embedded engine."""

import hmac
import json
import secrets
import tempfile
import time
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from headwater.local.clickhouse import compression, errors
from headwater.local.clickhouse.body import Body
from headwater.local.clickhouse.engine import Engine, Outcome
from headwater.local.clickhouse.errors import EngineError
from headwater.local.clickhouse.execution import Executor, Running
from headwater.local.clickhouse.formats import content_type
from headwater.local.clickhouse.forms import ExternalTable, is_form, read_form
from headwater.local.clickhouse.pipe import ClientGoneError
from headwater.local.clickhouse.request import Request, parse
from headwater.local.clickhouse.statement import Kind, Statement

log = structlog.get_logger("headwater.clickhouse")
DISPLAY_NAME = "Headwater embedded engine (chDB)"
HELD_BACK = 1 << 20
"""Bytes of a result that are held back, so that an error before them still gets a proper status (ClickHouse's buffer_size)."""
_DRAIN = 64 << 20


class Server(ThreadingHTTPServer):
    """The HTTP server; one thread per connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, host: str, port: int, engine: Engine, executor: Executor, user: str, password: str, spool: Path
    ) -> None:
        """Listen on `host` and `port` (0 for any free one, then in `server_port`)."""
        super().__init__((host, port), _Handler)
        self.engine = engine
        self.executor = executor
        self.spool = spool
        self._user = user.encode()
        self._password = password.encode()

    def handle_error(self, request: object, client_address: object) -> None:
        """A request failed in a way that nobody thought of: say so; the server goes on."""
        log.exception("embedded engine (chDB): a request failed")

    def knows(self, user: str, password: str) -> bool:
        """Whether these are the credentials, compared in constant time."""
        user_matches = hmac.compare_digest(user.encode(), self._user)
        return hmac.compare_digest(password.encode(), self._password) and user_matches


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "ClickHouse-embedded"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    timeout = 300  # seconds a connection may idle

    def do_GET(self) -> None:
        self._route()

    def do_HEAD(self) -> None:
        self._route()

    def do_POST(self) -> None:
        self._route()

    def do_PUT(self) -> None:
        self._route()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's signature
        """Nothing: a line per request says nothing that an operator would act on."""

    def _route(self) -> None:
        self._started = time.monotonic_ns()
        path = urlsplit(self.path)
        self._query_id = ""
        try:
            if path.path in ("/ping", "/replicas_status") or (
                path.path == "/" and not path.query and self.command != "POST"
            ):
                self._send(200, b"Ok.\n")
            elif path.path not in ("/", "/query"):
                self._send(404, f"There is no handle {path.path}: use /, /ping or /replicas_status.\n".encode())
            else:
                self._statement()
        except (ConnectionError, ClientGoneError, TimeoutError):
            self.close_connection = True

    def _statement(self) -> None:
        body = None
        try:
            body = Body(self.rfile, self._body_length(), self.headers.get("Content-Encoding", ""))
            request = parse(self.command, self.path, self.headers)
            self._query_id = request.query_id
            if not self.server.knows(request.user, request.password):
                raise errors.refused(
                    errors.Code.AUTHENTICATION_FAILED,
                    f"{request.user}: Authentication failed: password is incorrect, or there is no user with such name",
                )
            tables: list[ExternalTable] = []
            if is_form(kind := self.headers.get("Content-Type", "")):
                request, tables = read_form(request, body, kind)
            with self.server.executor.run(request, body, tables, self.connection) as running:
                complete = self._answer(request, running)
            complete()
        except (ConnectionError, TimeoutError):
            raise
        except (EngineError, OSError) as error:
            # The rest of the body is read first: closing on a client that still sends would lose the answer.
            if body is None or not body.drain(_DRAIN):
                self.close_connection = True
            self._send_error(error if isinstance(error, EngineError) else _from_system(error))

    def _body_length(self) -> int | None:
        """The Content-Length; None for a chunked body."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return None
        text = self.headers.get("Content-Length", "0")
        if not text.isdigit():
            raise errors.refused(errors.Code.BAD_ARGUMENTS, f"Content-Length {text!r} is not a number")
        return int(text)

    def _answer(self, request: Request, running: Running) -> Callable[[], None]:
        """Answer with the whole result where it is short or the client waits for the end, else as it comes.

        What completes the answer is left to the function returned: the client may send its next request at once, and that
        must find the session and the query id free.
        """
        encoding = compression.negotiate(request.accept_encoding)
        with tempfile.SpooledTemporaryFile(max_size=HELD_BACK, dir=str(self.server.spool)) as held:
            while piece := running.read():
                held.write(piece)
                if held.tell() >= HELD_BACK and not request.wait_end_of_query:
                    held.seek(0)
                    return self._stream(request, running, held.read(), encoding)
            outcome = running.outcome()
            held.write(outcome.data)
            size = held.tell()
            held.seek(0)
            if size <= HELD_BACK:
                return partial(self._send_whole, request, running.statement, held.read(), encoding, outcome)
            self._head(request, running.statement, encoding, outcome)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            encoder = compression.encoder(encoding)
            while piece := held.read(HELD_BACK):
                self._chunk(encoder.feed(piece))
            return partial(self._last_chunk, encoder.finish())

    def _send_whole(
        self, request: Request, statement: Statement, content: bytes, encoding: str, outcome: Outcome
    ) -> None:
        encoder = compression.encoder(encoding)
        content = encoder.feed(content) + encoder.finish()
        self._head(request, statement, encoding, outcome)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        self.wfile.flush()

    def _stream(self, request: Request, running: Running, first: bytes, encoding: str) -> Callable[[], None]:
        """Send chunks as they come. An error now can only go into the body, marked by the tag that the head announced."""
        tag = secrets.token_hex(8)
        self._head(request, running.statement, encoding, None)
        self.send_header("X-ClickHouse-Exception-Tag", tag)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        encoder = compression.encoder(encoding)
        piece = first
        while piece:
            self._chunk(encoder.feed(piece))
            piece = running.read()
        try:
            running.outcome()
        except EngineError as error:
            text = self._text(error)
            block = f"\r\n__exception__\r\n{tag}\r\n{text}\n{len(text.encode()) + 1} {tag}\r\n__exception__\r\n"
            return partial(self._break_off, encoder.feed(block.encode()) + encoder.finish())
        return partial(self._last_chunk, encoder.finish())

    def _break_off(self, data: bytes) -> None:
        """End a chunked answer without its last chunk: the client sees that it is not whole."""
        self._chunk(data)
        self.wfile.flush()
        self.close_connection = True

    def _chunk(self, data: bytes) -> None:
        if data:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _last_chunk(self, data: bytes) -> None:
        self._chunk(data)
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _head(self, request: Request, statement: Statement, encoding: str, outcome: Outcome | None) -> None:
        """The head of a success; the summary is there where the counts are known before the body."""
        fmt = (statement.kind is Kind.QUERY and statement.format) or request.default_format
        self.send_response(200)
        self.send_header("Content-Type", content_type(fmt))
        self.send_header("X-ClickHouse-Server-Display-Name", DISPLAY_NAME)
        self.send_header("X-ClickHouse-Query-Id", request.query_id)
        self.send_header("X-ClickHouse-Format", fmt)
        self.send_header(
            "X-ClickHouse-Timezone", request.settings.get("session_timezone") or self.server.engine.timezone
        )
        if outcome is not None:
            self.send_header("X-ClickHouse-Summary", self._summary(outcome))
        if encoding:
            self.send_header("Content-Encoding", encoding)

    def _summary(self, outcome: Outcome) -> str:
        counts = outcome.counts
        return json.dumps(
            {
                "read_rows": str(counts.read_rows),
                "read_bytes": str(counts.read_bytes),
                "written_rows": str(counts.written_rows),
                "written_bytes": str(counts.written_bytes),
                "total_rows_to_read": "0",
                "result_rows": str(counts.result_rows),
                "result_bytes": str(counts.result_bytes),
                "elapsed_ns": str(time.monotonic_ns() - self._started),
            },
            separators=(",", ":"),
        )

    def _text(self, error: EngineError) -> str:
        return f"{error.message} (version {self.server.engine.version} (embedded engine))"

    def _send_error(self, error: EngineError) -> None:
        content = f"{self._text(error)}\n".encode()
        self.send_response(error.status)
        self.send_header("Content-Type", "text/plain; charset=UTF-8")
        self.send_header("X-ClickHouse-Server-Display-Name", DISPLAY_NAME)
        self.send_header("X-ClickHouse-Exception-Code", str(error.code))
        if self._query_id:
            self.send_header("X-ClickHouse-Query-Id", self._query_id)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        self.wfile.flush()

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=UTF-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        self.wfile.flush()


def _from_system(error: OSError) -> EngineError:
    """What the system refused: a full disk, too many open files."""
    log.error("embedded engine (chDB): the system refused", reason=str(error))
    return errors.refused(errors.Code.NOT_ENOUGH_SPACE, f"The system refused: {error.strerror}")
