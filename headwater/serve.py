"""Serving the HTTP services with granian: the collector, the API, or both on one port."""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal

import orjson
import structlog
import uvloop
from granian.constants import Interfaces
from granian.server.embed import Server
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from headwater.control import ControlError
from headwater.logs import configure_logs
from headwater.metrics import registry
from headwater.readiness import answer
from headwater.settings import Settings
from headwater.stopping import Deadline

Which = Literal["collector", "api", "all"]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]
HotRoute = Callable[[Scope], Callable[[Scope, Receive], Awaitable[tuple[int, bytes, Headers]]] | None]

PROBES = frozenset({"/livez", "/readyz", "/metrics"})
ANSWER_SECONDS = 12.0  # how long requests under way may take when it is time to stop
CONNECTION_BACKLOG = 1024
# Bodies are thousands of objects and no cycles; Python's own thresholds would have them looked through again and again.
COLLECT_GARBAGE_AT = (50_000, 20, 20)
ALLOW_ANY_ORIGIN = (b"access-control-allow-origin", b"*")
PREFLIGHT = (
    ALLOW_ANY_ORIGIN,
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, DELETE, OPTIONS"),
    (
        b"access-control-allow-headers",
        b"authorization, content-type, content-encoding, headwater-backfill, keen-sdk, x-retry-count",
    ),
    (b"access-control-max-age", b"86400"),
)
HANDSHAKE = b"webhook-request-origin"  # an OPTIONS request of CloudEvents' webhooks, which the collector answers
JSON = ((b"content-type", b"application/json"),)
FAILURE = "Something failed here; it is in the log."
SERVER_ERROR = {"message": FAILURE, "error_code": "InternalServerError"}
SEGMENT_ERROR = {"success": False, "code": "InternalServerError", "error": FAILURE}  # what its clients look for, beside

BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})  # a body that comes with these is read by nobody
BODY_HEADERS = frozenset({b"content-length", b"transfer-encoding"})
BODY_UNREAD = frozenset({401, 403, 404, 405, 413, 503})  # answers that may come before a body was read
CLOSE = ((b"connection", b"close"),)

log = structlog.get_logger("headwater.http")


class ServeError(Exception):
    """The server could not start or ended by itself; the message says why."""


def run_http(which: Which, settings: Settings) -> None:
    """Serve `which` at settings.host and settings.port until SIGTERM or SIGINT; requests under way are then answered.

    Where that takes too long the process ends all the same, with `headwater.stopping.UNDONE` and a line that says what it left.

    Blocks. Everything runs in this process, so that killing it leaves nothing that holds the port. Raises ServeError, and
    SettingsError where the deployment has no secret.
    """
    configure_logs(settings, which)
    try:
        uvloop.run(_serve(HttpServices(_services(which, settings)), settings))
    except ControlError as error:
        raise ServeError(str(error)) from error


def _services(which: Which, settings: Settings) -> list[Starlette]:
    """The applications, imported only here: services import headwater, not the other way round."""
    services = []
    if which in ("collector", "all"):
        from collector.app import create_app as create_collector

        services.append(create_collector(settings))
    if which in ("api", "all"):
        from api.app import create_app as create_api

        services.append(create_api(settings))
    return services


async def _serve(services: "HttpServices", settings: Settings) -> None:
    async with services.running():
        # The services' lifespan is run here and not by granian, so that what it raises reaches the caller.
        server = Server(
            services,
            address=settings.host,
            port=settings.port,
            interface=Interfaces.ASGINL,
            websockets=False,
            backlog=CONNECTION_BACKLOG,
            log_enabled=False,
        )
        stopped = asyncio.Event()
        deadline = Deadline(lambda: {"requests_unanswered": services.under_way})

        def stop() -> None:
            if not stopped.is_set():
                log.info("stopping", requests=services.under_way)
                deadline.begin()
                services.stop(ANSWER_SECONDS)
            stopped.set()
            server.stop()  # type: ignore[no-untyped-call]  # granian's own gap

        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stop)
        _check_free(settings.host, settings.port)
        gc.freeze()
        gc.set_threshold(*COLLECT_GARBAGE_AT)
        log.info("serving", host=settings.host, port=settings.port)
        await server.serve()
        if not stopped.is_set():
            raise ServeError("the HTTP server ended by itself")
    log.info("stopped")


def _check_free(host: str, port: int) -> None:
    """Raises ServeError where the address is taken: granian would share the port (SO_REUSEPORT) and get half the requests."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except OSError as error:
        raise ServeError(
            f"Cannot listen on {host}:{port} (HEADWATER_HOST, HEADWATER_PORT): {os.strerror(error.errno or 0)}."
        ) from error


class HttpServices:
    """Several applications behind one port, as one ASGI application, with the probes and CORS for all of them.

    A request goes to the first application that has a route for it, else to the last, which says what is wrong. What an
    application has as `state.hot_route` is asked before: for a request that it knows it gives what answers it.
    """

    def __init__(self, applications: list[Starlette]) -> None:
        self._applications = applications
        for application in applications:
            application.add_exception_handler(Exception, _tell_failure)
        self._probed = {f"/readyz/{application.state.name}": application for application in applications}
        self.under_way = 0  # requests that are not answered yet
        found = (getattr(application.state, "hot_route", None) for application in applications)
        self._hot_routes: list[HotRoute] = [hot_route for hot_route in found if hot_route is not None]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """A context in which the applications' lifespans are run; raises what they raise on starting."""
        async with AsyncExitStack() as lifespans:
            for application in self._applications:
                await lifespans.enter_async_context(application.router.lifespan_context(application))
            yield

    def stop(self, seconds: float) -> None:
        """It is time to stop: what the applications do beside requests ends, and requests are answered within so many seconds."""
        for application in self._applications:
            application.state.stop(seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        self.under_way += 1
        try:
            await self._handle(scope, receive, send)
        finally:
            self.under_way -= 1

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        for hot_route in self._hot_routes:
            handle = hot_route(scope)
            if handle is not None:
                try:
                    status, body, headers = await handle(scope, receive)
                except Exception:
                    _log_failure(scope)
                    status, body, headers = 500, _failure(scope["path"]), JSON
                await _answer(send, status, body, (*headers, *_connection(scope, status), ALLOW_ANY_ORIGIN))
                return
        if scope["path"] in PROBES or scope["path"] in self._probed:
            await self._probe(scope["path"], send)
        elif scope["method"] == "OPTIONS" and not any(name == HANDSHAKE for name, _ in scope["headers"]):
            await _answer(send, 204, b"", (*PREFLIGHT, *_connection(scope, 204)))
        else:
            await self._route(scope, receive, send)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_to_any_origin(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                ends = _connection(scope, message["status"])
                message["headers"] = [*message["headers"], *ends, ALLOW_ANY_ORIGIN]
            await send(message)

        try:
            await self._application(scope)(scope, receive, send_to_any_origin)
        except Exception:  # it was answered, where an answer had not begun
            _log_failure(scope)

    def _application(self, scope: Scope) -> Starlette:
        for application in self._applications[:-1]:
            for route in application.routes:
                if route.matches(scope)[0] is Match.FULL:
                    return application
        return self._applications[-1]

    async def _probe(self, path: str, send: Send) -> None:
        if path == "/metrics":
            await _answer(send, 200, generate_latest(registry), ((b"content-type", CONTENT_TYPE_LATEST.encode()),))
            return
        asked = [] if path == "/livez" else [self._probed[path]] if path in self._probed else self._applications
        problems = await asyncio.to_thread(_problems, asked) if asked else []
        await _answer(send, *answer(problems), ((b"content-type", b"text/plain; charset=utf-8"),))


def _problems(applications: list[Starlette]) -> list[str]:
    """What keeps applications from their work: what `app.state.problems()` says, which may block shortly."""
    return [
        f"{application.state.name}: {line}" for application in applications for line in application.state.problems()
    ]


def _connection(scope: Scope, status: int) -> Headers:
    """The header that says that the connection ends, with an answer before which the request's body may not have been read.

    The server closes it then; a client that is not told would lose the next request that it sends over it.
    """
    if status not in BODY_UNREAD and scope["method"] not in BODILESS:
        return ()
    return CLOSE if any(name in BODY_HEADERS for name, _ in scope["headers"]) else ()


def _log_failure(scope: Scope) -> None:
    """Log what is being handled now: that the handling of a request raised."""
    log.exception("request failed", method=scope["method"], path=scope["path"])


async def _tell_failure(request: Request, _error: Exception) -> Response:
    """The answer to a request whose handling raised; Starlette lets the error through after it."""
    return Response(_failure(request.url.path), 500, media_type="application/json")


def _failure(path: str) -> bytes:
    """What is said of a failure of ours to a request of this path, in its dialect's form."""
    return orjson.dumps((SEGMENT_ERROR if path.startswith("/v1/") else {}) | SERVER_ERROR)


async def _answer(send: Send, status: int, body: bytes, headers: Headers) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
