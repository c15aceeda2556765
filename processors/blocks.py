"""Faust that hands blocks of records to its agent, and leaves the raw topic's offsets and the table's recovery to us.

A stock Faust worker pays two asyncio tasks, a call of the conductor and a queue hop per record: 2,700 events/s. Here they
are paid per block. Faust keeps what it is good at: membership of the group, assignment of the table's partitions beside the
raw topic's, rebalances, the agent's life, RocksDB. What it is not trusted with, and why (faust-streaming 0.15.3):

- which raw offset comes next: its acknowledgements can commit past records in flight, and it drops queued messages in a
  rebalance. `processors.partition` decides, from the offset at which each fetch began.
- recovery of the table: Faust ends it at the topic's high watermark, which a transaction's marker makes an offset that
  never comes; it takes 30 to 100 microseconds a record, and writes records and their offset separately.
  `processors.recovery` does it. Faust sees a table that needs none.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, cast

import faust
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP

BLOCK_RECORDS = 2_000
FETCH_WAIT_MS = 50
FETCH_MIN_BYTES = (
    262_144  # Kafka waits for so much, FETCH_WAIT_MS at most: small blocks cost nearly twice as much an event
)
IDLE_SECONDS = 0.02  # between two looks for partitions to fetch from, while there are none


class Block(NamedTuple):
    """Records of one partition in order, at least one; `start` is where their fetch began, `seek` the seek it followed."""

    seek: int
    start: int
    records: list[ConsumerRecord]

    @property
    def end(self) -> int:
        """The offset behind the last record."""
        return int(self.records[-1].offset) + 1

    def split(self) -> Iterator["Block"]:
        """The same in blocks of at most BLOCK_RECORDS."""
        start = self.start
        for first in range(0, len(self.records), BLOCK_RECORDS):
            part = Block(self.seek, start, self.records[first : first + BLOCK_RECORDS])
            yield part
            start = part.end


class Owner(Protocol):
    """Who owns the state of partitions: told of every assignment, in the event loop of the app."""

    async def release(self) -> object:
        """All partitions are about to be revoked: settle what is done, and let go."""

    def assigned(self, partitions: Iterable[int], committed: Mapping[int, int]) -> None:
        """These partitions are ours, and paused; `committed` are the group's offsets, where it has any."""


class _Reading:
    """Where the consumer is in one partition, in the assignment in which it was sought."""

    __slots__ = ("assignment", "position", "seek")

    def __init__(self, assignment: object, seek: int, position: int) -> None:
        self.assignment, self.seek, self.position = assignment, seek, position


class BlockThread(AIOKafkaConsumerThread):
    """The consumer's thread. Seeks run in it, so a fetch is either wholly before or wholly behind one."""

    _reading: dict[TP, _Reading]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._reading = {}

    def _create_worker_consumer(self, transport: Transport) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # Whoever writes to the raw topic may do it in transactions; Faust offers this with its exactly_once only.
        consumer._isolation_level = "read_committed"
        # One fetch is under way at a time, and it asks for the partitions of which nothing is waiting here. Where those have
        # nothing new, all others wait until Kafka answers: with Faust's 1.5 s the processor stands still so long.
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        consumer._fetch_min_bytes = FETCH_MIN_BYTES
        return consumer

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """As Faust's, but the changelog's partitions never flow through this consumer."""
        self._ensure_consumer().pause(
            *(TopicPartition(*tp) for tp in assigned if tp[0] in self.app.tables.changelog_topics)
        )
        await super().on_partitions_assigned(assigned, generation_id)

    async def _fetch_records(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> Any:
        """Each partition's records as one Block, in the place of a list."""
        fetched = await super()._fetch_records(consumer, active_partitions, timeout, max_records)
        # No await from here on: what was drained is what the present positions stand for.
        assignment = _assignment(consumer)
        blocks = {}
        for tp, records in fetched.items():
            reading = self._reading.get(tp)
            if reading is None or reading.assignment is not assignment:
                continue  # not from a position of ours, so nobody could say what it follows
            blocks[TP(*tp)] = block = Block(reading.seek, reading.position, records)
            reading.position = block.end
        return blocks

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Faust crashes the worker when a commit fails; ours only inform."""
        try:
            await self._ensure_consumer().commit(
                {TopicPartition(*tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items()}
            )
        except KafkaError:
            return False
        return True

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Nothing: Faust looks for stalls in fetches and commits that are not its own here, and would cry wolf."""

    def seek_soon(self, tp: TP, offset: int, seek: int) -> None:
        """From any thread: read on from `offset`. Without effect where the partition has gone."""
        self.thread_loop.call_soon_threadsafe(self._seek_now, tp, offset, seek)

    def next_offset(self, tp: TP) -> int | None:
        """Where the next block will begin; None where the partition has not been sought in this assignment."""
        reading = self._reading.get(tp)
        return None if reading is None else reading.position

    def fetched(self, tp: TP) -> tuple[int, int] | None:
        """What follows the last record that was taken, and where Kafka says that the partition ends; None where that is not known.

        Behind the last record there may be transaction markers: a position of our own does not know of them.
        """
        assignment = _assignment(self._ensure_consumer())
        state = None if assignment is None else assignment.state_value(TopicPartition(*tp))
        if state is None or not state.has_valid_position or state.highwater is None:
            return None
        return state.position, state.highwater

    def _seek_now(self, tp: TP, offset: int, seek: int) -> None:
        consumer = self._ensure_consumer()
        try:
            consumer.seek(TopicPartition(*tp), offset)
        except IllegalStateError:
            return
        self._reading[tp] = _Reading(_assignment(consumer), seek, offset)


class BlockConsumer(Consumer):
    """Faust's consumer with blocks as the messages of the raw topic."""

    _thread: BlockThread
    app: "BlockApp"

    def __init__(self, transport: Transport, callback: Callable[[Any], Awaitable[None]], **options: Any) -> None:
        async def deliver(message: Any) -> None:
            # In a rebalance a message may come for a partition that has just gone: Faust would crash with a KeyError.
            if message.tp in cast(Any, self.app.topics)._tp_to_callback:
                await callback(message)

        super().__init__(transport, deliver, **options)

    def _new_consumer_thread(self) -> BlockThread:
        return BlockThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:
        """Yield each block as one message, in the place of Faust's one message a record."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow.wait())
        active = self._get_active_partitions()
        if not active:
            await self.sleep(IDLE_SECONDS)
            return
        blocks: Mapping[TP, Any] = await self._getmany(active_partitions=active, timeout=timeout)
        for tp, fetched in blocks.items():
            for block in fetched.split():
                if self.should_stop or not self.flow_active:
                    return  # what is dropped here is found missing, and read again
                message = self._to_message(tp, block.records[-1])
                message.value = block
                self._read_offset[tp] = None  # Faust is not to judge order
                yield tp, message

    async def perform_seek(self) -> None:
        """Faust believes that recovery is complete, and is about to let records flow: recovery begins here."""
        await super().perform_seek()
        raw = {tp for tp in self.assignment() if tp.topic == self.app.raw_topic}
        self.pause_partitions(raw)
        committed = {tp.partition: offset for tp, offset in self._committed_offset.items() if tp in raw and offset}
        self.app.owner.assigned({tp.partition for tp in raw}, committed)

    def read_from(self, partition: int, offset: int, seek: int) -> None:
        """Let a partition of the raw topic flow from `offset`; its blocks carry the seek's number."""
        tp = TP(self.app.raw_topic, partition)
        self._thread.seek_soon(tp, offset, seek)
        if tp in self.assignment():
            self.resume_partitions({tp})

    def next_offset(self, partition: int) -> int | None:
        """Where the consumer reads next; None where it has not been told to read the partition."""
        return self._thread.next_offset(TP(self.app.raw_topic, partition))

    async def commit_group(self, offsets: Mapping[int, int]) -> bool:
        """Commit offsets of the raw topic; False where the group did not take them, as from one who is no member now."""
        tps = {TP(self.app.raw_topic, partition): offset for partition, offset in offsets.items()}
        return bool(await self._thread.commit(tps))

    def waiting(self, processed: Mapping[int, int], ends: Mapping[int, int]) -> dict[int, int | None]:
        """How many records of the raw topic wait, here or in Kafka, of partitions that are processed up to these offsets.

        As far as the last fetches tell, and `ends` that are known otherwise; None where no fetch has told yet.
        """
        waiting: dict[int, int | None] = {}
        for partition, offset in processed.items():
            tp = TP(self.app.raw_topic, partition)
            position, fetched = self._thread.next_offset(tp), self._thread.fetched(tp)
            if position is None or fetched is None:
                waiting[partition] = None
            else:
                at, end = fetched
                waiting[partition] = max(0, position - offset) + max(0, end - at, ends.get(partition, 0) - at)
        return waiting

    async def highwaters(self, *partitions: TP) -> Mapping[TP, Any]:
        """For Faust's recovery: there is nothing to recover."""
        return dict.fromkeys(partitions)

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, Any]:
        """For Faust's recovery, as `highwaters`."""
        return dict.fromkeys(partitions)

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """For Faust's recovery: the table's partitions are never read through this consumer."""

    def _new_offset(self, tp: TP) -> int | None:
        """Faust's periodic commit: never anything. Settling commits."""
        self._acked.pop(tp, None)
        self._acked_index.pop(tp, None)
        return None


class BlockTransport(Transport):
    """Faust's way to Kafka, with our consumer."""

    Consumer = BlockConsumer


class BlockApp(faust.App):
    """A Faust app over blocks of `raw_topic`. `owner` must be set before it starts."""

    owner: Owner

    def __init__(self, *args: Any, raw_topic: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.raw_topic = raw_topic

    @property
    def blocks(self) -> BlockConsumer:
        """The consumer."""
        return cast(BlockConsumer, self.consumer)

    def _new_transport(self) -> BlockTransport:
        return BlockTransport(self.conf.broker_consumer, self, loop=self.loop)

    async def _on_partitions_revoked(self, revoked: set[TP]) -> None:
        await self.owner.release()
        await super()._on_partitions_revoked(revoked)


def _assignment(consumer: AIOKafkaConsumer) -> Any:
    subscription = consumer._subscription.subscription
    return None if subscription is None else subscription.assignment
