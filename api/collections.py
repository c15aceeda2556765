"""Looking around in a project: its collections, their properties, their latest events, their last 30 days.

Names, types and figures come from what the processors keep in Kafka, so they are there in milliseconds, whatever the number
of events; what a deletion took away is left out.
"""

import asyncio
from datetime import UTC
from typing import Any
from urllib.parse import quote

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from api.live import LiveFollower
from api.parameters import granted, unfiltered
from api.queries import Queries
from api.responses import json_response, parts_response
from headwater.aggregates import DAY, HOUR, MINUTE
from headwater.catalogue import CollectionSeen
from headwater.control import Access, ControlPlane
from headwater.query import QueryError
from headwater.query.timeframe import LATEST
from headwater.query.zones import iso

MOST_COLLECTIONS = 5_000  # Keen lists no more
LATEST_EVENTS = 10
OF_EVERY_EVENT = {"keen.created_at": "datetime", "keen.id": "string", "keen.timestamp": "datetime"}


class Collections:
    """The routes, over what they need: who may ask, what the processors know, the queries."""

    def __init__(self, access: Access, plane: ControlPlane, live: LiveFollower, queries: Queries) -> None:
        self._access = access
        self._plane = plane
        self._live = live
        self._queries = queries

    def routes(self, project: str) -> list[BaseRoute]:
        """The routes under a project's path."""
        return [
            Route(f"{project}/events", self.every, methods=["GET"]),
            Route(f"{project}/events/{{collection:path}}", self.one, methods=["GET"]),
            Route(f"{project}/latest", self.latest, methods=["GET"]),
            Route(f"{project}/trend", self.trend, methods=["GET"]),
        ]

    async def every(self, request: Request) -> Response:
        """GET events: the collections, with the types of their properties unless `include_schema` is false."""
        project_id = (await granted(request, self._access, "schema")).project_id
        schemas = request.query_params.get("include_schema", "").lower() not in ("false", "0")
        # Thousands of collections take a second when they are first asked for, and others are not to wait for that.
        return json_response(await asyncio.to_thread(self._every, project_id, schemas))

    async def one(self, request: Request) -> Response:
        """GET events/{collection}, and events/{collection}/properties/{name}."""
        project_id = (await granted(request, self._access, "schema")).project_id
        name: str = request.path_params["collection"]
        if self._seen(project_id, name) is not None:
            return json_response(self._described(project_id, name))
        collection, separator, path = name.rpartition("/properties/")
        if not separator:
            raise _unknown(name)
        return json_response(self._property(project_id, collection, path))

    async def latest(self, request: Request) -> Response:
        """GET latest: the last 10 events of a collection by event time, the newest first."""
        grant = await granted(request, self._access, "queries")
        collection = self._collection(grant.project_id, request)
        newest = self._live.last_event_at(grant.project_id, collection)
        question = {"event_collection": collection, "latest": LATEST_EVENTS, "filters": grant.filters}
        # A short span is read sooner than all time.
        starts = [] if newest is None else [newest - span for span in (MINUTE, HOUR, DAY, 30 * DAY)]
        with self._queries.place(grant.key_id):
            for start in starts:
                timeframe = {"start": iso(start, UTC), "end": iso(LATEST, UTC)}
                reply = await self._queries.answer(grant.project_id, "extraction", question | {"timeframe": timeframe})
                if len(orjson.loads(reply.text)["result"]) == LATEST_EVENTS:
                    return parts_response([reply.text])
            reply = await self._queries.answer(grant.project_id, "extraction", question)
            return parts_response([reply.text])

    async def trend(self, request: Request) -> Response:
        """GET trend: events on each of the last 30 days (UTC), of one collection or of all together, as Keen's intervals."""
        grant = await granted(request, self._access, "queries")
        unfiltered(grant)
        everything = "event_collection" not in request.query_params
        names = self.names(grant.project_id) if everything else [self._collection(grant.project_id, request)]
        days = self._live.days(grant.project_id, names)
        spans = [
            {"value": events, "timeframe": {"start": iso(start, UTC), "end": iso(start + DAY, UTC)}}
            for start, events in days
        ]
        return json_response({"result": spans})

    def _every(self, project_id: str, schemas: bool) -> list[dict[str, Any]]:
        return [self._described(project_id, name, schemas) for name in self.names(project_id)[:MOST_COLLECTIONS]]

    def names(self, project_id: str) -> list[str]:
        """The collections of a project that have events, in order."""
        return [name for name in self._live.catalogues.collections(project_id) if self._seen(project_id, name)]

    def has(self, project_id: str, name: str) -> bool:
        """Whether there is a collection of this name, with events."""
        return self._seen(project_id, name) is not None

    def _seen(self, project_id: str, name: str) -> CollectionSeen | None:
        """What is known of a collection, less what was deleted and did not come again."""
        seen = self._live.catalogues.collection(project_id, name)
        for deletion in self._plane.deletions.of(project_id, name) if seen else ():
            assert seen is not None
            if deletion.property_name is not None:
                seen = seen.without(deletion.property_name, deletion.deleted_at)
            elif deletion.whole:
                if max(seen.last_seen, self._live.last_received_at(project_id, name)) <= deletion.deleted_at:
                    return None
                seen = seen.since(deletion.deleted_at)
        return seen

    def _collection(self, project_id: str, request: Request) -> str:
        """The collection that the parameter event_collection names. Raises QueryError where there is none."""
        name = request.query_params.get("event_collection", "")
        if self._seen(project_id, name) is None:
            raise _unknown(name)
        return name

    def _described(self, project_id: str, name: str, schema: bool = True) -> dict[str, Any]:
        described: dict[str, Any] = {"name": name, "url": collection_url(project_id, name)}
        seen = self._seen(project_id, name)
        if schema and seen:
            types = {path: one.type_names[0] for path, one in seen.properties.items()}
            described["properties"] = OF_EVERY_EVENT | types
        return described

    def _property(self, project_id: str, collection: str, path: str) -> dict[str, Any]:
        seen = self._seen(project_id, collection)
        if seen is None:
            raise _unknown(collection)
        described = {"property_name": path, "url": f"{collection_url(project_id, collection)}/properties/{quote(path)}"}
        if path in OF_EVERY_EVENT:
            return described | {"type": OF_EVERY_EVENT[path]}
        one = seen.properties.get(path)
        if one is None:
            raise QueryError(
                "ResourceNotFoundError", f"No event of collection {collection!r} has had property {path!r}.", 404
            )
        return described | {
            "type": one.type_names[0],
            "types": one.type_names,
            "events": one.events,
            "first_seen": iso(one.first_seen, UTC),
            "last_seen": iso(one.last_seen, UTC),
        }


def collection_url(project_id: str, name: str) -> str:
    """The path of a collection's route."""
    return f"/3.0/projects/{project_id}/events/{quote(name, safe='')}"


def _unknown(name: str) -> QueryError:
    return QueryError("ResourceNotFoundError", f"There is no collection {name!r} with events.", 404)
