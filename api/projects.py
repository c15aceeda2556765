"""The project of a key, and the versions of the API that there are, as Keen's routes answer them."""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from api.collections import Collections, collection_url
from api.parameters import granted, raw_key
from api.responses import json_response
from headwater.control import Access, AccessError, ControlPlane, Project
from headwater.query import QueryError


class Projects:
    """The routes, over what they need: who may ask, the projects, their collections."""

    def __init__(self, access: Access, plane: ControlPlane, collections: Collections) -> None:
        self._access = access
        self._plane = plane
        self._collections = collections

    def routes(self) -> list[BaseRoute]:
        """The routes."""
        return [
            Route("/", self.versions, methods=["GET"]),
            Route("/3.0", self.resources, methods=["GET"]),
            Route("/3.0/projects", self.every, methods=["GET"]),
            Route("/3.0/projects/{project_id}", self.one, methods=["GET"]),
        ]

    async def versions(self, request: Request) -> Response:
        """GET /: the versions of the API; there is one."""
        return json_response([{"version": "3.0", "is_public": True, "url": "/3.0"}])

    async def resources(self, request: Request) -> Response:
        """GET /3.0: where to go on."""
        await self._project_of_key(request)
        return json_response({"projects_resource_url": "/3.0/projects"})

    async def every(self, request: Request) -> Response:
        """GET projects: the project whose master key was sent, in a list."""
        return json_response([self._described(await self._project_of_key(request))])

    async def one(self, request: Request) -> Response:
        """GET projects/{id}: the project, its collections by name."""
        grant = await granted(request, self._access, "master")
        project = self._plane.project(grant.project_id)
        assert project is not None  # the check has found it
        return json_response(self._described(project))

    async def _project_of_key(self, request: Request) -> Project:
        """The project that the request's key, a master key, belongs to. Raises QueryError: 401, 403, 503."""
        raw = raw_key(request)
        key = self._plane.key(raw) if raw else None
        if raw and key is None:
            await asyncio.to_thread(self._plane.catch_up)
            key = self._plane.key(raw)
        if key is None:
            raise QueryError("InvalidApiKeyError", "Send a project's master key in the Authorization header.", 401)
        try:
            await self._access.check(key.project_id, raw, "master")
        except AccessError as error:
            raise QueryError(error.name, error.message, error.status) from None
        project = self._plane.project(key.project_id)
        assert project is not None  # the check has found it
        return project

    def _described(self, project: Project) -> dict[str, Any]:
        url = f"/3.0/projects/{project.id}"
        return {
            "id": project.id,
            "name": project.name,
            "api_key": project.master_key,
            "url": url,
            "events_url": f"{url}/events",
            "queries_url": f"{url}/queries",
            "events": [
                {"name": name, "url": collection_url(project.id, name)} for name in self._collections.names(project.id)
            ],
            "saved_queries": [],
        }
