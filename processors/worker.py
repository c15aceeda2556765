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
from functools import partial
from typing import Any, TypeVar

import structlog
from confluent_kafka import KafkaException

from headwater import metrics
from headwater.dead_letters.limit import LimitReachedError
from headwater.settings import Settings
from processors.backfill_reader import BackfillReader
from processors.blocks import Block, BlockApp
from processors.ends import Ends
from processors.fence import FencedError, FencedWriter, fenced_writer
from processors.id_window import IdWindow
from processors.lost import Gap, Lost
from processors.output import Output, OutputFullError
from processors.overdue import Overdue
from processors.owned import Owned
from processors.partition import Progress, Verdict
from processors.pipeline import Pipeline, UnresolvedError
from processors.recovery import recover
from processors.rhythm import Rhythm
from processors.routing import Key, Routes
from processors.standing import Standing, listed
from processors.state import PartitionState
from processors.table import StateLostError, StateTable
from processors.window import Window

FLUSH_SECONDS = 30.0
RELEASE_SECONDS = 6.0  # what a rebalance or a stop waits for the last settle
CLOSE_SECONDS = 2.0  # and then for its writers
RETRY_SECONDS = 1.0
BACKLOG_MAX = 20_000  # records queued for Kafka, beyond which processing waits
LETTERS_BYTES_MAX = 32 * 1024 * 1024  # of dead letters that wait for a settle, beyond which processing waits
LOOK_SECONDS = 1.0
THREADS = 12

T = TypeVar("T")
log = structlog.get_logger("headwater.processors")


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
        self._overdue = Overdue()
        # Held while a block is processed, and while all that is processed is told from the rest.
        self._cut = asyncio.Lock()
        self._settling = asyncio.Lock()
        self._taking = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.limit_reached = asyncio.Event()  # too much would be given up: nothing is taken or settled any more
        self._standing = Standing(time.monotonic())
        self._lost, self._ends = Lost(settings), Ends(settings)
        # By partition: when the last record that was taken up was written.
        self._written_at: dict[int, int] = {}

    def problems(self) -> list[str]:
        """Why this worker does not do its work, a line each: not joined, not recovered, or getting nowhere. From any thread."""
        assigned = self._assigned
        if assigned is None:
            return ["not a member of the processors' group yet"]
        missing = assigned - self._owned.copy().keys()
        waits = [f"the state of partitions is being recovered: {listed(missing)}"] if missing else []
        return waits + self._standing.problems(time.monotonic())

    def dead(self) -> list[str]:
        """Why this process should be ended. From any thread."""
        return self._standing.dead(time.monotonic())

    @property
    def unsettled(self) -> dict[int, int]:
        """How many offsets are processed and not settled, by partition; those that have none are left out."""
        behind = {
            p: sum(each.next - each.settled for each in (owned.progress, owned.history))
            for p, owned in self._owned.items()
        }
        return {p: offsets for p, offsets in behind.items() if offsets}

    @property
    def live_waiting(self) -> int:
        """How many records of the raw topic wait for this worker, as far as it knows; where it does not, as many as one fetch may bring."""
        next_offsets = {p: each.progress.next for p, each in self._owned.items()}
        waiting = self._app.blocks.waiting(next_offsets, self._ends.known).values()
        return sum(self._app.conf.broker_max_poll_records if each is None else each for each in waiting)

    @property
    def live_position(self) -> int:
        """A number that grows with the live records that this worker processes, as long as it owns the same partitions."""
        return sum(each.progress.next for each in self._owned.values())

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
        metrics.rebalances.labels("processor").inc()
        self._start(self._take(self._assigned, self._assignment))

    async def release(self) -> dict[int, int]:
        """Settle what is done and let all partitions go, within RELEASE_SECONDS; what was left unsettled, as `unsettled`."""
        self._assignment += 1
        self._assigned = None
        settling = self._start(self.settle())
        await asyncio.wait({settling}, timeout=RELEASE_SECONDS)
        unsettled = self.unsettled
        owned, self._owned = self._owned, {}
        self._backfill.leave(owned)
        metrics.partitions_owned.set(0)
        metrics.window_ids.clear()
        metrics.processor_lag_records.clear()
        metrics.processor_lag_seconds.clear()
        self._standing.let_go()
        self._written_at = {}
        if settling.done():  # else its writers are still in use
            closing = [asyncio.ensure_future(self._in_thread(each.writer.close)) for each in owned.values()]
            if closing:
                await asyncio.wait(closing, timeout=CLOSE_SECONDS)  # where Kafka hangs, so do they
        return unsettled

    def close(self) -> None:
        """Begin nothing more: the threads end, all but those that wait for Kafka."""
        self._threads.shutdown(wait=False, cancel_futures=True)

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
            live = progress is owned.progress
            if records[0].offset > begin:
                self._lost.note(Gap(records[0].topic, partition, begin, records[0].offset))
            if live:
                self._written_at[partition] = records[0].timestamp
            while True:
                await self._room()
                async with self._cut:
                    if self._assigned is None or self._owned.get(partition) is not owned or progress.next != begin:
                        return {}  # let go, revoked or rewound while we waited
                    try:
                        put_out = self._pipeline.process(records, owned.state, _now())
                        progress.advance(block.end)
                        self._standing.processed(partition)
                        if live:
                            self._written_at[partition] = records[-1].timestamp
                        return put_out
                    except UnresolvedError as error:
                        unresolved = error.keys
                await self._resolve(partition, unresolved)
        except StateLostError as error:
            async with self._settling:
                self._lose(partition, owned, error)
            return {}
        except LimitReachedError:
            self.limit_reached.set()
            return {}
        except (OutputFullError, KafkaException) as error:
            log.warning("output is not possible; trying again", partition=partition, error=str(error))
            self._standing.stuck(partition, "its output is not possible", time.monotonic())
        except Exception:
            log.exception("a block cannot be processed; trying again", partition=partition, offset=begin)
            self._standing.stuck(partition, f"the block at offset {begin} cannot be processed", time.monotonic())
        async with self._settling:  # which may be making durable what this would undo
            self._undo(partition, owned)
        await asyncio.sleep(RETRY_SECONDS)
        return {}

    async def _resolve(self, partition: int, keys: set[Key]) -> None:
        while True:
            try:
                await self._in_thread(partial(self._routes.resolve, keys))
                return
            except KafkaException as error:
                log.warning("topics of collections cannot be made; trying again", error=str(error))
                self._standing.stuck(partition, "topics of collections cannot be made", time.monotonic())
                await asyncio.sleep(RETRY_SECONDS)

    async def _room(self) -> None:
        while self._output.backlog > BACKLOG_MAX or (
            sum(each.state.letters_bytes for each in self._owned.values()) > LETTERS_BYTES_MAX
        ):
            self._output.poll()
            await asyncio.sleep(0.01)

    # Settling

    async def settle_forever(self) -> None:
        """Settle every `settle_seconds`; less often where it would take too much of the time."""
        rhythm = Rhythm(self._settings.settle_seconds)
        while True:
            await asyncio.sleep(rhythm.pause)
            began, failed = time.monotonic(), False
            if not self._pipeline.limit.holds(began):
                settling = asyncio.ensure_future(self.settle())
                self._tasks.add(settling)
                settling.add_done_callback(self._tasks.discard)
                failed = await asyncio.shield(settling)  # `release` waits for what is under way, and settles the rest
            rhythm.settled(time.monotonic() - began, failed)
            self._find_lost()

    def _find_lost(self) -> None:
        """Read again where blocks were fetched but never came, and no record follows that would show it."""
        behind = {
            p: each.progress.next
            for p, each in self._owned.items()
            if (position := self._app.blocks.next_offset(p)) is not None and each.progress.is_behind(position)
        }
        for p in self._overdue.look(behind, time.monotonic()):
            self._read_from_next(p, self._owned[p], self._owned[p].progress)

    async def watch(self) -> None:
        """Look every second how this worker stands, and how far behind it is."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._lost.due(time.monotonic()):
                self._start(self._in_thread(self._lost.tell))
            if self._ends.due(time.monotonic()):
                self._start(self._in_thread(partial(self._ends.ask, [*self._owned])))
            next_offsets = {p: each.progress.next for p, each in self._owned.items()}
            unsettled = {p: each.progress.next - each.progress.settled for p, each in self._owned.items()}
            waiting = self._app.blocks.waiting(next_offsets, self._ends.known)
            # Of what nothing is known may be nothing, until it has been so for too long.
            assumed = {p: 1 if each is None else each for p, each in waiting.items()}
            self._standing.look(assumed, next_offsets, time.monotonic())
            now = _now()
            for p, records in waiting.items():
                if records is not None:
                    metrics.processor_lag_records.labels(str(p)).set(records + unsettled[p])
                    age = max(0, now - self._written_at.get(p, now)) / 1000 if records else 0.0
                    metrics.processor_lag_seconds.labels(str(p)).set(age)
            metrics.recovering_partitions.set(len((self._assigned or set()) - self._owned.keys()))
            self._pipeline.phases.tell()
            self._output.poll()

    async def settle(self) -> bool:
        """Make durable what has been processed; what cannot be is processed again. Whether something of it failed."""
        if self.limit_reached.is_set():
            return False
        async with self._settling:
            self._standing.settle_begins(time.monotonic())
            failed: bool | None = True
            try:
                failed = await self._settle()
            finally:
                self._standing.settle_ends(time.monotonic(), failed)
        return bool(failed)

    async def _settle(self) -> bool | None:
        """Settle; whether something of it failed, None where there was nothing to do."""
        phases = self._pipeline.phases
        began = time.monotonic()
        async with self._cut:
            now, cut_at = _now(), time.monotonic()
            cuts = {p: (each, each.begin_settle()) for p, each in self._owned.items()}
            work = {
                p: (each, each.state.changes(_last(live), now, _last(history)), each.state.letters())
                for p, (each, (live, history)) in cuts.items()
                if live is not None or history is not None
            }
            if not work:
                return None
            flush, put_out = self._output.cut(), self._window.put_out
            phases.spent("settle", time.monotonic() - cut_at)
        # Flushed and written beside the processing of the next blocks.
        flushed_from = time.monotonic()
        flushed = await self._in_thread(partial(flush, FLUSH_SECONDS))
        phases.beside("flush", time.monotonic() - flushed_from)
        if not flushed:
            async with self._cut:
                self._output.undo()
                self._routes.forget()
                for p, (each, _) in cuts.items():
                    self._undo(p, each)
            metrics.settles.labels("failed").inc()
            return True
        self._window.settled(put_out)
        written_from = time.monotonic()
        outcomes = await asyncio.gather(
            *(
                self._in_thread(partial(each.writer.write, changes, letters))
                for each, changes, letters in work.values()
            ),
            return_exceptions=True,
        )
        written = time.monotonic()
        phases.beside("commit", written - written_from)
        settled, failed = {}, False
        for (p, (each, changes, _)), outcome in zip(work.items(), outcomes, strict=True):
            if isinstance(outcome, BaseException):
                failed |= not isinstance(outcome, FencedError)  # a partition that another has is no failure
                self._lose(p, each, outcome)
            elif self._owned.get(p) is each:  # else the next owner recovers it
                try:
                    self._table.apply(p, changes.items(), outcome)
                except StateLostError as error:
                    failed = True
                    self._lose(p, each, error)
                    continue
                each.settle_done()
                each.state.trim()
                settled[p] = each.progress.settled
                metrics.settles.labels("done").inc()
        phases.spent("settle", time.monotonic() - written)
        metrics.settle_seconds.observe(time.monotonic() - began)
        if settled:
            self._start(self._app.blocks.commit_group(settled))
        return failed

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
        """A transaction failed, or the local state is lost: the partition is another worker's, or has to be taken anew."""
        fenced = isinstance(error, FencedError)
        metrics.settles.labels("fenced" if fenced else "failed").inc()
        log.warning("state could not be written", partition=partition, fenced=fenced, error=str(error))
        if self._owned.get(partition) is owned:
            del self._owned[partition]
            self._standing.gone([partition])
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
        said: dict[int, str] = {}

        def current() -> bool:
            return self._assignment == assignment

        async with self._taking:
            while wanted and current():
                asked = sorted(wanted)
                fencing = (self._in_thread(partial(fenced_writer, self._settings, self._app.conf.id, p)) for p in asked)
                writers: dict[int, FencedWriter] = {}
                ends: dict[int, int] = {}
                errors: dict[int, BaseException] = {}
                for p, outcome in zip(asked, await asyncio.gather(*fencing, return_exceptions=True), strict=True):
                    if isinstance(outcome, BaseException):
                        errors[p] = outcome
                    else:
                        writers[p], ends[p] = outcome
                try:
                    done = await self._in_thread(partial(recover, self._settings, self._table, ends, current))
                except Exception as error:
                    done = False
                    errors |= dict.fromkeys(ends, error)
                if done and current():
                    for p in ends:
                        try:
                            self._own(p, writers[p])
                        except Exception as error:  # what is in its state is no state, or the local copy is lost
                            errors[p] = error
                            self._standing.stuck(p, f"its state cannot be read: {error}", time.monotonic())
                            continue
                        self._standing.gone([p])
                        del writers[p]
                        wanted.discard(p)
                await asyncio.gather(*(self._in_thread(writer.close) for writer in writers.values()))
                if errors and current():
                    reasons = {p: str(errors[p]) for p in errors}
                    if reasons != said:
                        log.warning("partitions could not be taken; trying again", errors=reasons)
                    said = reasons
                    await asyncio.sleep(RETRY_SECONDS)
        if current():
            took = time.monotonic() - began
            metrics.recovery_seconds.observe(took)
            log.info("partitions taken", partitions=sorted(partitions), seconds=round(took, 3))

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
