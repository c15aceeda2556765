"""Keen's writing routes (API 3.0): one event, many events, and writes by GET.

At the rates of this service, request and response objects and routers cost more than the work, so endpoints are bare
callables, and the two that nearly all requests are for are found without a router.
"""

import asyncio
import re
from collections.abc import Iterable
from typing import Any

import orjson
from starlette.routing import BaseRoute, Match, Route

from collector.autofill import fill_all
from collector.body import Receive, read_body
from collector.data_parameter import decode_data
from collector.endpoint import IMAGE, JSON, PIXEL, TURN, Answer, Handler, Headers, endpoint, handler
from collector.errors import ApiError, not_allowed, refused
from collector.publish import Publisher
from collector.records import Record, RequestRecords
from collector.request import Request, Scope
from collector.split import split_batch
from headwater import metrics
from headwater.control import Access, AccessError, Grant
from headwater.rules import RuleError, explain_broken, parse_json, parse_values
from headwater.settings import Settings

Batch = Iterable[tuple[str, list[Any]]]  # collections with their events; a RuleError stands for a broken event

SCRIPT: Headers = ((b"content-type", b"application/javascript; charset=utf-8"), (b"x-content-type-options", b"nosniff"))
CREATED = b'{"created":true}'
STORED = {"success": True}

_CALLBACK = re.compile(r"[A-Za-z_$][\w$.]{0,127}", re.ASCII)
_REDIRECT = re.compile(r"https?://[\x21-\x7e]+")


class KeenRoutes:
    """The routes, over what they need: who may write, and where events go."""

    def __init__(self, settings: Settings, access: Access, publisher: Publisher) -> None:
        self._settings = settings
        self._access = access
        self._publisher = publisher
        self._post_event = handler(self._store_event)
        self._post_batch = handler(self._store_batch)
        self._get_event = handler(self._store_data)

    def routes(self) -> list[BaseRoute]:
        """The routes; a GET without `data` is none of them (it reads a collection's schema)."""
        events = "/3.0/projects/{project_id}/events"
        return [
            Route(f"{events}/{{collection:path}}", endpoint(self._post_event), methods=["POST"]),
            Route(events, endpoint(self._post_batch), methods=["POST"]),
            _DataRoute(f"{events}/{{collection:path}}", endpoint(self._get_event), methods=["GET"]),
        ]

    def hot_route(self, scope: Scope) -> Handler | None:
        """What answers a POST of events, as `routes` would find it; None for every other request."""
        if scope["method"] != "POST":
            return None
        parts = scope["path"].split("/", 5)
        if len(parts) < 5 or parts[1] != "3.0" or parts[2] != "projects" or parts[4] != "events" or not parts[3]:
            return None
        if len(parts) == 5:
            scope["path_params"] = {"project_id": parts[3]}
            return self._post_batch
        scope["path_params"] = {"project_id": parts[3], "collection": parts[5]}
        return self._post_event

    async def _store_event(self, request: Request, receive: Receive) -> Answer:
        grant = await self._writer(request)
        body = await read_body(receive, request.headers, self._settings.body_max_bytes)
        await self._store_one(request, grant, body)
        return 201, CREATED, JSON

    async def _store_data(self, request: Request, receive: Receive) -> Answer:
        function, redirect = request.query.get("jsonp"), request.query.get("redirect")
        if function is not None and not _CALLBACK.fullmatch(function):
            raise ApiError(400, "InvalidEventError", "Parameter 'jsonp' is not the name of a function.")
        if redirect is not None and not _REDIRECT.fullmatch(redirect):
            raise ApiError(400, "InvalidEventError", "Parameter 'redirect' is not an http or https address.")
        try:
            grant = await self._writer(request)
            try:
                body = decode_data(request.query["data"])
            except RuleError as error:
                raise refused(error) from None
            await self._store_one(request, grant, body)
        except ApiError as error:
            if function is None:
                raise
            return 200, _call(function, orjson.dumps(error.body)), SCRIPT  # a browser runs no script of a 4xx
        if function is not None:
            return 200, _call(function, CREATED), SCRIPT
        if redirect is not None:
            return 302, b"", ((b"location", redirect.encode()),)
        return 200, PIXEL, IMAGE

    async def _store_one(self, request: Request, grant: Grant, body: bytes) -> None:
        backfill = request.backfill
        collection = request.scope["path_params"]["collection"]
        try:
            event, good_values = parse_values(body)
        except ValueError:
            event, good_values = explain_broken(body), False
        fill_all([event], grant)
        [record] = self._records(request).records(collection, [event], good_values=good_values)
        if isinstance(record, RuleError):
            raise _rejected(record)
        await self._publisher.publish(grant.project_id, (record,), backfill=backfill)
        metrics.events_accepted.inc()

    async def _store_batch(self, request: Request, receive: Receive) -> Answer:
        grant = await self._writer(request)
        body = await read_body(receive, request.headers, self._settings.body_max_bytes)
        try:
            document, good_values = parse_values(body)
            batch = _batch(document)
        except ValueError:
            batch, good_values = await asyncio.to_thread(_repaired_batch, body), False
        backfill = request.backfill
        make = self._records(request).records
        records: list[Record] = []
        answer: dict[str, list[dict[str, Any]]] = {}
        for collection, events in batch:
            results = answer[collection] = []
            for start in range(0, len(events), TURN):
                if start:
                    await asyncio.sleep(0)
                turn = events[start : start + TURN]
                fill_all(turn, grant)
                made = make(collection, turn, good_values=good_values)
                good = [each for each in made if type(each) is tuple]
                records += good
                results += [STORED] * len(good) if len(good) == len(made) else map(_result, made)
        if records:
            await self._publisher.publish(grant.project_id, records, backfill=backfill)
            metrics.events_accepted.inc(len(records))
        return 200, orjson.dumps(answer), JSON

    async def _writer(self, request: Request) -> Grant:
        try:
            return await self._access.check(request.scope["path_params"]["project_id"], request.key, "writes")
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


def _result(made: Record | RuleError) -> dict[str, Any]:
    """What a bulk request is told of one event."""
    if isinstance(made, RuleError):
        metrics.events_rejected.labels(made.name).inc()
        return {"success": False, "error": {"name": made.name, "description": made.description}}
    return STORED


def _rejected(error: RuleError) -> ApiError:
    """The answer to a request whose one event is refused."""
    metrics.events_rejected.labels(error.name).inc()
    return refused(error)


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
