"""Who may do what over HTTP: the project and the key of a request, for services that run in an event loop."""

import asyncio

from headwater.control.follower import ControlPlane
from headwater.control.grant import Grant, Need
from headwater.control.model import key_id
from headwater.control.scoped import looks_scoped, open_scoped


class AccessError(Exception):
    """A request may not go on: HTTP status, Keen's name for the error, and a sentence for the client."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(status, name, message)
        self.status = status
        self.name = name
        self.message = message


class Access:
    """Checks projects and keys against the control plane. Belongs to one event loop."""

    def __init__(self, plane: ControlPlane, *, scoped_keys: bool = True) -> None:
        """Without `scoped_keys` none of Keen's legacy scoped keys is valid."""
        self._plane = plane
        self._scoped_keys = scoped_keys
        self._looking = asyncio.Lock()
        self._next: asyncio.Future[bool] | None = None  # a look that has not begun, so it serves all who ask now

    async def check(self, project_id: str, raw_key: str | None, *needs: Need) -> Grant:
        """What the key permits, one of `needs` among it. Raises AccessError: 404, 401, 403; 503 where that cannot be known.

        The project is looked for before the key, as in Keen. What is in memory is enough for a known project and key;
        else the control plane is first read to its end, so a fresh key is never refused. Restrictions in the grant's
        options are the caller's to apply.
        """
        if self._plane.project(project_id) is None:
            await self._catch_up()
            if self._plane.project(project_id) is None:
                raise AccessError(404, "ResourceNotFoundError", "There is no project with this id.")
        if raw_key is None:
            raise AccessError(
                401, "InvalidApiKeyError", "A key is missing: send it in the Authorization header or as api_key."
            )
        return await self._check(project_id, raw_key, needs)

    async def check_key(self, raw_key: str, *needs: Need) -> Grant:
        """What `check` does for a request that names no project: the key says which. Raises AccessError.

        Scoped keys are for requests that name their project: nothing else says whose they are.
        """
        return await self._check(None, raw_key, needs)

    async def _check(self, project_id: str | None, raw_key: str, needs: tuple[Need, ...]) -> Grant:
        grant = self._grant(project_id, raw_key)
        if grant is None:
            await self._catch_up()
            grant = self._grant(project_id, raw_key)
            if grant is None:
                whose = "a project" if project_id is None else "the project"
                raise AccessError(401, "InvalidApiKeyError", f"This is no active key of {whose}.")
        if not any(grant.permits(need) for need in needs):
            raise _not_permitted(grant, needs)
        return grant

    def _grant(self, project_id: str | None, raw_key: str) -> Grant | None:
        key = self._plane.key(raw_key)
        if key is not None:
            return key.grant if key.active and project_id in (None, key.project_id) else None
        if project_id is None or not self._scoped_keys or not looks_scoped(raw_key):
            return None
        for master in self._plane.master_keys(project_id):
            grant = open_scoped(raw_key, master.key, project_id, key_id(raw_key)) if master.active else None
            if grant is not None:
                return grant
        return None

    async def _catch_up(self) -> None:
        """One look at the topic's end at a time, shared by all who asked before it began."""
        if self._next is None:
            self._next = asyncio.ensure_future(self._look())
        if not await asyncio.shield(self._next):
            raise AccessError(503, "ServiceUnavailableError", "Projects and keys cannot be read at the moment.")

    async def _look(self) -> bool:
        async with self._looking:
            self._next = None
            return await asyncio.to_thread(self._plane.catch_up)


def _not_permitted(grant: Grant, needs: tuple[Need, ...]) -> AccessError:
    """A good key, but not for this."""
    if needs == ("master",):
        return AccessError(
            403, "AdminOnlyEndpointError", f"This needs the project's master key; the key given is a {grant.kind} key."
        )
    wanted = " or ".join(needs)
    return AccessError(403, "InvalidApiKeyError", f"The key given is a {grant.kind} key that does not permit {wanted}.")
