"""Segment's tracking API: its paths as Segment's and RudderStack's clients call them, for events as Segment sent them to Keen.

What a client looks for in an answer differs from client to client, so each answer has it all: exactly 200 and
`{"success":true}`, and errors with `success`, `code`, `message`, `error` and `error_code`.
"""

import asyncio
import base64
import binascii
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import orjson
import structlog
from starlette.routing import BaseRoute, Route

from collector.autofill import fill_all
from collector.body import Receive, read_body
from collector.data_parameter import decode_data
from collector.endpoint import IMAGE, PIXEL, TURN, Answer, Handler, Headers, endpoint
from collector.errors import ApiError, not_allowed, refused
from collector.lenient_json import parse_lenient
from collector.publish import Publisher
from collector.records import Given, Record, RequestRecords
from collector.request import Request, Scope
from collector.segment_mapping import Mapped, cloud_events, device_events, identified, switched_on
from collector.segment_messages import TYPES, Envelope, Message, batch_of, message_of, message_of_query, object_of
from headwater import metrics
from headwater.control import Access, AccessError, ControlPlane, Grant, ProjectSettings
from headwater.rules import RuleError, explain_broken, parse_values
from headwater.segment_users import IDENTIFY, user_key
from headwater.settings import Settings

TOO_LARGE_KEPT = 200_000  # bytes of an event that is too large, in its dead letter
SUCCESS = b'{"success":true}'
# Of other headers' values a browser tells its scripts nothing.
JSON: Headers = ((b"content-type", b"application/json"), (b"access-control-expose-headers", b"Retry-After"))
UNCACHED: Headers = ((b"cache-control", b"no-store"),)
# How context.library.name begins where it is the user's own device that sends.
ON_DEVICES = (
    "analytics.js",
    "analytics-android",
    "analytics-flutter",
    "analytics-ios",
    "analytics-kotlin",
    "analytics-swift",
    "@segment/analytics-react-native",
    "RudderLabs JavaScript SDK",
)

log = structlog.get_logger("headwater.collector")


class _Document(NamedTuple):
    """A body's JSON; `good_values` as `headwater.rules.parse_values` says."""

    value: Any
    good_values: bool


class _Outcome(NamedTuple):
    """The records that a request's messages make, how many of these are events, and what was refused."""

    records: list[Record]
    events: int
    refusals: "list[_Refusal]"


class _Refusal(NamedTuple):
    """A message that makes no event, or an event that is against the rules, and why."""

    reason: RuleError
    collection: str
    properties: object


class SegmentRoutes:
    """The routes, over what they need: whose a key is, a project's settings, and where events go."""

    def __init__(self, settings: Settings, access: Access, plane: ControlPlane, publisher: Publisher) -> None:
        self._settings = settings
        self._access = access
        self._plane = plane
        self._publisher = publisher
        batch = _handler(self._store_batch)
        self._posts: dict[str, Handler] = {f"/v1/{name}": batch for name in ("batch", "import", "b")}
        for kind in TYPES:
            self._posts[f"/v1/{kind}"] = self._posts[f"/v1/{kind[0]}"] = _handler(self._single(kind))
        self._posts["/v1/m"] = _handler(self._discard)

    def routes(self) -> list[BaseRoute]:
        """The routes; the last is for what none of the others is for, so that it is refused in this dialect's form."""
        return [
            *(
                Route(path + slash, endpoint(handle), methods=["POST"])
                for path, handle in self._posts.items()
                for slash in ("", "/")
            ),
            *(Route(f"/v1/pixel/{kind}", endpoint(self._pixel(kind)), methods=["GET"]) for kind in TYPES),
            Route("/v1/projects/{key}/settings", endpoint(_handler(self._client_settings)), methods=["GET"]),
            Route("/v1/{path:path}", endpoint(_handler(self._no_route))),
        ]

    def hot_route(self, scope: Scope) -> Handler | None:
        """What answers a POST of messages, as `routes` would find it; None for every other request."""
        return self._posts.get(scope["path"]) if scope["method"] == "POST" else None

    async def _store_batch(self, request: Request, receive: Receive) -> Answer:
        document = await self._document(request, receive)
        grant = await self._writer(_basic_user(request), object_of(document.value).get("writeKey"))
        try:
            batch = batch_of(document.value)
        except RuleError as error:
            raise refused(error) from None
        # A batch is answered as a whole: what is refused of it the client will not hear of.
        await self._publish(grant, await self._outcome(request, grant, batch, document))
        return 200, SUCCESS, JSON

    def _single(self, kind: str) -> Callable[[Request, Receive], Awaitable[Answer]]:
        async def store(request: Request, receive: Receive) -> Answer:
            await self._store_message(request, kind, await self._document(request, receive))
            return 200, SUCCESS, JSON

        return store

    async def _store_message(self, request: Request, kind: str, document: _Document) -> None:
        message = document.value
        grant = await self._writer(_basic_user(request), object_of(message).get("writeKey"))
        outcome = await self._outcome(request, grant, [message], document._replace(value={}), kind)
        if outcome.refusals and not outcome.records:
            reason = outcome.refusals[0].reason
            raise ApiError(400, reason.name, reason.description)  # for too large events, too: Segment knows no 413
        await self._publish(grant, outcome)

    def _pixel(self, kind: str) -> Handler:
        """A message in an image's address. What asks for the image could do nothing about an error: it gets the image."""

        async def handle(scope: Scope, receive: Receive) -> Answer:
            if scope["method"] == "HEAD":  # mail scanners look around with it
                return 200, b"", IMAGE
            request = Request(scope)
            query = request.query
            try:
                message = parse_lenient(decode_data(query["data"])) if "data" in query else message_of_query(query)
                await self._store_message(request, kind, _Document(message, good_values=False))
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

    async def _document(self, request: Request, receive: Receive) -> _Document:
        """The body's JSON; its Content-Type says nothing, as the clients use it. Raises ApiError (400)."""
        try:
            body = await read_body(receive, request.headers, self._settings.body_max_bytes)
        except ApiError as error:
            # Segment's answer; clients that know 413 do with it what they do with 400.
            raise ApiError(400, error.name, error.message) from None
        try:
            return _Document(*parse_values(body))
        except ValueError:
            try:
                return _Document(await asyncio.to_thread(parse_lenient, body), good_values=False)
            except ValueError:
                raise ApiError(400, "InvalidMessageError", explain_broken(body).description) from None

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

    async def _outcome(
        self, request: Request, grant: Grant, given: Sequence[Any], document: _Document, kind: str | None = None
    ) -> _Outcome:
        """What messages make; `document` is their envelope."""
        project = self._plane.project(grant.project_id)
        if project is None:
            raise ApiError(404, "ResourceNotFoundError", "There is no project with this key.")
        envelope = Envelope.of(document.value, time.time_ns() // 1_000_000)
        sender = request.ip(self._settings.trusted_proxies)
        make = RequestRecords(self._settings, grant.project_id, sender, request.user_agent)
        records: list[Record] = []
        refusals: list[_Refusal] = []
        told = 0  # users that the processors are told of
        for start in range(0, len(given), TURN):
            if start:
                await asyncio.sleep(0)
            events: list[Mapped] = []
            for one in given[start : start + TURN]:
                try:
                    message = message_of(one, envelope, kind)
                    events += _events(_with_sender(message, request, sender), project.settings)
                except RuleError as error:
                    refusals.append(_Refusal(error, "", one))
            told += sum(not mapped.is_event for mapped in events)
            fill_all([mapped.event for mapped in events if mapped.is_event], grant)
            for mapped, made in zip(events, _made(events, grant.project_id, make, document.good_values), strict=True):
                if isinstance(made, RuleError):
                    refusals.append(_Refusal(made, mapped.collection, mapped.event))
                elif mapped.user is None:
                    records.append(made)
                else:
                    records.append((user_key(grant.project_id, mapped.user), made[1]))
        for refusal in refusals:
            metrics.events_rejected.labels(refusal.reason.name).inc()
        return _Outcome(records, len(records) - told, refusals)

    async def _publish(self, grant: Grant, outcome: _Outcome) -> None:
        """Store records; and what was refused, for the processors to put with the dead letters."""
        records, events, refusals = outcome
        if refusals:
            log.info("messages refused", project=grant.project_id, count=len(refusals), first=refusals[0].reason.name)
        everything = [*records, *_as_envelopes(grant.project_id, refusals, self._settings.event_max_bytes)]
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


def _with_sender(message: Message, request: Request, sender: str | None) -> Message:
    """A message that says where it comes from, where the user's device sent it: a server's address would be nobody's."""
    context = message.context
    by_page = request.scope["method"] == "GET" or b"origin" in request.headers
    library = object_of(context.get("library")).get("name")
    if not by_page and context.get("direct") is not True and not str(library).startswith(ON_DEVICES):
        return message
    known = {"ip": sender, "userAgent": request.user_agent if by_page else None}
    return replace(message, context=known | {name: value for name, value in context.items() if value is not None})


def _events(message: Message, settings: ProjectSettings) -> list[Mapped]:
    """The events of a message; that there are none is counted. Raises RuleError."""
    if not switched_on(message.integrations):
        metrics.messages_without_event.labels("switched_off").inc()
        return []
    if settings.segment_mode == "device":
        who = identified(message)
        events = device_events(message, settings) if who is None else [who]
    else:
        events = cloud_events(message, settings)
    if not events:
        metrics.messages_without_event.labels(message.type).inc()
    return events


def _made(
    events: Sequence[Mapped], project_id: str, make: RequestRecords, good_values: bool
) -> list[Record | RuleError]:
    """What becomes of each event, in their order; those of a collection are made together.

    What is no event goes as an envelope, since no event's collection can have its name.
    """
    by_collection: dict[str, list[int]] = {}
    made: dict[int, Record | RuleError] = {}
    for position, mapped in enumerate(events):
        if mapped.is_event:
            by_collection.setdefault(mapped.collection, []).append(position)
            continue
        envelope = {"project_id": project_id, "collection": mapped.collection, "properties": mapped.event}
        made[position] = (b"", orjson.dumps(envelope))
    for collection, positions in by_collection.items():
        together = [events[position].event for position in positions]
        given = [Given(time=events[position].time_given) for position in positions]
        records = make.records(collection, together, good_values=good_values, given=given)
        made.update(zip(positions, records, strict=True))
    return [made[position] for position in range(len(events))]


def _as_envelopes(project_id: str, refusals: Sequence[_Refusal], largest: int) -> list[Record]:
    """What was refused, as raw records in JSON: the processors refuse it by the same rules, and keep it as dead letters.

    Processors take larger events than the `largest` bytes of collectors: of those the beginning goes, as text, which is no event.
    """
    records = []
    for _, collection, properties in refusals:
        name = "" if collection == IDENTIFY else collection  # which is refused as well, and is no identify
        envelope = {"project_id": project_id, "collection": name, "properties": properties}
        try:
            value = orjson.dumps(envelope)
        except TypeError:  # integers beyond 64 bits, or nested too deeply for orjson
            try:
                value = json.dumps(envelope).encode()
            except RecursionError:
                continue
        if len(value) > largest:
            beginning = value[: min(TOO_LARGE_KEPT, largest)].decode("utf-8", "replace")
            value = orjson.dumps(envelope | {"properties": beginning})
        records.append((project_id.encode(), value))
    return records
