"""Who may write: the project and the key of a request."""

import asyncio

from collector.errors import ApiError, unavailable
from headwater.control import ControlPlane, Key

MAY_WRITE = ("write", "master")


class Access:
    """Checks projects and keys against the control plane. Belongs to one event loop."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._looking: asyncio.Future[bool] | None = None  # a catching-up that has begun
        self._next: asyncio.Future[bool] | None = None  # one that has not, so it serves everybody who asks now

    async def check_writer(self, project_id: str, raw_key: str | None) -> None:
        """Raises ApiError unless the key may write to the project: 404, 401, 403; 503 where that cannot be known.

        What is in memory is enough for a known project and key; else the control plane is first read to its end.
        """
        if self._plane.project(project_id) is None:
            await self._catch_up()
            if self._plane.project(project_id) is None:
                raise ApiError(404, "ResourceNotFoundError", "There is no project with this id.")
        if raw_key is None:
            raise ApiError(
                401, "InvalidApiKeyError", "A key is missing: send it in the Authorization header or as api_key."
            )
        key = self._valid(project_id, raw_key)
        if key is None:
            await self._catch_up()
            key = self._valid(project_id, raw_key)
            if key is None:
                raise ApiError(401, "InvalidApiKeyError", "This is no active key of the project.")
        if key.kind not in MAY_WRITE:
            raise ApiError(403, "InvalidApiKeyError", f"This is a {key.kind} key; writing needs a write or master key.")

    def _valid(self, project_id: str, raw_key: str) -> Key | None:
        key = self._plane.key(raw_key)
        return key if key is not None and key.active and key.project_id == project_id else None

    async def _catch_up(self) -> None:
        """One look at the topic's end at a time, shared by all who asked before it began."""
        if self._next is None:
            self._next = asyncio.ensure_future(self._look(self._looking))
        if not await asyncio.shield(self._next):
            raise unavailable()

    async def _look(self, before: "asyncio.Future[bool] | None") -> bool:
        if before is not None:
            await asyncio.wait([before])
        self._looking, self._next = self._next, None
        return await asyncio.to_thread(self._plane.catch_up)
