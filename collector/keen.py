"""Keen's writing routes (API 3.0): one event, many events, and writes by GET; and many events of one collection as NDJSON.

At the rates of this service, request and response objects and routers cost more than the work, so endpoints are bare
callables, and the two that nearly all requests are for are found without a router.
"""

import asyncio
import re
from collections.abc import AsyncIterator

import orjson
from starlette.routing import BaseRoute, Match, Route

from collector.body import Receive, read_body
from collector.data_parameter import decode_data
from collector.endpoint import IMAGE, JSON, PIXEL, TURN, Answer, Handler, Headers, endpoint, handler
from collector.errors import ApiError, not_allowed, refused
from collector.judges import Judges
from collector.judging import BROKEN_AT_ONCE_BYTES, EVENT_AT_ONCE_BYTES
from collector.keen_judging import (
    Batch,
    BatchTask,
    Bulk,
    EventTask,
    Form,
    Turn,
    judge_batch,
    judge_event,
)
from collector.lines import Lines, is_ndjson
from collector.publish import Publisher
from collector.records import Record, RequestRecords
from collector.request import Request, Scope
from headwater import metrics
from headwater.control import Access, AccessError, Grant
from headwater.rules import RuleError
from headwater.settings import Settings

SCRIPT: Headers = ((b"content-type", b"application/javascript; charset=utf-8"), (b"x-content-type-options", b"nosniff"))
CREATED = b'{"created":true}'
BULK = Bulk()

_CALLBACK = re.compile(r"[A-Za-z_$][\w$.]{0,127}", re.ASCII)
_REDIRECT = re.compile(r"https?://[\x21-\x7e]+")


class KeenRoutes:
    """The routes, over what they need: who may write, and where events go."""

    def __init__(self, settings: Settings, access: Access, publisher: Publisher, judges: Judges) -> None:
        self._settings = settings
        self._access = access
        self._publisher = publisher
        self._judges = judges
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
        lines = Lines.asked(request) if is_ndjson(request) else None
        body = await read_body(receive, request.headers, self._settings.body_max_bytes)
        if lines is not None:
            return await self._store_many(request, grant, body, lines)
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
        make = self._records(request)
        if len(body) <= EVENT_AT_ONCE_BYTES:
            record = judge_event(body, collection, make, grant)
        else:
            [record] = await self._judges.ask(grant.project_id, EventTask(collection, make, grant), body)
        if isinstance(record, RuleError):
            metrics.events_rejected.labels(record.name).inc()
            raise refused(record)
        await self._publisher.publish(grant.project_id, (record,), backfill=backfill)
        metrics.events_accepted.inc()

    async def _store_batch(self, request: Request, receive: Receive) -> Answer:
        grant = await self._writer(request)
        body = await read_body(receive, request.headers, self._settings.body_max_bytes)
        return await self._store_many(request, grant, body, BULK)

    async def _store_many(self, request: Request, grant: Grant, body: bytes, form: Form) -> Answer:
        backfill = request.backfill
        records: list[Record] = []
        answer: list[bytes] = []
        async for turn in self._turns(body, form, self._records(request), grant):
            records += turn.records
            answer.append(turn.answer)
            for name, count in turn.refused.items():
                metrics.events_rejected.labels(name).inc(count)
        if records:
            await self._publisher.publish(grant.project_id, records, backfill=backfill)
            metrics.events_accepted.inc(len(records))
        return 200, b"".join(answer), JSON

    async def _turns(self, body: bytes, form: Form, make: RequestRecords, grant: Grant) -> AsyncIterator[Turn]:
        """What becomes of many events; others have their turn in between. Raises ApiError."""
        batch: Batch | None = None
        if form.reads_quickly(body):
            try:
                batch = form.read(body)
            except ValueError:
                if len(body) <= BROKEN_AT_ONCE_BYTES:
                    batch = form.read_or_repair(body)
        if batch is not None:
            for turn in judge_batch(batch, make, grant, TURN):
                yield turn
                if turn.more:
                    await asyncio.sleep(0)
            return
        for turn in await self._judges.ask(grant.project_id, BatchTask(form, make, grant), body):
            yield turn

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


def _call(function: str, argument: bytes) -> bytes:
    """A script that calls a function; the comment in front keeps the text from being taken for another format."""
    return b"/**/" + function.encode() + b"(" + argument + b");"
