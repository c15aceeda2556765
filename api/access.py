"""Who may ask: the project and the key of a request."""

import asyncio

from headwater.control import ControlPlane, Key
from headwater.query import QueryError

MAY_READ = ("read", "master")


class Access:
    """Checks projects and keys against the control plane. Belongs to one event loop."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._looking = asyncio.Lock()
        self._next: asyncio.Future[bool] | None = None  # a look that has not begun, so it serves all who ask now

    async def check_reader(self, project_id: str, raw_key: str | None) -> None:
        """Raises QueryError unless the key may read the project: 404, 401, 403; 503 where that cannot be known.

        What is in memory is enough for a known project and key; else the control plane is first read to its end.
        """
        if self._plane.project(project_id) is None:
            await self._catch_up()
            if self._plane.project(project_id) is None:
                raise QueryError("ResourceNotFoundError", "There is no project with this id.", 404)
        if raw_key is None:
            raise QueryError(
                "InvalidApiKeyError", "A key is missing: send it in the Authorization header or as api_key.", 401
            )
        key = self._valid(project_id, raw_key)
        if key is None:
            await self._catch_up()
            key = self._valid(project_id, raw_key)
            if key is None:
                raise QueryError("InvalidApiKeyError", "This is no active key of the project.", 401)
        if key.kind not in MAY_READ:
            raise QueryError(
                "InvalidApiKeyError", f"This is a {key.kind} key; reading needs a read or master key.", 403
            )

    def _valid(self, project_id: str, raw_key: str) -> Key | None:
        key = self._plane.key(raw_key)
        return key if key is not None and key.active and key.project_id == project_id else None

    async def _catch_up(self) -> None:
        if self._next is None:
            self._next = asyncio.ensure_future(self._look())
        if not await asyncio.shield(self._next):
            raise QueryError("ServiceUnavailableError", "Projects and keys cannot be read at the moment.", 503)

    async def _look(self) -> bool:
        async with self._looking:
            self._next = None
            return await asyncio.to_thread(self._plane.catch_up)
