"""History: processed with what capacity is left, in the event loop of the worker.

Two things are left free for live events. The worker: a block of history, a small one, is taken only when hardly a live record
waits. The sinks: history fills no more than a window of what is put out and not yet stored (`processors.window`), and of that no
more than leaves live events fresh (`processors.pace`). Where either has no capacity left, history waits in its topic, and live events go on.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Literal, TypeVar

import structlog
from confluent_kafka import KafkaException

from headwater import metrics
from headwater.membership import IDLE_SECONDS
from headwater.offsets import Place
from headwater.settings import Settings
from processors.backfill_reader import BackfillReader
from processors.group_offsets import GroupOffsets, backfill_group
from processors.pace import Pace
from processors.stored import Stored
from processors.window import Window
from processors.worker import Worker

BLOCK_RECORDS = 500  # so few that a live block waits for milliseconds
WINDOW_EVENTS = 2_500  # under way to sinks, over all processors
LIVE_WAITING = 500  # live records that are no reason to wait: what one fetch brings
READ_SECONDS = 0.5
LIVE_LOOK_SECONDS = 0.02
ROOM_LOOK_SECONDS = 0.05
ASK_SECONDS = 0.15  # between two questions what sinks have stored
LAG_SECONDS = 2.0
LIVE_SECONDS = 10.0  # without a live event for so long, there are none that could wait
RETRY_SECONDS = 1.0
STALLED_SECONDS = 5.0  # without room or turn for so long, it is said

WaitsFor = Literal["live", "sinks"]
T = TypeVar("T")
log = structlog.get_logger("headwater.processors")


class Backfill:
    """Processes the backfill topic's partitions that its worker owns."""

    def __init__(self, settings: Settings, worker: Worker, reader: BackfillReader, window: Window) -> None:
        self._worker = worker
        self._reader = reader
        self._window = window
        self._pace = Pace()
        self._live_position = 0
        self._live_at = -math.inf
        self._partitions = settings.raw_partitions
        self._stored = Stored(settings)
        self._told = GroupOffsets(settings, backfill_group(settings))
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="backfill")
        self._waiting_since = time.monotonic()
        self._said: WaitsFor | None = None
        self._lag = 0

    async def run(self) -> None:
        """Process history for ever."""
        await asyncio.gather(
            self._again(self._process, 0.0), self._again(self._ask, ASK_SECONDS), self._again(self._look, LAG_SECONDS)
        )

    async def _again(self, work: Callable[[], Awaitable[None]], pause: float) -> None:
        """Do it again and again, whatever goes wrong with Kafka."""
        while True:
            try:
                await work()
            except KafkaException as error:
                log.warning("history cannot be read; trying again", error=error.args[0].str())
                await asyncio.sleep(RETRY_SECONDS)
            await asyncio.sleep(pause)

    async def _process(self) -> None:
        """Take what may be taken, when it is worth it, and process it."""
        owned = len(self._worker.history)
        self._window.size = math.ceil(WINDOW_EVENTS * self._pace.share * owned / self._partitions)
        if not self._window.opens:
            self._waits("sinks" if owned else None)
            await asyncio.sleep(ROOM_LOOK_SECONDS)
            return
        while self._window.room and await self._process_blocks():
            pass

    async def _process_blocks(self) -> bool:
        """Take a block of each partition and process it; False where there is no history."""
        await self._turn()
        blocks = await self._in_thread(partial(self._reader.take, min(BLOCK_RECORDS, self._window.room), READ_SECONDS))
        for partition, block in blocks.items():
            await self._turn()
            put_out = await self._worker.process_history(partition, block)
            self._window.add(put_out)
            metrics.backfill_events.inc(sum(put_out.values()))
        return bool(blocks)

    async def _turn(self) -> None:
        """Wait until hardly a live record waits."""
        while self._worker.live_waiting > LIVE_WAITING:
            self._waits("live" if self._lag else None)
            await asyncio.sleep(LIVE_LOOK_SECONDS)
        self._waits(None)

    async def _ask(self) -> None:
        """Ask what of the history sinks have stored; nothing where none is under way."""
        durable, topics = self._window.durable, sorted(self._window.topics)
        if topics:
            ends, committed = await self._in_thread(partial(self._stored.ask, topics))
            now, before = time.monotonic(), self._live_position
            self._live_position = self._worker.live_position
            if self._live_position != before:
                self._live_at = now
            self._pace.learn(self._window.asked(durable, ends, committed, now), now - self._live_at < LIVE_SECONDS)

    async def _look(self) -> None:
        """Say how much history is not yet read."""
        history = self._worker.history
        try:
            ends = await self._in_thread(partial(self._stored.ends, [(self._reader.topic, each) for each in history]))
        except KafkaException:
            self._reader.idle_seconds = 0.0  # nobody gets anything
            raise
        lags = {
            partition: self._reader.left(partition, history[partition], end) for (_, partition), end in ends.items()
        }
        if self._lag or any(lags.values()):
            reached = {Place(self._reader.topic, partition): offset for partition, offset in history.items()}
            await self._in_thread(partial(self._told.commit, reached))
        self._lag = sum(lags.values())
        if not self._lag:
            self._reader.idle_seconds = 0.0  # there was nothing
        elif self._reader.idle_seconds > IDLE_SECONDS:
            log.warning("history is there and is not read; reading on by a new client", records=self._lag)
            self._reader.begin_anew()
        metrics.processor_backfill_lag_records.clear()
        for partition, lag in lags.items():
            metrics.processor_backfill_lag_records.labels(str(partition)).set(lag)

    def _waits(self, what: WaitsFor | None) -> None:
        """Say it where history has waited for long for the same, and where it goes on."""
        now = time.monotonic()
        if what is None:
            self._waiting_since = now
        if what == self._said or (what is not None and now - self._waiting_since < STALLED_SECONDS):
            return
        self._said = what
        for each in ("live", "sinks"):
            metrics.backfill_paused.labels(each).set(each == what)
        if what is None:
            log.info("history goes on")
        else:
            log.warning("history waits", waits_for=what, records=self._lag)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)
