"""Access keys over HTTP: keys of a project that permit some operations, under restrictions."""

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from api.key_options import InvalidKeyError, parse_options, parse_permitted
from api.objects import catch_up, written
from api.parameters import body_object, granted
from api.responses import json_response
from headwater.control import (
    Access,
    ControlPlane,
    ControlWriter,
    InvalidNameError,
    Key,
    NoSuchObjectError,
)
from headwater.query import QueryError
from headwater.settings import Settings

PER_PAGE_MAX = 200
FAMILIES = ("writes", "queries", "saved_queries", "cached_queries", "datasets")  # of options


class AccessKeys:
    """The routes under `keys`, all for the master key."""

    def __init__(self, settings: Settings, access: Access, plane: ControlPlane, writer: ControlWriter) -> None:
        self._settings = settings
        self._access = access
        self._plane = plane
        self._writer = writer

    def routes(self, project: str) -> list[BaseRoute]:
        """The routes, under a project's path."""
        one = f"{project}/keys/{{key}}"
        return [
            Route(f"{project}/keys", self._list, methods=["GET"]),
            Route(f"{project}/keys", self._create, methods=["POST"]),
            Route(one, self._show, methods=["GET"]),
            Route(one, self._replace, methods=["POST", "PUT"]),
            Route(one, self._delete, methods=["DELETE"]),
            Route(f"{one}/revoke", self._revoke, methods=["POST"]),
            Route(f"{one}/unrevoke", self._unrevoke, methods=["POST"]),
        ]

    async def _list(self, request: Request) -> Response:
        project_id = await self._master(request)
        await catch_up(self._plane, "Keys")
        keys = [key for key in self._plane.keys(project_id) if key.kind == "access" and not key.deleted]
        name = request.query_params.get("name")
        if name:
            keys = [key for key in keys if key.name == name]
        if "page" in request.query_params or "per_page" in request.query_params:
            per_page = _number(request, "per_page", PER_PAGE_MAX)
            start = (_number(request, "page", 1) - 1) * min(per_page, PER_PAGE_MAX)
            keys = keys[start : start + min(per_page, PER_PAGE_MAX)]
        return json_response([_shown(key) for key in keys])

    async def _create(self, request: Request) -> Response:
        project_id = await self._master(request)
        members = await self._members(request)
        key = await _written(lambda: self._writer.create_access_key(project_id, **members))
        return json_response(_shown(key), 201)

    async def _show(self, request: Request) -> Response:
        project_id = await self._master(request)
        await catch_up(self._plane, "Keys")
        key = self._plane.key(request.path_params["key"])
        if key is None or key.kind != "access" or key.project_id != project_id or key.deleted:
            raise _no_such_key()
        return json_response(_shown(key))

    async def _replace(self, request: Request) -> Response:
        project_id = await self._master(request)
        return await self._change(request, project_id, await self._members(request))

    async def _revoke(self, request: Request) -> Response:
        return await self._change(request, await self._master(request), {"active": False})

    async def _unrevoke(self, request: Request) -> Response:
        return await self._change(request, await self._master(request), {"active": True})

    async def _delete(self, request: Request) -> Response:
        await self._change(request, await self._master(request), {"active": False, "deleted": True})
        return Response(status_code=204)

    async def _change(self, request: Request, project_id: str, changes: dict[str, Any]) -> Response:
        raw_key = request.path_params["key"]
        return json_response(
            _shown(await _written(lambda: self._writer.change_access_key(project_id, raw_key, **changes)))
        )

    async def _master(self, request: Request) -> str:
        return (await granted(request, self._access, "master")).project_id

    async def _members(self, request: Request) -> dict[str, Any]:
        """What a body says of a key, checked; what it does not say has Keen's defaults. Raises QueryError."""
        body = await body_object(request, self._settings.body_max_bytes)
        name, active = body.get("name"), body.get("is_active")
        if not isinstance(name, str):
            raise _invalid("`name` must be given: a text of 1 to 256 printable characters.")
        if active is not None and not isinstance(active, bool):
            raise _invalid("`is_active` must be true or false.")
        try:
            return {
                "name": name,
                "active": active is not False,
                "permitted": parse_permitted(body.get("permitted")),
                "options": parse_options(body.get("options"), self._settings.event_max_depth),
            }
        except InvalidKeyError as error:
            raise _invalid(str(error)) from None


async def _written(write: Callable[[], Key]) -> Key:
    """The key that a write of the control plane gives, in a thread, since it blocks. Raises QueryError."""

    def checked() -> Key:
        try:
            return write()
        except NoSuchObjectError:
            raise _no_such_key() from None
        except InvalidNameError as error:
            raise _invalid(str(error)) from None

    return await written(checked, "Keys")


def _shown(key: Key) -> dict[str, Any]:
    return {
        "key": key.key,
        "name": key.name,
        "is_active": key.active,
        "permitted": list(key.permitted),
        "project_id": key.project_id,
        "options": {family: key.options.get(family) for family in FAMILIES},
    }


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if not text:
        return default
    if not text.isdecimal() or not int(text[:9]) > 0:
        raise _invalid(f"`{name}` must be a whole number above 0, not {text[:80]!r}.")
    return int(text[:9])


def _no_such_key() -> QueryError:
    return QueryError("ResourceNotFoundError", "Resource not found: the project has no such access key.", 404)


def _invalid(message: str) -> QueryError:
    return QueryError("InvalidAccessKeyError", message)
