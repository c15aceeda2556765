"""The processes that judge large bodies, so that nobody else waits for it: reading ten megabytes of JSON cannot be interrupted."""

import asyncio
import os
import pickle
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from weakref import WeakValueDictionary

import structlog

from collector.errors import unavailable
from collector.judge import LENGTH
from collector.judging import Done, Part, Task
from headwater import metrics

PROCESSES = 2  # at most; a project has one of them at a time
BUFFER_BYTES = 1_000_000
ENDED = (
    OSError,
    asyncio.IncompleteReadError,
    RuntimeError,
)  # the last from uvloop, on writing to what it knows has ended

log = structlog.get_logger("headwater.collector")


class Judges:
    """Belongs to one event loop. Each process starts when it is first needed, and stays.

    A project's large bodies are judged one after the other: who sends many waits for himself, not the neighbour.
    """

    def __init__(self) -> None:
        self._idle: list[Process] = []
        self._running: set[Process] = set()
        self._free = asyncio.Semaphore(PROCESSES)
        self._projects: WeakValueDictionary[str | None, asyncio.Lock] = WeakValueDictionary()

    async def ask(self, project_id: str | None, task: Task[Part], body: bytes) -> list[Part]:
        """The parts of the answer, as the task's `judge` gives them. Raises the ApiError that it raises; 503 where the process
        ends on it.

        None is for a body that has yet to tell whose it is: all such wait for each other.
        """
        project = self._projects.setdefault(project_id, asyncio.Lock())
        async with project, self._free:
            process = self._alive() or await self._start()
            try:
                answer, done = await _ask(process, task, body)
            except BaseException as error:  # perhaps in the middle of an answer, which the next must not read
                _kill(process)
                await process.wait()
                self._running.discard(process)
                if not isinstance(error, ENDED):
                    raise
                log.error("the process that judges large bodies ended", body_bytes=len(body))
                raise unavailable() from None
            self._idle.append(process)
        if done.refusal is not None:
            raise done.refusal
        return answer

    def _alive(self) -> Process | None:
        """One that has nothing to do; those that ended meanwhile, by whatever hand, are forgotten."""
        while self._idle:
            process = self._idle.pop()
            if process.returncode is None:
                return process
            self._running.discard(process)
        return None

    async def close(self) -> None:
        """End the processes."""
        for process in self._running:
            _kill(process)
        for process in [*self._running]:
            await process.wait()

    async def _start(self) -> Process:
        places = os.pathsep.join(place for place in sys.path if place)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "collector.judge"),
            stdin=PIPE,
            stdout=PIPE,
            limit=BUFFER_BYTES,
            env=os.environ | {"PYTHONPATH": places},
        )
        self._running.add(process)
        return process


async def _ask(process: Process, task: Task[Part], body: bytes) -> tuple[list[Part], Done]:
    assert process.stdin
    assert process.stdout
    about = pickle.dumps(task, pickle.HIGHEST_PROTOCOL)
    process.stdin.write(LENGTH.pack(len(about)) + about + LENGTH.pack(len(body)))
    process.stdin.write(body)
    await process.stdin.drain()
    answer: list[Part] = []
    while True:
        [size] = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
        part = pickle.loads(await process.stdout.readexactly(size))  # noqa: S301 - written by our own process
        if isinstance(part, Done):
            metrics.collector_phase_seconds.labels("make").inc(part.seconds)
            return answer, part
        answer.append(part)
        await asyncio.sleep(0)  # what is read already would be unpacked without a pause


def _kill(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
