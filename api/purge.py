"""Results that hold what was deleted leave their tables when the deletion has been done, by the replica that refreshes.

Until then, and whatever the tables hold, no such result is an answer: who reads them asks for results made after the deletion.
"""

import math

from api.kept import KeptTables
from api.refresher import Job
from headwater.control import ControlPlane
from headwater.query import QueryError
from headwater.saved import dataset, dataset_results, definition, results
from headwater.saved.definition import object_id
from headwater.saved.purge import ALL, purge


class Purge:
    """One of the refresher's sources."""

    def __init__(self, plane: ControlPlane, tables: KeptTables) -> None:
        self._plane = plane
        self._tables = tables
        self._after: int | None = None  # how many deletions had been done at the last purge

    async def jobs(self) -> list[Job]:
        """The purge, due where a deletion has been done since the last one."""
        due = math.inf if self._after == self._plane.deletions.times_done_in_all else 0.0
        return [Job(("purge",), due, self._run)]

    def lease_changed(self) -> None:
        """Another replica may have left something."""
        self._after = None

    async def _run(self) -> None:
        done = self._plane.deletions.times_done_in_all
        await self._tables.run(lambda client: purge(client, results.TABLE, self._of_saved_query))
        await self._tables.run(lambda client: purge(client, dataset_results.TABLE, self._of_dataset))
        self._after = done

    def _of_saved_query(self, project_id: str, name: str) -> int | None:
        saved = definition.read_saved(self._plane.record(definition.KIND, object_id(project_id, name)))
        if saved is None:
            return None
        try:
            return self._plane.deletions.times_done(project_id, saved.collections)
        except QueryError:  # a definition that this version does not take any more has no answers
            return ALL

    def _of_dataset(self, project_id: str, name: str) -> int | None:
        found = dataset.read_dataset(self._plane.record(dataset.KIND, object_id(project_id, name)))
        return None if found is None else self._plane.deletions.times_done(project_id, (found.collection,))
