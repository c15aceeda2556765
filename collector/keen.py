"""Keen's writing routes (API 3.0): one event, many events, and writes by GET.

Endpoints are bare ASGI callables: at the rates of this service, request and response objects cost more than the work.
"""

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import orjson
from starlette.routing import BaseRoute, Match, Route

from collector.body import Receive, read_body
from collector.data_parameter import decode_data
from collector.errors import ApiError, not_allowed, refused
from collector.publish import Publisher
from collector.records import Record, RequestRecords
from collector.request import Request, Scope
from collector.split import split_batch
from headwater import metrics
from headwater.control import Access, AccessError
from headwater.rules import RuleError, check_collection_name, explain_broken, parse_json
from headwater.settings import Settings

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]
Answer = tuple[int, bytes, Headers]  # status, body, headers
Batch = Iterable[tuple[str, list[Any]]]  # collections with their events; a RuleError stands for a broken event

JSON: Headers = ((b"content-type", b"application/json"),)
SCRIPT: Headers = ((b"content-type", b"application/javascript; charset=utf-8"), (b"x-content-type-options", b"nosniff"))
IMAGE: Headers = ((b"content-type", b"image/gif"), (b"cache-control", b"no-store"))
PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")  # 1x1, transparent
CREATED = b'{"created":true}'
STORED = {"success": True}
TURN = 250  # events after which other requests have their turn

_CALLBACK = re.compile(r"[A-Za-z_$][\w$.]{0,127}", re.ASCII)
_REDIRECT = re.compile(r"https?://[\x21-\x7e]+")


class KeenRoutes:
    """The routes, over what they need: who may write, and where events go."""

    def __init__(self, settings: Settings, access: Access, publisher: Publisher) -> None:
        self._settings = settings
        self._access = access
        self._publisher = publisher

    def routes(self) -> list[BaseRoute]:
        """The routes; a GET without `data` is none of them (it reads a collection's schema)."""
        events = "/3.0/projects/{project_id}/events"
        return [
            Route(f"{events}/{{collection:path}}", _endpoint(self._post_event), methods=["POST"]),
            Route(events, _endpoint(self._post_batch), methods=["POST"]),
            _DataRoute(f"{events}/{{collection:path}}", _endpoint(self._get_event), methods=["GET"]),
        ]

    async def _post_event(self, request: Request, receive: Receive) -> Answer:
        await self._check_writer(request)
        body = await read_body(receive, request.headers, self._settings.body_max_bytes)
        await self._store_one(request, body)
        return 201, CREATED, JSON

    async def _get_event(self, request: Request, receive: Receive) -> Answer:
        function, redirect = request.query.get("jsonp"), request.query.get("redirect")
        if function is not None and not _CALLBACK.fullmatch(function):
            raise ApiError(400, "InvalidEventError", "Parameter 'jsonp' is not the name of a function.")
        if redirect is not None and not _REDIRECT.fullmatch(redirect):
            raise ApiError(400, "InvalidEventError", "Parameter 'redirect' is not an http or https address.")
        try:
            await self._check_writer(request)
            try:
                body = decode_data(request.query["data"])
            except RuleError as error:
                raise refused(error) from None
            await self._store_one(request, body)
        except ApiError as error:
            if function is None:
                raise
            return 200, _call(function, orjson.dumps(error.body)), SCRIPT  # a browser runs no script of a 4xx
        if function is not None:
            return 200, _call(function, CREATED), SCRIPT
        if redirect is not None:
            return 302, b"", ((b"location", redirect.encode()),)
        return 200, PIXEL, IMAGE

    async def _store_one(self, request: Request, body: bytes) -> None:
        collection = request.scope["path_params"]["collection"]
        try:
            check_collection_name(collection)
            record = self._records(request).record(collection, _parse_event(body))
        except RuleError as error:
            metrics.events_rejected.labels(error.name).inc()
            raise refused(error) from None
        await self._publisher.publish((record,))
        metrics.events_accepted.inc()

    async def _post_batch(self, request: Request, receive: Receive) -> Answer:
        await self._check_writer(request)
        body = await read_body(receive, request.headers, self._settings.body_max_bytes)
        try:
            batch = _batch(parse_json(body))
        except ValueError:
            batch = await asyncio.to_thread(_repaired_batch, body)
        make = self._records(request).record
        records: list[Record] = []
        answer: dict[str, list[dict[str, Any]]] = {}
        for collection, events in batch:
            results = answer[collection] = []
            for number, event in enumerate(events, 1):
                try:
                    check_collection_name(collection)
                    if type(event) is RuleError:
                        raise event
                    records.append(make(collection, event))
                    results.append(STORED)
                except RuleError as error:
                    metrics.events_rejected.labels(error.name).inc()
                    results.append({"success": False, "error": {"name": error.name, "description": error.description}})
                if not number % TURN:
                    await asyncio.sleep(0)
        if records:
            await self._publisher.publish(records)
            metrics.events_accepted.inc(len(records))
        return 200, orjson.dumps(answer), JSON

    async def _check_writer(self, request: Request) -> None:
        try:
            await self._access.check(request.scope["path_params"]["project_id"], request.key)
        except AccessError as error:
            raise not_allowed(error) from None

    def _records(self, request: Request) -> RequestRecords:
        return RequestRecords(
            self._settings,
            request.scope["path_params"]["project_id"],
            request.ip(self._settings.trusted_proxies),
            request.user_agent,
        )


class _DataRoute(Route):
    """A route that only requests with a parameter `data` match."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        # Starlette would let HEAD through with GET, and a HEAD must not write.
        if scope["type"] != "http" or scope["method"] != "GET" or "data" not in Request(scope).query:
            return Match.NONE, {}
        return super().matches(scope)


def _endpoint(handle: Callable[[Request, Receive], Awaitable[Answer]]) -> Any:
    """An ASGI callable that answers with what `handle` returns or raises."""

    class Endpoint:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            try:
                status, body, headers = await handle(Request(scope), receive)
            except ApiError as error:
                status, body, headers = error.status, orjson.dumps(error.body), JSON + error.headers
            length = (b"content-length", b"%d" % len(body))
            await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
            await send({"type": "http.response.body", "body": body})

    return Endpoint()


def _parse_event(text: bytes) -> object:
    """One event's JSON. Raises RuleError."""
    try:
        return parse_json(text)
    except ValueError:
        raise explain_broken(text) from None


def _batch(document: object) -> Batch:
    """The collections and events of a bulk body. Raises ApiError where it has another form."""
    if type(document) is not dict:
        raise ApiError(400, "InvalidBatchError", 'The body must be a JSON object: {"collection": [event, ...], ...}.')
    for collection, events in document.items():
        if type(events) is not list:
            raise ApiError(400, "InvalidBatchError", f"Collection {collection[:80]!r} must have a list of events.")
    return document.items()


def _repaired_batch(body: bytes) -> Batch:
    """The events of a bulk body that is not JSON as a whole: those that are, and a RuleError for each that is not."""
    parts = split_batch(body)
    if parts is None:
        raise ApiError(400, "InvalidBatchError", explain_broken(body).description)
    batch: dict[str, list[Any]] = {}
    for name, texts in parts:
        try:
            collection = orjson.loads(name)
        except ValueError:
            raise ApiError(400, "InvalidBatchError", "The name of a collection is not valid UTF-8 text.") from None
        batch[collection] = [_event_or_error(text) for text in texts]
    return batch.items()


def _event_or_error(text: bytes) -> object:
    try:
        return _parse_event(text)
    except RuleError as error:
        return error


def _call(function: str, argument: bytes) -> bytes:
    """A script that calls a function; the comment in front keeps the text from being taken for another format."""
    return b"/**/" + function.encode() + b"(" + argument + b");"
