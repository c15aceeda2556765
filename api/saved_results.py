"""Answers of saved queries: kept for as long as their refresh rate says, in memory and in ClickHouse; waiters share one run.

What was made before a deletion in the collections that a query reads is never an answer again.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from hashlib import sha256
from typing import Any

import orjson
import structlog

from api.kept import KeptTables
from api.memory import Memory
from api.queries import Queries
from headwater.control import Deletions
from headwater.query import QueryError
from headwater.query.execution import Execution
from headwater.query.restriction import restrict
from headwater.saved.definition import SavedQuery
from headwater.saved.results import Made, ResultKey, Results

MEMORY_BYTES = 64_000_000
LOOK_AGAIN_SECONDS = 1.0  # how often ClickHouse is asked for a newer result than one that is due
HOLDER_SECONDS = 10.0  # how long a replica waits for the first result of the one that refreshes
HOLDER_LOOK_SECONDS = 0.1
NOT_KEPT = ("content_type", "content_encoding", "email", "include_metadata")  # how to send an answer, not which
FRONT = b'{"result":'

log = structlog.get_logger("headwater.saved")


class SavedResults:
    """Belongs to one event loop."""

    def __init__(
        self, queries: Queries, tables: KeptTables, deletions: Deletions, refreshes: Callable[[], bool]
    ) -> None:
        """`refreshes` says whether it is this replica that refreshes."""
        self._queries = queries
        self._tables = tables
        self._deletions = deletions
        self._refreshes = refreshes
        self._runs: dict[ResultKey, asyncio.Task[Made]] = {}
        self._memory = Memory[ResultKey, Made](MEMORY_BYTES)

    def key(self, saved: SavedQuery, filters: Sequence[dict[str, Any]] = ()) -> ResultKey:
        """What a result is called that is made now. Raises QueryError."""
        under = sha256(orjson.dumps(list(filters), option=orjson.OPT_SORT_KEYS)).hexdigest() if filters else ""
        deletions = self._deletions.times_done(saved.project_id, saved.collections)
        return ResultKey(saved.project_id, saved.name, saved.version, under, deletions)

    async def answer(self, saved: SavedQuery, filters: Sequence[dict[str, Any]], key_id: str) -> Made:
        """The answer of a saved query under filters, to a key. Raises QueryError.

        One with a refresh rate is answered by its last result, which is older than the rate only while a new one is being made or
        cannot be made; under filters it is made anew by whoever asks first after the rate is over. One without is made now.
        """
        key = self.key(saved, filters)
        if not saved.refresh_rate:
            return await self._made(key, saved, filters, key_id)
        kept = self._memory.get(key)
        if kept:
            return kept
        stored = await self._newest(key)
        due = (stored.made_at / 1000 + saved.refresh_rate) if stored else 0.0
        if stored and (time.time() < due or not key.filters):
            self._memory.put(key, stored, len(stored.result), max(due, time.time() + LOOK_AGAIN_SECONDS))
            return stored
        return await self._made(key, saved, filters, key_id)

    async def refresh(self, saved: SavedQuery) -> Made:
        """Make the answer anew, unless somebody who asked has done so: then theirs. Raises QueryError."""
        key = self.key(saved)
        if key not in self._runs:
            stored = await self._newest(key)
            if stored and time.time() < stored.made_at / 1000 + saved.refresh_rate:
                return stored
        return await self._made(key, saved, (), None)

    async def times(self) -> dict[ResultKey, int]:
        """When the newest kept answer of each saved query was made, in milliseconds since 1970 UTC. Raises QueryError (503)."""
        return await self._tables.run(lambda client: Results(client).times())

    async def forget(self, project_id: str, name: str) -> None:
        """Delete all that is kept of a saved query. Raises QueryError (503)."""
        self._memory.forget(lambda key: (key.project_id, key.name) == (project_id, name))
        await self._tables.run(lambda client: Results(client).forget(project_id, name))

    def close(self) -> None:
        """Drop what is being made."""
        for task in self._runs.values():
            task.cancel()

    async def _newest(self, key: ResultKey) -> Made | None:
        """The last result in ClickHouse; or that of a run here which has ended while ClickHouse was asked and did not know of it yet."""
        stored = await self._tables.run(lambda client: Results(client).load(key))
        known = [made for made in (stored, self._memory.get(key)) if made is not None]
        return max(known, key=lambda made: made.made_at, default=None)

    async def _made(
        self, key: ResultKey, saved: SavedQuery, filters: Sequence[dict[str, Any]], key_id: str | None
    ) -> Made:
        """What one run gives to all who wait for it, of which the first takes a place for its key, None being the refresher.

        It goes on when they leave: the next will ask for the same.
        """
        run = self._runs.get(key)
        if run is None:
            place = ExitStack()
            if key_id is not None:
                place.enter_context(self._queries.place(key_id))
            run = self._runs[key] = asyncio.create_task(self._run(key, saved, filters, background=key_id is None))

            def over(_: asyncio.Task[Made]) -> None:
                self._runs.pop(key, None)
                place.close()

            run.add_done_callback(over)
        return await asyncio.shield(run)

    async def _run(
        self, key: ResultKey, saved: SavedQuery, filters: Sequence[dict[str, Any]], *, background: bool
    ) -> Made:
        if saved.refresh_rate and not filters and not background:
            others = await self._made_elsewhere(key)
            if others is not None:
                return others
        now, started = time.time(), time.perf_counter()
        parameters = restrict(saved.analysis, saved.parameters, filters)
        for name in NOT_KEPT:
            parameters.pop(name, None)
        text, execution = await self._queries.answer(
            saved.project_id, saved.analysis, parameters, background=background
        )
        # A funnel's result is its whole answer; of all others it stands alone in it.
        result = text if saved.analysis == "funnel" else text.removeprefix(FRONT)[:-1]
        made = Made(round(now * 1000), time.perf_counter() - started, result, execution)
        if saved.refresh_rate:
            self._memory.put(key, replace(made, execution=Execution()), len(made.result), now + saved.refresh_rate)
            try:
                await self._tables.run(lambda client: Results(client).store(key, made))
            except QueryError:
                log.warning("result of a saved query is not kept", project=saved.project_id, name=saved.name)
        return made

    async def _made_elsewhere(self, key: ResultKey) -> Made | None:
        """The result of the replica that refreshes; None where that is this one, or there is none after a while."""
        deadline = time.monotonic() + HOLDER_SECONDS
        while not self._refreshes() and time.monotonic() < deadline:
            await asyncio.sleep(HOLDER_LOOK_SECONDS)
            made = await self._tables.run(lambda client: Results(client).load(key))
            if made is not None:
                return made
        return None
