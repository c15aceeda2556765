"""One processor: takes partitions, processes their blocks, settles, and lets go. Lives in the event loop of its Faust app.

A partition is taken by fencing off whoever wrote its state before, recovering that state, and reading on behind its
watermark. Settling makes work durable in this order: output flushed with every record acknowledged; then one transaction
with all that changed, the watermark among it; then the local table; then the group's offset, which only informs. A worker
that dies between two of these is continued from the watermark, so output may come twice (under the same id), and counts
never do. Whenever the outcome of a transaction is not known, the partition is taken anew: that tells.
"""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import structlog
from confluent_kafka import KafkaException

from headwater import metrics
from headwater.settings import Settings
from processors.backfill_reader import BackfillReader
from processors.blocks import Block, BlockApp
from processors.fence import FencedError, FencedWriter
from processors.id_window import IdWindow
from processors.output import Output, OutputFullError
from processors.partition import Progress, Verdict
from processors.pipeline import Pipeline, UnresolvedError
from processors.recovery import recover
from processors.routing import Key, Routes
from processors.state import PartitionState
from processors.table import StateTable
from processors.window import Window

FLUSH_SECONDS = 30.0
RELEASE_SECONDS = 6.0  # what a rebalance or a stop waits for the last settle
RETRY_SECONDS = 1.0
LOST_SECONDS = 10.0  # how long a block that was fetched may take to come
BACKLOG_MAX = 20_000  # records queued for Kafka, beyond which processing waits
SETTLING_SHARE = 0.1  # of the time; a settle that takes longer makes them rarer
SETTLE_SECONDS_MAX = 10.0
THREADS = 12

T = TypeVar("T")
log = structlog.get_logger("headwater.processors")


@dataclass(slots=True, eq=False)
class Owned:
    """A partition that this worker has taken, of the raw topic and of the backfill topic: they share its state."""

    progress: Progress  # in the raw topic
    history: Progress  # in the backfill topic
    state: PartitionState
    writer: FencedWriter

    def begin_settle(self) -> tuple[int | None, int | None]:
        """For both topics what Progress.begin_settle says."""
        return self.progress.begin_settle(), self.history.begin_settle()

    def settle_done(self) -> None:
        """What the last `begin_settle` returned is durable."""
        for progress in (self.progress, self.history):
            if progress.cut is not None:
                progress.settle_done()


class Worker:
    """The owner of partitions that `BlockApp` reports to."""

    def __init__(
        self,
        settings: Settings,
        app: BlockApp,
        table: StateTable,
        routes: Routes,
        pipeline: Pipeline,
        output: Output,
        backfill: BackfillReader,
        window: Window,
    ) -> None:
        self._settings = settings
        self._app = app
        self._table = table
        self._routes = routes
        self._pipeline = pipeline
        self._output = output
        self._backfill = backfill
        self._window = window
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="processor")
        self._seeks = itertools.count(1)
        self._assignment = 0  # grows with every assignment and release, so what belongs to an old one can tell
        self._assigned: set[int] | None = None
        self._committed: Mapping[int, int] = {}
        self._owned: dict[int, Owned] = {}
        self._waiting: dict[
            int, tuple[float, int]
        ] = {}  # since when blocks of a partition have been due, and from where
        self._cut = (
            asyncio.Lock()
        )  # held while a block is processed, and while all that is processed is told from the rest
        self._settling = asyncio.Lock()
        self._taking = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> bool:
        """Whether this worker has joined its group and has recovered all that it was assigned."""
        return self._assigned is not None and self._assigned <= self._owned.keys()

    @property
    def live_waiting(self) -> int:
        """How many records of the raw topic wait for this worker, as far as it knows."""
        return self._app.blocks.waiting({p: each.progress.next for p, each in self._owned.items()})

    @property
    def history(self) -> dict[int, int]:
        """Up to which offsets the backfill topic is settled, by partition that this worker owns."""
        return {p: each.history.settled for p, each in self._owned.items()}

    # What Faust tells

    def assigned(self, partitions: Iterable[int], committed: Mapping[int, int]) -> None:
        """These partitions are ours, and paused; `committed` are the group's offsets, where it has any."""
        self._assignment += 1
        self._assigned = set(partitions)
        self._committed = committed
        metrics.partitions_owned.set(len(self._assigned))
        self._start(self._take(self._assigned, self._assignment))

    async def release(self) -> None:
        """Settle what is done and let all partitions go, within RELEASE_SECONDS."""
        self._assignment += 1
        self._assigned = None
        settling = self._start(self.settle())
        await asyncio.wait({settling}, timeout=RELEASE_SECONDS)
        owned, self._owned = self._owned, {}
        self._backfill.leave(owned)
        metrics.partitions_owned.set(0)
        metrics.window_ids.clear()
        if settling.done():  # else its writers are still in use
            await asyncio.gather(*(self._in_thread(each.writer.close) for each in owned.values()))

    # Processing

    async def process(self, partition: int, block: Block) -> None:
        """Process a block, or see that its partition is read again from where it must be."""
        owned = self._owned.get(partition)
        if owned is not None:
            await self._process(partition, owned, owned.progress, block)

    async def process_history(self, partition: int, block: Block) -> Mapping[str, int]:
        """The same with a block of the backfill topic; returns how many events it put out to each topic."""
        owned = self._owned.get(partition)
        return {} if owned is None else await self._process(partition, owned, owned.history, block)

    async def _process(self, partition: int, owned: Owned, progress: Progress, block: Block) -> Mapping[str, int]:
        match progress.judge(block.seek, block.start, block.end):
            case Verdict.SKIP:
                return {}
            case Verdict.REWIND:
                self._read_from_next(partition, owned, progress)
                return {}
            case Verdict.TAKE:
                begin = progress.next
        try:
            records = [record for record in block.records if record.offset >= begin]
            while True:
                await self._room()
                async with self._cut:
                    if self._owned.get(partition) is not owned or progress.next != begin:
                        return {}  # revoked or rewound while we waited
                    try:
                        put_out = self._pipeline.process(records, owned.state, _now())
                        progress.advance(block.end)
                        return put_out
                    except UnresolvedError as error:
                        unresolved = error.keys
                await self._resolve(unresolved)
        except (OutputFullError, KafkaException) as error:
            log.warning("output is not possible; trying again", partition=partition, error=str(error))
        except Exception:
            log.exception("a block cannot be processed; trying again", partition=partition, offset=begin)
        async with self._settling:  # which may be making durable what this would undo
            self._undo(partition, owned)
        await asyncio.sleep(RETRY_SECONDS)
        return {}

    async def _resolve(self, keys: set[Key]) -> None:
        while True:
            try:
                await self._in_thread(partial(self._routes.resolve, keys))
                return
            except KafkaException as error:
                log.warning("topics of collections cannot be made; trying again", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _room(self) -> None:
        while self._output.backlog > BACKLOG_MAX:
            self._output.poll()
            await asyncio.sleep(0.01)

    # Settling

    async def settle_forever(self) -> None:
        """Settle every `settle_seconds`; less often where it would take more than SETTLING_SHARE of the time."""
        pause = self._settings.settle_seconds
        while True:
            await asyncio.sleep(pause)
            began = time.monotonic()
            await self.settle()
            took = time.monotonic() - began
            self._find_lost()
            pause = min(max(self._settings.settle_seconds, took / SETTLING_SHARE - took), SETTLE_SECONDS_MAX)

    def _find_lost(self) -> None:
        """Read again where blocks were fetched but never came, and no record follows that would show it."""
        waiting = {}
        for p, each in self._owned.items():
            position = self._app.blocks.next_offset(p)
            if position is None or not each.progress.is_behind(position):
                continue
            since, at = self._waiting.get(p, (time.monotonic(), each.progress.next))
            if at != each.progress.next:
                since = time.monotonic()
            elif time.monotonic() - since > LOST_SECONDS:
                self._read_from_next(p, each, each.progress)
                continue
            waiting[p] = since, each.progress.next
        self._waiting = waiting

    async def settle(self) -> None:
        """Make durable what has been processed; what cannot be is processed again."""
        async with self._settling:
            began = time.monotonic()
            async with self._cut:
                now = _now()
                cuts = {p: (each, each.begin_settle()) for p, each in self._owned.items()}
                work = {
                    p: (each, each.state.changes(_last(live), now, _last(history)))
                    for p, (each, (live, history)) in cuts.items()
                    if live is not None or history is not None
                }
                if not work:
                    return
                flush, put_out = self._output.cut(), self._window.put_out
            # Flushed and written beside the processing of the next blocks.
            if not await self._in_thread(partial(flush, FLUSH_SECONDS)):
                async with self._cut:
                    self._routes.forget()
                    for p, (each, _) in cuts.items():
                        self._undo(p, each)
                metrics.settles.labels("failed").inc()
                return
            self._window.settled(put_out)
            outcomes = await asyncio.gather(
                *(self._in_thread(partial(each.writer.write, changes)) for each, changes in work.values()),
                return_exceptions=True,
            )
            settled = {}
            for (p, (each, changes)), outcome in zip(work.items(), outcomes, strict=True):
                if isinstance(outcome, BaseException):
                    self._lose(p, each, outcome)
                elif self._owned.get(p) is each:  # else the next owner recovers it
                    self._table.apply(p, changes.items(), outcome)
                    each.settle_done()
                    each.state.trim()
                    settled[p] = each.progress.settled
                    metrics.settles.labels("done").inc()
            metrics.settle_seconds.observe(time.monotonic() - began)
            if settled:
                self._start(self._inform(settled))

    async def _inform(self, offsets: Mapping[int, int]) -> None:
        await self._app.blocks.commit_group(offsets)
        for p, lag in self._app.blocks.lags(offsets).items():
            metrics.processor_lag_records.labels(str(p)).set(lag)

    def _undo(self, partition: int, owned: Owned) -> None:
        """Go back to what is settled."""
        unsettled = [each for each in (owned.progress, owned.history) if each.next != each.settled]
        if self._owned.get(partition) is owned and unsettled:
            owned.state.undo()
            for progress in unsettled:
                progress.settle_undone()
                self._read_from_next(partition, owned, progress)

    def _read_from_next(self, partition: int, owned: Owned, progress: Progress) -> None:
        metrics.rewinds.inc()
        progress.sought(next(self._seeks))
        source = self._app.blocks if progress is owned.progress else self._backfill
        source.read_from(partition, progress.next, progress.seek)

    def _lose(self, partition: int, owned: Owned, error: BaseException) -> None:
        """A transaction failed: the partition is another worker's, or has to be taken anew."""
        fenced = isinstance(error, FencedError)
        metrics.settles.labels("fenced" if fenced else "failed").inc()
        log.warning("state could not be written", partition=partition, fenced=fenced, error=str(error))
        if self._owned.get(partition) is owned:
            del self._owned[partition]
            self._backfill.leave([partition])
            self._start(self._take_again(partition, owned, fenced, self._assignment))

    # Taking

    async def _take_again(self, partition: int, owned: Owned, fenced: bool, assignment: int) -> None:
        await self._in_thread(owned.writer.close)
        # A worker that was late with an old assignment may have fenced us off by mistake; one that is not a member of the
        # group now must not do that. The group knows: it takes offsets from members only.
        if fenced and not await self._app.blocks.commit_group({partition: owned.progress.settled}):
            log.info("the group has another owner for the partition; waiting for it to say so", partition=partition)
            return
        await self._take({partition}, assignment)

    async def _take(self, partitions: set[int], assignment: int) -> None:
        """Take partitions and let them flow, however long that needs; gives up when the assignment is no more."""
        began = time.monotonic()
        wanted = set(partitions)

        def current() -> bool:
            return self._assignment == assignment

        async with self._taking:
            while wanted and current():
                writers = {p: FencedWriter(self._settings, self._app.conf.id, p) for p in wanted}
                taken = await asyncio.gather(
                    *(self._in_thread(writer.take) for writer in writers.values()), return_exceptions=True
                )
                ends: dict[int, int] = {}
                errors: dict[int, BaseException] = {}
                for p, outcome in zip(writers, taken, strict=True):
                    if isinstance(outcome, BaseException):
                        errors[p] = outcome
                    else:
                        ends[p] = outcome
                try:
                    done = await self._in_thread(partial(recover, self._settings, self._table, ends, current))
                except Exception as error:
                    done = False
                    errors |= dict.fromkeys(ends, error)
                if done and current():
                    for p in ends:
                        self._own(p, writers.pop(p))
                        wanted.discard(p)
                await asyncio.gather(*(self._in_thread(writer.close) for writer in writers.values()))
                if errors and current():
                    log.warning(
                        "partitions could not be taken; trying again", errors={p: str(errors[p]) for p in errors}
                    )
                    await asyncio.sleep(RETRY_SECONDS)
        if current():
            log.info("partitions taken", partitions=sorted(partitions), seconds=round(time.monotonic() - began, 3))

    def _own(self, partition: int, writer: FencedWriter) -> None:
        state = PartitionState(
            partition, partial(self._table.read, partition), IdWindow(self._settings, self._table, partition)
        )
        watermark = state.watermark()
        # Without a watermark nothing was ever counted: the group's offset, else the beginning (0 falls back to the earliest).
        start = watermark + 1 if watermark >= 0 else self._committed.get(partition, 0)
        seek = next(self._seeks)
        behind = state.watermark("backfill") + 1
        self._owned[partition] = Owned(Progress(start, start, seek), Progress(behind, behind, seek), state, writer)
        self._app.blocks.read_from(partition, start, seek)
        self._backfill.read_from(partition, behind, seek)

    # Threads and tasks

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def _start(self, work: Awaitable[Any]) -> asyncio.Task[Any]:
        async def run() -> None:
            try:
                await work
            except Exception:
                log.exception("a task of the processor failed")

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _last(end: int | None) -> int | None:
    """The offset before this one."""
    return None if end is None else end - 1


def _now() -> int:
    return time.time_ns() // 1_000_000
