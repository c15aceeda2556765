"""Datasets over HTTP: kept by the master key, read by index and timeframe."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from api.dataset_answers import REFRESH_SECONDS, DatasetAnswers
from api.objects import catch_up, written
from api.parameters import body_object, granted
from api.refresher import Job
from api.responses import json_response
from headwater.control import Access, ControlPlane, ControlWriter, Grant
from headwater.control.grant import DatasetOperation
from headwater.control.records import Record, changed
from headwater.query import QueryError
from headwater.query.arguments import positive
from headwater.query.errors import shown
from headwater.query.timeframe import parse_timeframe
from headwater.query.zones import iso
from headwater.saved.dataset import (
    KIND,
    Dataset,
    Index,
    dataset_record,
    index_text,
    parse_dataset,
    parse_index,
    read_dataset,
)
from headwater.saved.dataset_results import State
from headwater.saved.definition import is_name, object_id
from headwater.settings import Settings


class Datasets:
    """The routes under `datasets`."""

    def __init__(
        self,
        settings: Settings,
        access: Access,
        plane: ControlPlane,
        writer: ControlWriter,
        answers: DatasetAnswers,
    ) -> None:
        self._settings = settings
        self._access = access
        self._plane = plane
        self._writer = writer
        self._answers = answers
        # When each was refreshed (seconds), by its key and how many deletions had been done; None: to be read from ClickHouse.
        self._refreshed: dict[tuple[tuple[str, str, int], int], float] | None = None

    def routes(self, project: str) -> list[BaseRoute]:
        """The routes, under a project's path."""
        one = f"{project}/datasets/{{name}}"
        return [
            Route(f"{project}/datasets", self._list, methods=["GET"]),
            Route(one, self._show, methods=["GET"]),
            Route(one, self._put, methods=["PUT"]),
            Route(one, self._delete, methods=["DELETE"]),
            Route(f"{one}/results", self._results, methods=["GET"]),
        ]

    async def jobs(self) -> list[Job]:
        """What is to be refreshed, and when. Raises QueryError (503)."""
        if self._refreshed is None:
            states = await self._answers.states()
            self._refreshed = {(key, state.deletions): state.refreshed_at / 1000 for key, state in states.items()}
        jobs = []
        for dataset in (read_dataset(record) for record in self._plane.records(KIND)):
            if dataset is not None:
                deletions = self._answers.deletions(dataset)
                due = self._refreshed.get((_key(dataset), deletions), -REFRESH_SECONDS) + REFRESH_SECONDS
                name = ("dataset", dataset.project_id, dataset.name)
                jobs.append(Job(name, due, self._refreshing(dataset, deletions)))
        return jobs

    def lease_changed(self) -> None:
        """Another replica may have refreshed meanwhile."""
        self._refreshed = None

    def _refreshing(self, dataset: Dataset, deletions: int) -> Callable[[], Any]:
        async def refresh() -> None:
            started = time.time()
            await self._answers.refresh(dataset)
            if self._refreshed is not None:
                self._refreshed[_key(dataset), deletions] = started

        return refresh

    async def _list(self, request: Request) -> Response:
        grant = await granted(request, self._access, "datasets")
        _check(grant, "list")
        await catch_up(self._plane, "Datasets")
        found = (read_dataset(record) for record in self._plane.records(KIND))
        datasets = sorted(
            (
                one
                for one in found
                if one is not None and one.project_id == grant.project_id and grant.opens_dataset("list", one.name)
            ),
            key=lambda one: one.name,
        )
        after, limit = request.query_params.get("after_name", ""), request.query_params.get("limit")
        page = [one for one in datasets if one.name > after]
        next_page = None
        if limit and len(page) > positive(limit, "limit"):
            page = page[: positive(limit, "limit")]
            following = urlencode({"limit": limit, "after_name": page[-1].name})
            next_page = f"/3.0/projects/{grant.project_id}/datasets?{following}"
        states = await self._answers.states()
        shown_page = [_shown(one, states.get(_key(one))) for one in page]
        return json_response({"datasets": shown_page, "next_page_url": next_page, "count": len(datasets)})

    async def _show(self, request: Request) -> Response:
        grant = await granted(request, self._access, "datasets")
        _check(grant, "retrieve", request.path_params["name"])
        dataset = await self._found(grant.project_id, request.path_params["name"])
        states = await self._answers.states()
        return json_response(_shown(dataset, states.get(_key(dataset))))

    async def _put(self, request: Request) -> Response:
        project_id = (await granted(request, self._access, "master")).project_id
        name = request.path_params["name"]
        body = await body_object(request, self._settings.body_max_bytes)
        if not is_name(name):
            raise QueryError(
                "DatasetDefinitionError", f"The name {shown(name)} must be 1 to 128 letters, digits, '-' or '_'."
            )
        made = parse_dataset(project_id, name, body, time.time_ns() // 1_000_000)

        def records(now: int) -> list[Record]:
            before = self._plane.record(KIND, object_id(project_id, name))
            if read_dataset(before) is not None:
                raise QueryError(
                    "ResourceAlreadyExistsError",
                    "There is a dataset of this name already, and none can be changed: delete it first.",
                    409,
                )
            return [dataset_record(made) | {"version": before["version"] + 1 if before else 1, "written_at": now}]

        await written(lambda: self._writer.write(records), "Datasets")
        return json_response(_shown(await self._found(project_id, name), None), 201)

    async def _delete(self, request: Request) -> Response:
        project_id = (await granted(request, self._access, "master")).project_id
        name = request.path_params["name"]

        def records(now: int) -> list[Record]:
            record = self._plane.record(KIND, object_id(project_id, name))
            if record is None or read_dataset(record) is None:
                raise _no_such()
            return [changed(record, now, {"deleted": True, "query": None})]

        await written(lambda: self._writer.write(records), "Datasets")
        await self._answers.forget(project_id, name)
        return Response(status_code=204)

    async def _results(self, request: Request) -> Response:
        grant = await granted(request, self._access, "datasets")
        name = request.path_params["name"]
        _check(grant, "read", name)
        dataset = await self._found(grant.project_id, name)
        given = {member: request.query_params.get(member) for member in ("index_by", "timeframe")}
        for member, value in given.items():
            if not value:
                raise QueryError("DatasetDefinitionError", f"`{member}` is missing: give it in the URL.")
        candidates = _allowed(grant, dataset, parse_index(given["index_by"], dataset.index_by))
        now = time.time_ns() // 1_000_000
        zone = dataset.definition(now).zone
        timeframe = parse_timeframe(given["timeframe"], zone, now)
        buckets = await self._answers.result(dataset, candidates, timeframe, grant.filters, grant.key_id)
        result = [
            {"timeframe": {"start": iso(one["start"], zone), "end": iso(one["end"], zone)}, "value": one["value"]}
            for one in buckets
        ]
        return json_response(
            {"result": result, "metadata": {"dataset": _definition(dataset), "request": given}},
        )

    async def _found(self, project_id: str, name: str) -> Dataset:
        dataset = read_dataset(self._plane.record(KIND, object_id(project_id, name)))
        if dataset is None:
            await catch_up(self._plane, "Datasets")
            dataset = read_dataset(self._plane.record(KIND, object_id(project_id, name)))
            if dataset is None:
                raise _no_such()
        return dataset


def _check(grant: Grant, operation: DatasetOperation, name: str | None = None) -> None:
    if not grant.opens_dataset(operation, name):
        raise QueryError("InvalidApiKeyError", f"The key given does not permit to {operation} this.", 403)


def _allowed(grant: Grant, dataset: Dataset, candidates: Sequence[Index]) -> list[Index]:
    """The candidates whose values the key may ask for. Raises QueryError (403) where there is none."""
    limits = {
        name: {index_text((one,)) for one in (values if isinstance(values, list) else [values])}
        for name, values in grant.dataset_index(dataset.name).items()
    }
    if not limits.keys() <= {*dataset.index_by}:
        raise QueryError(
            "InvalidApiKeyError", "The key given is limited by a property that the dataset has no index by.", 403
        )
    found = [
        index
        for index in candidates
        if all(
            index_text((one,)) in limits.get(name, {index_text((one,))})
            for name, one in zip(dataset.index_by, index, strict=True)
        )
    ]
    if not found:
        raise QueryError("InvalidApiKeyError", "The key given does not permit this value of index_by.", 403)
    return found


def _definition(dataset: Dataset) -> dict[str, Any]:
    return {
        "project_id": dataset.project_id,
        "organization_id": None,
        "dataset_name": dataset.name,
        "display_name": dataset.display_name,
        "query": dataset.query,
        "index_by": list(dataset.index_by),
    }


def _shown(dataset: Dataset, state: State | None) -> dict[str, Any]:
    """A dataset as Keen shows it; one that was never refreshed has the dates of 1970."""
    behind = time.time_ns() // 1_000_000 - state.refreshed_at if state else 0
    return _definition(dataset) | {
        "last_scheduled_date": iso(state.refreshed_at if state else 0, UTC),
        "latest_subtimeframe_available": iso(state.latest if state else 0, UTC),
        "milliseconds_behind": max(0, behind),
        "status": "OK" if state else "Created",
    }


def _key(dataset: Dataset) -> tuple[str, str, int]:
    return dataset.project_id, dataset.name, dataset.version


def _no_such() -> QueryError:
    return QueryError("ResourceNotFoundError", "Resource not found: the project has no such dataset.", 404)
