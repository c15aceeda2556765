"""Answers of saved queries: kept for as long as their refresh rate says, in memory and in ClickHouse; waiters share one run."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import orjson
import structlog

from api.kept import KeptTables
from api.memory import Memory
from api.queries import Queries
from headwater.query import QueryError
from headwater.query.execution import Execution
from headwater.query.restriction import restrict
from headwater.saved.definition import SavedQuery
from headwater.saved.results import Made, ResultKey, Results

MEMORY_BYTES = 64_000_000
LOOK_AGAIN_SECONDS = 1.0  # how often ClickHouse is asked for a newer result than one that is due
NOT_KEPT = ("content_type", "content_encoding", "email", "include_metadata")  # how to send an answer, not which
FRONT = b'{"result":'

log = structlog.get_logger("headwater.saved")


class SavedResults:
    """Belongs to one event loop."""

    def __init__(self, queries: Queries, tables: KeptTables) -> None:
        self._queries = queries
        self._tables = tables
        self._runs: dict[ResultKey, asyncio.Task[Made]] = {}
        self._memory = Memory[ResultKey, Made](MEMORY_BYTES)

    async def answer(self, saved: SavedQuery, filters: Sequence[dict[str, Any]]) -> Made:
        """The answer of a saved query under filters. Raises QueryError.

        One with a refresh rate is answered by its last result, which is older than the rate only while a new one is being made or
        cannot be made; under filters it is made anew by whoever asks first after the rate is over. One without is made now.
        """
        key = _key(saved, filters)
        if not saved.refresh_rate:
            return await self._made(key, saved, filters)
        kept = self._memory.get(key)
        if kept:
            return kept
        stored = await self._tables.run(lambda client: Results(client).load(key))
        due = (stored.made_at / 1000 + saved.refresh_rate) if stored else 0.0
        if stored and (time.time() < due or not key.filters):
            self._memory.put(key, stored, len(stored.result), max(due, time.time() + LOOK_AGAIN_SECONDS))
            return stored
        return await self._made(key, saved, filters)

    async def refresh(self, saved: SavedQuery) -> Made:
        """Make the answer anew, unless somebody who asked has done so: then theirs. Raises QueryError."""
        key = _key(saved, ())
        if key not in self._runs:
            stored = await self._tables.run(lambda client: Results(client).load(key))
            if stored and time.time() < stored.made_at / 1000 + saved.refresh_rate:
                return stored
        return await self._made(key, saved, ())

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

    async def _made(self, key: ResultKey, saved: SavedQuery, filters: Sequence[dict[str, Any]]) -> Made:
        """What one run gives to all who wait for it. It goes on when they leave: the next will ask for the same."""
        run = self._runs.get(key)
        if run is None:
            run = self._runs[key] = asyncio.create_task(self._run(key, saved, filters))
            run.add_done_callback(lambda _: self._runs.pop(key, None))
        return await asyncio.shield(run)

    async def _run(self, key: ResultKey, saved: SavedQuery, filters: Sequence[dict[str, Any]]) -> Made:
        now, started = time.time(), time.perf_counter()
        parameters = restrict(saved.analysis, saved.parameters, filters)
        for name in NOT_KEPT:
            parameters.pop(name, None)
        text, execution = await self._queries.answer(saved.project_id, saved.analysis, parameters)
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


def _key(saved: SavedQuery, filters: Sequence[dict[str, Any]]) -> ResultKey:
    under = sha256(orjson.dumps(list(filters), option=orjson.OPT_SORT_KEYS)).hexdigest() if filters else ""
    return ResultKey(saved.project_id, saved.name, saved.version, under)
