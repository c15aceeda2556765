"""Large bodies in processes of their own."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import psutil
import pytest
import uvloop

from collector.errors import ApiError
from collector.judge import NICENESS
from collector.judges import Judges
from collector.keen_judging import BatchTask, Bulk, EventTask
from collector.records import RequestRecords
from headwater.control import Grant
from headwater.rules import RuleError
from headwater.settings import load_settings
from tests.waiting import wait_until

PROJECT = "0" * 24
GRANT = Grant(PROJECT, "id", "write", frozenset({"writes"}))
BATCH = (
    b'{"c":['
    + b",".join([b'{"n":1,"keen":{"id":"i","timestamp":"2026-01-31"}}', b'{"$a":1}', b"{oops}"] * 1_000)
    + b"]}"
)


def make() -> RequestRecords:
    return RequestRecords(load_settings(), PROJECT, "127.0.0.1", None)


def children() -> list[psutil.Process]:
    """The judges that run; other tests' children that nobody has waited for yet say no command line."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # a zombie's is one, too
            if "collector.judge" in child.cmdline():
                found.append(child)
    return found


@asynccontextmanager
async def running() -> AsyncIterator[Judges]:
    judges = Judges()
    try:
        yield judges
    finally:
        await judges.close()
        assert not children()


class SaysItself(NamedTuple):
    """A task of a test's: the parts are the body's bytes; then it is refused, where it says so."""

    refusal: ApiError | None = None

    def judge(self, body: bytes) -> Iterator[int]:
        yield from body
        if self.refusal is not None:
            raise self.refusal


async def test_they_say_what_is_said_here() -> None:
    async with running() as judges:
        records = make()
        turns = await judges.ask(PROJECT, BatchTask(Bulk(), records, GRANT), BATCH)
        assert turns == [*BatchTask(Bulk(), records, GRANT).judge(BATCH)]
        assert len(turns) > 2
        assert orjson.loads(b"".join(turn.answer for turn in turns))["c"][0] == {"success": True}
        [wrong] = await judges.ask(PROJECT, EventTask("c", records, GRANT), b'{"$a":1}')
        assert isinstance(wrong, RuleError)
        assert wrong.name == "InvalidPropertyNameError"
        [record] = await judges.ask(PROJECT, EventTask("c", records, GRANT), b'{"a":1}')
        assert not isinstance(record, RuleError)
        assert record[1].endswith(b'{"a":1}')


async def test_what_they_refuse_is_refused_here_and_the_next_body_is_judged() -> None:
    async with running() as judges:
        with pytest.raises(ApiError) as refusal:
            await judges.ask(PROJECT, SaysItself(ApiError(418, "A", "b", ((b"c", b"d"),))), b"abc")
        error = refusal.value
        assert (error.status, error.name, error.message, error.headers) == (418, "A", "b", ((b"c", b"d"),))
        assert await judges.ask(PROJECT, SaysItself(), b"abc") == [*b"abc"]
        assert len(children()) == 1


async def test_a_project_has_one_at_a_time_and_another_project_another() -> None:
    async with running() as judges:
        await asyncio.gather(*(judges.ask(PROJECT, BatchTask(Bulk(), make(), GRANT), BATCH) for _ in range(3)))
        assert len(children()) == 1
        await asyncio.gather(
            *(judges.ask(project, BatchTask(Bulk(), make(), GRANT), BATCH) for project in ("1", "2", None))
        )
        assert len(children()) == 2


async def test_bodies_that_have_yet_to_tell_whose_they_are_have_one_together() -> None:
    async with running() as judges:
        await asyncio.gather(*(judges.ask(None, BatchTask(Bulk(), make(), GRANT), BATCH) for _ in range(3)))
        assert len(children()) == 1


async def test_all_else_goes_first_in_whatever_session_it_is() -> None:
    async with running() as judges:
        await judges.ask(PROJECT, EventTask("c", make(), GRANT), b"{}")
        [judge] = children()
        assert os.getsid(judge.pid) == judge.pid != os.getsid(0)
        assert judge.nice() == os.nice(0) + NICENESS
        group = Path(f"/proc/{judge.pid}/autogroup")
        if group.exists() and group.read_text():  # a kernel without has none
            assert group.read_text().endswith(f"nice {NICENESS}\n")


async def test_one_that_ends_on_a_body_promises_nothing_and_the_next_body_has_another() -> None:
    async with running() as judges:
        await judges.ask(PROJECT, EventTask("c", make(), GRANT), b"{}")
        [first] = children()
        first.send_signal(signal.SIGSTOP)
        asked = asyncio.ensure_future(judges.ask(PROJECT, BatchTask(Bulk(), make(), GRANT), BATCH))
        await asyncio.sleep(0)
        first.kill()
        with pytest.raises(ApiError) as refusal:
            await asked
        assert refusal.value.status == 503
        [record] = await judges.ask(PROJECT, EventTask("c", make(), GRANT), b"{}")
        assert isinstance(record, tuple)
        assert first.pid not in {child.pid for child in children()}


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_one_that_ended_while_nobody_asked_is_replaced(run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    async def ask_kill_ask() -> None:
        async with running() as judges:
            await judges.ask(PROJECT, EventTask("c", make(), GRANT), b"{}")
            [idle] = judges._idle
            idle.kill()
            await idle.wait()
            [record] = await judges.ask(PROJECT, EventTask("c", make(), GRANT), b"{}")
            assert isinstance(record, tuple)

    run(ask_kill_ask())


async def test_who_no_longer_waits_leaves_no_half_answer_to_the_next() -> None:
    async with running() as judges:
        await judges.ask(PROJECT, EventTask("c", make(), GRANT), b"{}")
        [first] = children()
        first.send_signal(signal.SIGSTOP)
        asked = asyncio.ensure_future(judges.ask(PROJECT, BatchTask(Bulk(), make(), GRANT), BATCH))
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        [record] = await judges.ask(PROJECT, EventTask("c", make(), GRANT), b"{}")
        assert isinstance(record, tuple)


def test_they_end_with_the_collector_however_it_ends() -> None:
    parent = os.fork()
    if not parent:
        asyncio.run(_start_and_wait())
    try:
        [judge] = wait_until(lambda: [c for c in psutil.Process(parent).children() if "collector.judge" in c.cmdline()])
    finally:
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
    wait_until(lambda: not judge.is_running() or judge.status() == psutil.STATUS_ZOMBIE)


async def _start_and_wait() -> None:
    await Judges().ask(PROJECT, EventTask("c", make(), GRANT), b"{}")
    signal.pause()
