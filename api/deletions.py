"""Deletions over HTTP: a collection, some of its events, a property; with the master key.

A deletion is a record of the control plane. The answer waits until a sink has done it.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator
from datetime import UTC
from typing import Any

import orjson
from clickhouse_connect.driver.exceptions import Error as DriverError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from api.collections import Collections
from api.parameters import granted
from api.responses import json_response
from headwater.control import Access, ControlError, ControlPlane, Deletion, DeletionWriter
from headwater.query import QueryError
from headwater.query.filters import AnyOf, Condition, Filter, parse_filters
from headwater.query.paths import parse_path
from headwater.query.statements import Limits, connect
from headwater.query.timeframe import parse_timeframe
from headwater.query.zones import iso, parse_timezone
from headwater.rules import RuleError, check_collection_name
from headwater.settings import Settings
from headwater.topics import backfill_topic, collection_topic, dead_letters_topic, raw_topic

DONE_SECONDS = 25.0
LOOK_SECONDS = 0.02
HOUR = 3_600_000
CANNOT_COMPILE_REGEXP = 427  # ClickHouse's number
CHOOSING = frozenset({"filters", "timeframe", "timezone"})
# What clients put into any URL. With another parameter and nothing that chooses events, somebody misspelled a name: better
# not take that for "all of them".
HARMLESS = CHOOSING | {"api_key", "modified", "c", "jsonp", ""}


class DeletionRoutes:
    """The routes, over what they need: who may delete, the control plane, what collections there are."""

    def __init__(
        self,
        settings: Settings,
        access: Access,
        plane: ControlPlane,
        writer: DeletionWriter,
        collections: Collections,
    ) -> None:
        self._settings = settings
        self._access = access
        self._plane = plane
        self._writer = writer
        self._collections = collections

    def routes(self, project: str) -> list[BaseRoute]:
        """The routes under a project's path."""
        return [
            Route(f"{project}/events/{{collection:path}}", self.delete, methods=["DELETE"]),
            Route(f"{project}/deletions", self.every, methods=["GET"]),
        ]

    async def delete(self, request: Request) -> Response:
        """DELETE events/{collection}, by filters and timeframe where given; and events/{collection}/properties/{name}.

        204 when it is done; 200 with what is under way where that takes long.
        """
        project_id = (await granted(request, self._access, "master")).project_id
        name: str = request.path_params["collection"]
        collection, separator, path = name.rpartition("/properties/")
        if separator and not self._collections.has(project_id, name):
            wanted: dict[str, Any] = {"property_name": _property(path)}
        else:
            collection, wanted = name, _chosen(request)
        try:
            check_collection_name(collection)
        except RuleError as error:
            raise QueryError(error.name, error.description) from None
        patterns = list(_patterns(parse_filters(wanted.get("filters", []))))
        if patterns:
            await asyncio.to_thread(self._check_patterns, patterns)
        try:
            deletion = await asyncio.to_thread(self._writer.delete, project_id, collection, **wanted)
        except ControlError as error:
            raise QueryError(
                "ServiceUnavailableError", f"The deletion could not be recorded; ask again. {error}", 503
            ) from None
        described = self._described(await self._done(deletion))
        headers = {
            "Headwater-Deletion": deletion.id,
            "Headwater-Copies-In-Kafka": orjson.dumps(described["copies_in_kafka"]).decode(),
        }
        if described["done_at"] is not None:
            return Response(status_code=204, headers=headers)
        return json_response(described, headers=headers)

    async def every(self, request: Request) -> Response:
        """GET deletions: all of the project, the oldest first; without what they looked for."""
        project_id = (await granted(request, self._access, "master")).project_id
        return json_response([self._described(one) for one in self._plane.deletions.of_project(project_id)])

    def _check_patterns(self, patterns: list[str]) -> None:
        """Have the engine read regular expressions: one that it refuses could never be looked for. Raises QueryError."""
        client = connect(self._settings.clickhouse, Limits.of(self._settings))
        try:
            for pattern in patterns:
                client.command("SELECT match('', {pattern:String})", {"pattern": pattern})
        except DriverError as error:
            if error.code == CANNOT_COMPILE_REGEXP:
                raise QueryError(
                    "InvalidPropertyValueError",
                    f"{pattern!r} is not a regular expression that RE2 knows (no look-around).",
                ) from None
            raise QueryError("ServiceUnavailableError", "ClickHouse cannot be asked; try again later.", 503) from error
        finally:
            client.close()

    async def _done(self, deletion: Deletion) -> Deletion:
        """The deletion when it is done, or as it is after DONE_SECONDS."""
        deadline = time.monotonic() + DONE_SECONDS
        while True:
            newest = self._plane.deletions.get(deletion.id) or deletion
            if newest.done_at is not None or time.monotonic() > deadline:
                return newest
            await asyncio.sleep(LOOK_SECONDS)

    def _described(self, deletion: Deletion) -> dict[str, Any]:
        settings, at = self._settings, deletion.deleted_at
        topic = collection_topic(settings.topic_prefix, deletion.project_id, deletion.collection)
        kept = {
            raw_topic(settings): settings.raw_retention_hours,
            backfill_topic(settings): settings.backfill_retention_hours,
            topic: settings.events_retention_hours,
            dead_letters_topic(settings): settings.dead_letter_retention_hours,
        }
        return {
            "id": deletion.id,
            "event_collection": deletion.collection,
            "what": deletion.what,
            "deleted_at": iso(at, UTC),
            "done_at": None if deletion.done_at is None else iso(deletion.done_at, UTC),
            # Where Kafka still has copies, and until when it deletes them.
            "copies_in_kafka": {name: iso(at + hours * HOUR, UTC) for name, hours in kept.items()},
        }


def _patterns(filters: Iterable[Filter]) -> Iterator[str]:
    """The regular expressions in filters."""
    for one in filters:
        if isinstance(one, AnyOf):
            yield from _patterns(one.operands)
        elif isinstance(one, Condition) and one.operator == "regex" and isinstance(one.value, str):
            yield one.value


def _property(path: str) -> str:
    """The property to delete. Raises QueryError for one that every event has."""
    if parse_path(path, "property").column is not None or path == "keen":
        raise QueryError(
            "InvalidPropertyNameError", f"Property {path!r} is of every event and cannot be deleted; delete the events."
        )
    return path


def _chosen(request: Request) -> dict[str, Any]:
    """Which events a request deletes: its filters, and its timeframe as of now, absolute. Raises QueryError."""
    given = {name: value for name, value in request.query_params.items() if value not in ("", "null")}
    chosen: dict[str, Any] = {}
    if "filters" in given:
        filters = orjson.loads(given["filters"]) if parse_filters(given["filters"]) else []
        chosen["filters"] = [filters] if isinstance(filters, dict) else filters
    if "timeframe" in given:
        span = parse_timeframe(given["timeframe"], parse_timezone(given.get("timezone")), time.time_ns() // 1_000_000)
        chosen["timeframe"] = {"start": iso(span.start, UTC), "end": iso(span.end, UTC)}
    unknown = request.query_params.keys() - HARMLESS
    if unknown and not chosen:
        raise QueryError(
            "QueryDefinitionError",
            f"There is no parameter {min(unknown)!r} of deletions; without filters and timeframe the whole collection "
            "would be deleted.",
        )
    return chosen
