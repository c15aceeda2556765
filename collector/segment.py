"""Segment's tracking API: its paths as Segment's and RudderStack's clients call them, for events as Segment sent them to Keen.

What a client looks for in an answer differs from client to client, so each answer has it all: exactly 200 and
`{"success":true}`, and errors with `success`, `code`, `message`, `error` and `error_code`.
"""

import asyncio
import base64
import binascii
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

import orjson
import structlog
from starlette.routing import BaseRoute, Route

from collector.body import Receive, read_body
from collector.data_parameter import decode_data
from collector.endpoint import IMAGE, PIXEL, TURN, Answer, Handler, Headers, endpoint
from collector.errors import ApiError, not_allowed
from collector.judges import Judges
from collector.lenient_json import parse_lenient
from collector.publish import Publisher
from collector.records import Record, RequestRecords
from collector.request import Request, Scope
from collector.segment_judging import Document, KeyTask, MessagesTask, Sender, Turn, read_at_once
from collector.segment_messages import TYPES, message_of_query
from headwater import metrics
from headwater.control import Access, AccessError, ControlPlane, Grant
from headwater.rules import RuleError
from headwater.settings import Settings

SUCCESS = b'{"success":true}'
# Of other headers' values a browser tells its scripts nothing.
JSON: Headers = ((b"content-type", b"application/json"), (b"access-control-expose-headers", b"Retry-After"))
# Where a body may not have been read to its end: the server ends the connection for it.
CLOSE: Headers = ((b"connection", b"close"),)
UNCACHED: Headers = ((b"cache-control", b"no-store"),)

log = structlog.get_logger("headwater.collector")


class SegmentRoutes:
    """The routes, over what they need: whose a key is, a project's settings, and where events go."""

    def __init__(
        self, settings: Settings, access: Access, plane: ControlPlane, publisher: Publisher, judges: Judges
    ) -> None:
        self._settings = settings
        self._access = access
        self._plane = plane
        self._publisher = publisher
        self._judges = judges
        batch = _handler(self._storing(None))
        self._posts: dict[str, Handler] = {f"/v1/{name}": batch for name in ("batch", "import", "b")}
        for kind in TYPES:
            self._posts[f"/v1/{kind}"] = self._posts[f"/v1/{kind[0]}"] = _handler(self._storing(kind))
        self._posts["/v1/m"] = _handler(self._discard)

    def routes(self) -> list[BaseRoute]:
        """The routes; the last is for what none of the others is for, so that it is refused in this dialect's form."""
        return [
            *(
                Route(path + slash, endpoint(handle), methods=["POST"])
                for path, handle in self._posts.items()
                for slash in ("", "/")
            ),
            *(
                Route(f"/v1/pixel/{kind}{slash}", endpoint(self._pixel(kind)), methods=["GET"])
                for kind in TYPES
                for slash in ("", "/")
            ),
            Route("/v1/projects/{key}/settings", endpoint(_handler(self._client_settings)), methods=["GET"]),
            Route("/v1/{path:path}", endpoint(_handler(self._no_route))),
        ]

    def hot_route(self, scope: Scope) -> Handler | None:
        """What answers a POST of messages, as `routes` would find it; None for every other request."""
        return self._posts.get(scope["path"]) if scope["method"] == "POST" else None

    def _storing(self, kind: str | None) -> Callable[[Request, Receive], Awaitable[Answer]]:
        """What stores a message of a type, or with None a batch."""

        async def store(request: Request, receive: Receive) -> Answer:
            body = await self._body(request, receive)
            document = read_at_once(body, kind)
            if document is not None:
                await self._store(request, kind, document)
                return 200, SUCCESS, JSON
            grant = await self._writer_of_large(request, body)
            turns = await self._judges.ask(grant.project_id, self._task(request, grant, kind), body)
            await self._publish(grant, kind, turns)
            return 200, SUCCESS, JSON

        return store

    async def _store(self, request: Request, kind: str | None, document: Document) -> None:
        grant = await self._writer(_basic_user(request), document.write_key)
        turns: list[Turn] = []
        for turn in self._task(request, grant, kind).turns(document, TURN):
            if turns:
                await asyncio.sleep(0)
            turns.append(turn)
        await self._publish(grant, kind, turns)

    def _pixel(self, kind: str) -> Handler:
        """A message in an image's address. What asks for the image could do nothing about an error: it gets the image."""

        async def handle(scope: Scope, receive: Receive) -> Answer:
            if scope["method"] == "HEAD":  # mail scanners look around with it
                return 200, b"", IMAGE
            request = Request(scope)
            query = request.query
            try:
                message = parse_lenient(decode_data(query["data"])) if "data" in query else message_of_query(query)
                await self._store(request, kind, Document(message, good_values=False))
            except ApiError as error:
                log.debug("pixel refused", reason=error.message)
            except ValueError as error:
                metrics.events_rejected.labels("InvalidMessageError").inc()
                log.debug("pixel refused", reason=str(error))
            return 200, PIXEL, IMAGE

        return handle

    async def _discard(self, request: Request, receive: Receive) -> Answer:
        """What a client counts of itself."""
        await read_body(receive, request.headers, self._settings.body_max_bytes)
        return 200, SUCCESS, JSON

    async def _client_settings(self, request: Request, receive: Receive) -> Answer:
        """What analytics.js and the mobile clients ask before they send: the key again, and where to send."""
        key = request.scope["path_params"]["key"]
        try:
            await self._writer(key)
        except ApiError as error:
            if error.status == 503:
                raise
            raise ApiError(404, "ResourceNotFoundError", "There is no project with this write key.") from None
        scheme = request.headers.get(b"x-forwarded-proto", request.scope["scheme"].encode())
        host = request.headers.get(b"host", b"").decode("latin-1")
        segment = {"apiKey": key, "apiHost": f"{host}/v1", "protocol": "https" if scheme == b"https" else "http"}
        # Unless the rate is 0, analytics.js tells Segment how it is doing.
        answer = {"integrations": {"Segment.io": segment}, "metrics": {"sampleRate": 0}}
        return 200, orjson.dumps(answer), JSON + UNCACHED

    async def _no_route(self, request: Request, receive: Receive) -> Answer:
        if request.scope["path"].rstrip("/") in self._posts:
            raise ApiError(405, "MethodNotAllowedError", "This path takes POST.", ((b"allow", b"POST"),))
        raise ApiError(404, "ResourceNotFoundError", "There is nothing at this path.")

    async def _body(self, request: Request, receive: Receive) -> bytes:
        """The body; its Content-Type says nothing, as the clients use it. Raises ApiError (400)."""
        try:
            return await read_body(receive, request.headers, self._settings.body_max_bytes)
        except ApiError as error:
            # Segment's answer; clients that know 413 do with it what they do with 400.
            raise ApiError(400, error.name, error.message, CLOSE if error.status == 413 else ()) from None

    async def _writer(self, *keys: object) -> Grant:
        """What the first good one of these keys permits. Raises ApiError where none may write."""
        refusal = AccessError(
            401, "InvalidApiKeyError", "A key is missing: send it as the user of Basic authorization or as writeKey."
        )
        for key in keys:
            if isinstance(key, str) and key:
                try:
                    return await self._access.check_key(key, "writes")
                except AccessError as error:
                    refusal = error
        raise not_allowed(refusal)

    async def _writer_of_large(self, request: Request, body: bytes) -> Grant:
        """What `_writer` says, of a body that is not read here. Where the request has a good key beside it, that is enough; else the
        body is read for its key, and once more to be judged."""
        user = _basic_user(request)
        with suppress(ApiError):
            return await self._writer(user)
        [key] = await self._judges.ask(None, KeyTask(), body)
        return await self._writer(user, key)

    def _task(self, request: Request, grant: Grant, kind: str | None) -> MessagesTask:
        project = self._plane.project(grant.project_id)
        if project is None:
            raise ApiError(404, "ResourceNotFoundError", "There is no project with this key.")
        ip = request.ip(self._settings.trusted_proxies)
        return MessagesTask(
            kind,
            Sender(ip, request.user_agent, request.scope["method"] == "GET" or b"origin" in request.headers),
            time.time_ns() // 1_000_000,
            RequestRecords(self._settings, grant.project_id, ip, request.user_agent),
            grant,
            project.settings,
            self._settings.event_max_bytes,
        )

    async def _publish(self, grant: Grant, kind: str | None, turns: Iterable[Turn]) -> None:
        """Store records; and what was refused, for the processors to put with the dead letters. Raises ApiError for a single
        message that is refused; a batch is answered as a whole, and what is refused of it the client will not hear of."""
        records: list[Record] = []
        dead: list[Record] = []
        events = refused = 0
        first: RuleError | None = None
        for turn in turns:
            records += turn.records
            dead += turn.dead
            events += turn.events
            first = first or turn.first_refusal
            for why, count in turn.without_event.items():
                metrics.messages_without_event.labels(why).inc(count)
            for name, count in turn.refused.items():
                metrics.events_rejected.labels(name).inc(count)
                refused += count
        if first is not None:
            if kind is not None and not records:
                raise ApiError(400, first.name, first.description)  # for too large events, too: Segment knows no 413
            log.info("messages refused", project=grant.project_id, count=refused, first=first.name)
        everything = [*records, *dead]
        if everything:
            await self._publisher.publish(grant.project_id, everything)
            metrics.events_accepted.inc(events)


def _handler(store: Callable[[Request, Receive], Awaitable[Answer]]) -> Handler:
    """What `store` returns, or the ApiError that it raises in this dialect's form, as the answer to a request."""

    async def handle(scope: Scope, receive: Receive) -> Answer:
        try:
            return await store(Request(scope), receive)
        except ApiError as error:
            # Ruby's client reads `error`, RudderStack's for Python sends again where there is no `code`.
            body = {"success": False, "code": error.name, "error": error.message} | error.body
            return error.status, orjson.dumps(body), JSON + error.headers

    return handle


def _basic_user(request: Request) -> str | None:
    """The user of Basic authorization, with or without the colon behind it."""
    scheme, _, encoded = request.headers.get(b"authorization", b"").strip().partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip() + b"==")
    except binascii.Error:
        return None
    return decoded.partition(b":")[0].decode("utf-8", "replace")
