"""Refreshing what is kept: by the replica that holds the lease, each thing when it is due."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from headwater.query import QueryError
from headwater.saved.lease import Lease

LOOK_SECONDS = 0.5
AT_ONCE = 2  # refreshes
RETRY_SECONDS = 60.0

log = structlog.get_logger("headwater.saved")


@dataclass(frozen=True)
class Job:
    """One thing to refresh: `name` says which, to people too; due at `due` (seconds since 1970)."""

    name: tuple[str, ...]
    due: float
    run: Callable[[], Awaitable[object]]


class Source(Protocol):
    """Something that has jobs."""

    async def jobs(self) -> Iterable[Job]:
        """All there are. May raise QueryError (503)."""

    def lease_changed(self) -> None:
        """The lease is new here: another process may have done jobs meanwhile."""


class Refresher:
    """Runs the jobs that are due, while this process holds the lease."""

    def __init__(self, lease: Lease, *sources: Source) -> None:
        self._lease = lease
        self._sources = sources
        self._running: dict[tuple[str, ...], asyncio.Task[None]] = {}
        self._not_before: dict[tuple[str, ...], float] = {}  # after a failure

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """A context in which what is due is refreshed."""
        self._lease.start()
        loop = asyncio.create_task(self._run())
        try:
            yield
        finally:
            for task in (loop, *self._running.values()):
                task.cancel()
            await asyncio.to_thread(self._lease.stop)

    async def _run(self) -> None:
        had = False
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            held = self._lease.held
            if held and not had:
                for source in self._sources:
                    source.lease_changed()
            had = held
            if held:
                await self._look()

    async def _look(self) -> None:
        jobs: list[Job] = []
        for source in self._sources:
            try:
                jobs += await source.jobs()
            except QueryError as error:
                log.warning("cannot see what is to be refreshed", error=error.message, cause=str(error.__cause__)[:500])
            except Exception:  # a fault of ours: what others have is refreshed all the same
                log.exception("cannot see what is to be refreshed")
        now = time.time()
        due = [job for job in jobs if max(job.due, self._not_before.get(job.name, 0.0)) <= now]
        for job in sorted(due, key=lambda job: job.due):
            if len(self._running) >= AT_ONCE:
                return
            if job.name not in self._running:
                self._running[job.name] = asyncio.create_task(self._refresh(job))

    async def _refresh(self, job: Job) -> None:
        try:
            await job.run()
            self._not_before.pop(job.name, None)
        except QueryError as error:
            self._not_before[job.name] = time.time() + RETRY_SECONDS
            log.warning("refresh failed", name=job.name, error=error.name, message=error.message)
        except Exception:  # a fault of ours: said once a while, not twice a second
            self._not_before[job.name] = time.time() + RETRY_SECONDS
            log.exception("refresh failed", name=job.name)
        finally:
            del self._running[job.name]
