"""Saved queries over HTTP: kept by the master key, answered to whoever may see them."""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from api.objects import catch_up, written
from api.parameters import body_object, granted
from api.queries import METADATA, wants_metadata
from api.refresher import Job
from api.responses import json_response
from api.saved_results import SavedResults
from headwater.control import Access, ControlPlane, ControlWriter
from headwater.control.records import Record, changed
from headwater.query import QueryError
from headwater.query.definition import parse_definition
from headwater.query.errors import shown
from headwater.query.zones import iso
from headwater.saved.definition import (
    KIND,
    REFRESH_RATE_MAX,
    SavedQuery,
    is_name,
    object_id,
    read_saved,
    saved_record,
)
from headwater.saved.results import Made, ResultKey
from headwater.settings import Settings


class SavedQueries:
    """The routes under `queries/saved`."""

    def __init__(
        self,
        settings: Settings,
        access: Access,
        plane: ControlPlane,
        writer: ControlWriter,
        results: SavedResults,
    ) -> None:
        self._settings = settings
        self._access = access
        self._plane = plane
        self._writer = writer
        self._results = results
        self._times: dict[ResultKey, int] | None = None  # of the newest results; None: to be read from ClickHouse

    def routes(self, project: str) -> list[BaseRoute]:
        """The routes, under a project's path; they belong before those of the analyses."""
        one = f"{project}/queries/saved/{{name}}"
        return [
            Route(f"{project}/queries/saved", self._list, methods=["GET"]),
            Route(one, self._show, methods=["GET"]),
            Route(one, self._put, methods=["PUT"]),
            Route(one, self._delete, methods=["DELETE"]),
            Route(f"{one}/result", self._result, methods=["GET"]),
        ]

    async def jobs(self) -> list[Job]:
        """What is to be refreshed, and when. Raises QueryError (503)."""
        if self._times is None:
            self._times = await self._results.times()
        jobs = []
        for saved in (read_saved(record) for record in self._plane.records(KIND)):
            if saved is not None and saved.refresh_rate:
                with suppress(QueryError):  # a definition that this version does not take any more
                    key = self._results.key(saved)
                    made_at = self._times.get(key)
                    due = 0.0 if made_at is None else made_at / 1000 + saved.refresh_rate
                    jobs.append(Job(("saved query", saved.project_id, saved.name), due, self._refreshing(saved, key)))
        return jobs

    def lease_changed(self) -> None:
        """Another replica may have made results meanwhile."""
        self._times = None

    def _refreshing(self, saved: SavedQuery, key: ResultKey) -> Callable[[], Any]:
        async def refresh() -> None:
            made = await self._results.refresh(saved)
            if self._times is not None:
                self._times[key] = made.made_at

        return refresh

    async def _list(self, request: Request) -> Response:
        project_id = (await granted(request, self._access, "master")).project_id
        await catch_up(self._plane, "Saved queries")
        found = (read_saved(record) for record in self._plane.records(KIND))
        saved = [one for one in found if one is not None and one.project_id == project_id]
        return json_response([_shown(one) for one in sorted(saved, key=lambda one: one.name)])

    async def _show(self, request: Request) -> Response:
        project_id = (await granted(request, self._access, "master")).project_id
        await catch_up(self._plane, "Saved queries")
        return json_response(_shown(self._found(project_id, request.path_params["name"])))

    async def _put(self, request: Request) -> Response:
        """Create or replace; another `query_name` in the body renames."""
        project_id = (await granted(request, self._access, "master")).project_id
        name = request.path_params["name"]
        body = await body_object(request, self._settings.body_max_bytes)
        new_name = body.get("query_name") or name
        if not isinstance(new_name, str) or not is_name(new_name) or not is_name(name):
            raise _wrong("query_name", f"{shown(new_name)} must be 1 to 128 letters, digits, '-' or '_'")
        members: dict[str, Any] = {
            "query": _query(body.get("query")),
            "refresh_rate": _refresh_rate(body.get("refresh_rate")),
            "metadata": _metadata(body.get("metadata")),
        }
        created = False

        def records(now: int) -> list[Record]:
            nonlocal created
            before = self._plane.record(KIND, object_id(project_id, name))
            after = before if new_name == name else self._plane.record(KIND, object_id(project_id, new_name))
            old, taken = read_saved(before), read_saved(after)
            if new_name != name and taken is not None and old is not None:
                raise QueryError(
                    "ResourceAlreadyExistsError",
                    f"There is a saved query {shown(new_name)} already; delete it first.",
                    409,
                )
            known = old or taken
            created = known is None
            version = after["version"] + 1 if after else 1
            created_at = known.created_at if known else now
            written = [
                saved_record(
                    SavedQuery(project_id, new_name, version, **members, created_at=created_at, modified_at=now)
                )
            ]
            if before is not None and old is not None and new_name != name:
                written.append(changed(before, now, {"deleted": True}))
            return written

        await written(lambda: self._writer.write(records), "Saved queries")
        return json_response(_shown(self._found(project_id, new_name)), 201 if created else 200)

    async def _delete(self, request: Request) -> Response:
        project_id = (await granted(request, self._access, "master")).project_id
        name = request.path_params["name"]

        def records(now: int) -> list[Record]:
            record = self._plane.record(KIND, object_id(project_id, name))
            if record is None or read_saved(record) is None:
                raise _no_such()
            return [changed(record, now, {"deleted": True, "query": None, "metadata": None})]

        await written(lambda: self._writer.write(records), "Saved queries")
        await self._results.forget(project_id, name)
        return Response(status_code=204)

    async def _result(self, request: Request) -> Response:
        """The definition with its result; a key with filters has the result under them."""
        grant = await granted(request, self._access, "saved_queries", "cached_queries")
        name = request.path_params["name"]
        saved = read_saved(self._plane.record(KIND, object_id(grant.project_id, name)))
        if saved is None:
            await catch_up(self._plane, "Saved queries")
            saved = read_saved(self._plane.record(KIND, object_id(grant.project_id, name)))
        if not grant.opens_saved_query(name, saved is not None and saved.refresh_rate > 0):
            raise QueryError("InvalidApiKeyError", "The key given does not permit this saved query.", 403)
        if saved is None:
            raise _no_such()
        made = await self._results.answer(saved, grant.saved_query_filters(name), grant.key_id)
        described = _shown(saved, made)
        if wants_metadata(request.query_params) and made.execution is not None:
            described[METADATA] = made.execution.metadata
        definition = orjson.dumps(described)
        return Response(definition[:-1] + b',"result":' + made.result + b"}", media_type="application/json")

    def _found(self, project_id: str, name: str) -> SavedQuery:
        saved = read_saved(self._plane.record(KIND, object_id(project_id, name)))
        if saved is None:
            raise _no_such()
        return saved


def _shown(saved: SavedQuery, made: Made | None = None) -> dict[str, Any]:
    """A saved query as Keen shows it; what it was made of and how it went, where there is a result."""
    path = f"/3.0/projects/{saved.project_id}/queries/saved/{saved.name}"
    modified = _iso(saved.modified_at)
    return {
        "query_name": saved.name,
        "refresh_rate": saved.refresh_rate,
        "query": saved.query,
        "metadata": saved.metadata or {},
        "created_date": _iso(saved.created_at),
        "last_modified_date": modified,
        "user_last_modified_date": modified,
        "run_information": {
            "last_run_date": _iso(made.made_at),
            "last_run_duration": made.seconds,
            "last_run_message": "",
            "last_run_status": 200,
        }
        if made
        else None,
        "urls": {"cached_query_url": path, "cached_query_results_url": f"{path}/result"},
    }


def _iso(milliseconds: int) -> str:
    return iso(milliseconds, UTC)


def _query(value: object) -> dict[str, Any]:
    """A query that can be answered. Raises QueryError."""
    if not isinstance(value, dict):
        raise _wrong("query", f"{shown(value)} must be an object with analysis_type and the analysis' parameters")
    analysis = value.get("analysis_type")
    if not isinstance(analysis, str):
        raise _wrong("query", "its analysis_type is missing")
    parse_definition(analysis, value, time.time_ns() // 1_000_000)
    return value


def _refresh_rate(value: object) -> int:
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= REFRESH_RATE_MAX:
        raise _wrong("refresh_rate", f"{shown(value)} must be whole seconds, 0 (not cached) to {REFRESH_RATE_MAX}")
    return value


def _metadata(value: object) -> dict[str, Any] | None:
    if value is not None and not isinstance(value, dict):
        raise _wrong("metadata", f"{shown(value)} must be an object")
    return value


def _wrong(member: str, what: str) -> QueryError:
    return QueryError("SavedQueryDefinitionError", f"You sent in an invalid definition for {member}: {what}.")


def _no_such() -> QueryError:
    return QueryError("ResourceNotFoundError", "Resource not found: the project has no such saved query.", 404)
