"""Batches of records, one collection's at a time, and the offsets that may be committed once they are stored.

Pure: no clock, no Kafka and no ClickHouse in here; times are seconds of the caller's monotonic clock. The rule that
everything hangs on: an offset is given out for committing only when every record before it, of its partition and since
its assignment, is in a batch that was settled.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from confluent_kafka import Message

Partition = tuple[str, int]  # a topic and a partition's number


@dataclass(frozen=True)
class Limits:
    """When a collection's batch is inserted: at so many records or bytes, or so many seconds after the one before."""

    records: int
    bytes: int
    seconds: float


INSERTING_SHARE = 0.35  # of the time: where inserts take less, batches follow each other sooner than `Limits.seconds`
PAUSE_SECONDS_MIN = 0.25


@dataclass(eq=False)
class Piece:
    """One batch's run of records of one partition, which ends before `next_offset`."""

    next_offset: int
    settled: bool = False


@dataclass(eq=False)
class Batch:
    """Records of one topic that are inserted together; those of one partition are in its order."""

    topic: str
    oldest: float  # when the first record came
    taken: float = -math.inf  # when it was last given out
    records: list[Message] = field(default_factory=list)
    bytes: int = 0
    pieces: dict[int, Piece] = field(default_factory=dict)  # by partition


@dataclass(eq=False)
class _Queue:
    """What waits of one topic: full and failed batches, and the one that still takes records."""

    ready: deque[Batch] = field(default_factory=deque)
    filling: Batch | None = None
    inserting: int = 0
    last_taken: float = -math.inf
    pause: float = math.inf  # from one batch to the next; no more than the limit
    failing: bool = False
    not_before: float = -math.inf

    @property
    def oldest(self) -> float:
        if self.ready:
            return self.ready[0].oldest
        return self.filling.oldest if self.filling else math.inf


class Batches:
    """Takes records in, gives batches out, and knows what may be committed. For one thread."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._queues: dict[str, _Queue] = {}
        self._lanes: dict[Partition, deque[Piece]] = {}
        self._committable: dict[Partition, int] = {}
        self._inserting: set[Batch] = set()
        self.records = 0  # records and bytes that are held: waiting or being inserted
        self.bytes = 0

    def add(self, topic: str, partition: int, records: Sequence[Message], now: float) -> None:
        """Take records that follow in `partition` on those taken before."""
        queue = self._queues.setdefault(topic, _Queue())
        start = 0
        while start < len(records):
            batch = queue.filling = queue.filling or Batch(topic, now)
            taken = self._fitting(batch, records, start)
            batch.records += taken
            size = sum(map(len, taken))
            batch.bytes += size
            self.records += len(taken)
            self.bytes += size
            self._claim(batch, partition, _offset(taken[-1]) + 1)
            start += len(taken)
            if len(batch.records) >= self._limits.records or batch.bytes >= self._limits.bytes:
                queue.ready.append(batch)
                queue.filling = None

    def take(self, now: float, everything: bool = False) -> Batch | None:
        """The batch to insert now, of the topic that waits longest; None where none is due. `everything`: ages do not count.

        A batch is due when it is full, or when its topic has had no batch taken for the limit's seconds; sooner where the
        inserts of all topics together leave the server most of its time. A topic whose insert failed waits as `retry` said
        and then has one batch out at a time.
        """
        due = [queue for queue in self._queues.values() if self._is_due(queue, now, everything)]
        if not due:
            return None
        queue = min(due, key=lambda queue: queue.oldest)
        if queue.ready:
            batch = queue.ready.popleft()
        else:
            assert queue.filling is not None
            batch, queue.filling = queue.filling, None
        queue.last_taken = batch.taken = now
        queue.inserting += 1
        self._inserting.add(batch)
        return batch

    def settle(self, batch: Batch, now: float) -> None:
        """Every record of `batch` is stored (or dead-lettered): its offsets may be committed after those before it."""
        queue = self._finished(batch)
        active = sum(now - other.last_taken < self._limits.seconds for other in self._queues.values())
        queue.pause = max(PAUSE_SECONDS_MIN, (now - batch.taken) * max(1, active) / INSERTING_SHARE)
        if queue.failing:  # the server took what it refused before: so it may with the others that wait
            queue.failing = False
            for waiting in self._queues.values():
                waiting.not_before = -math.inf
        self.records -= len(batch.records)
        self.bytes -= batch.bytes
        for partition, piece in batch.pieces.items():
            piece.settled = True
            self._advance((batch.topic, partition))

    def retry(self, batch: Batch, not_before: float) -> None:
        """`batch` could not be stored: it comes first when its topic is tried again, at `not_before`."""
        queue = self._finished(batch)
        queue.failing = True
        queue.not_before = not_before
        queue.ready.appendleft(batch)
        self._drop_unowned(queue)

    def committable(self) -> dict[Partition, int]:
        """The offsets that may be committed and were not given out yet."""
        found, self._committable = self._committable, {}
        return found

    def drop(self, partitions: Iterable[Partition]) -> None:
        """Forget partitions that this consumer no longer owns: nothing of them is committed from here on.

        What is being inserted goes on; the next owner inserts the same rows again, and they fold.
        """
        for partition in partitions:
            self._lanes.pop(partition, None)
            self._committable.pop(partition, None)
        for queue in self._queues.values():
            self._drop_unowned(queue)

    @property
    def failing(self) -> set[str]:
        """The topics whose last insert failed."""
        return {topic for topic, queue in self._queues.items() if queue.failing}

    @property
    def oldest(self) -> float | None:
        """When the oldest record that is held came."""
        times = [queue.oldest for queue in self._queues.values()] + [batch.oldest for batch in self._inserting]
        found = min(times, default=math.inf)
        return None if found == math.inf else found

    @property
    def oldest_written_at(self) -> int | None:
        """When the record was written to Kafka that was held first of all that are (milliseconds since 1970); None for none."""
        batches = [queue.ready[0] if queue.ready else queue.filling for queue in self._queues.values()]
        held = [*self._inserting, *(batch for batch in batches if batch is not None)]
        return min((batch.records[0].timestamp()[1] for batch in held), default=None)

    def _fitting(self, batch: Batch, records: Sequence[Message], start: int) -> list[Message]:
        """The records from `start` that fill the batch, the one that reaches a limit included."""
        taken = list(records[start : start + self._limits.records - len(batch.records)])
        room = self._limits.bytes - batch.bytes
        if sum(map(len, taken)) <= room:
            return taken
        size = 0
        for count, record in enumerate(taken, 1):
            size += len(record)
            if size >= room:
                return taken[:count]
        return taken

    def _claim(self, batch: Batch, partition: int, next_offset: int) -> None:
        piece = batch.pieces.get(partition)
        if piece is None:
            piece = batch.pieces[partition] = Piece(next_offset)
            self._lanes.setdefault((batch.topic, partition), deque()).append(piece)
        piece.next_offset = next_offset

    def _is_due(self, queue: _Queue, now: float, everything: bool) -> bool:
        if now < queue.not_before or (queue.failing and queue.inserting):
            return False
        if queue.ready:
            return True
        return queue.filling is not None and (
            everything or now >= queue.last_taken + min(queue.pause, self._limits.seconds)
        )

    def _finished(self, batch: Batch) -> _Queue:
        self._inserting.remove(batch)
        queue = self._queues[batch.topic]
        queue.inserting -= 1
        return queue

    def _advance(self, partition: Partition) -> None:
        lane = self._lanes.get(partition)
        while lane and lane[0].settled:
            self._committable[partition] = lane.popleft().next_offset

    def _drop_unowned(self, queue: _Queue) -> None:
        """Take the records of partitions that were dropped out of what waits."""
        for batch in [*queue.ready, *([queue.filling] if queue.filling else [])]:
            gone = {number for number, piece in batch.pieces.items() if not self._owned(batch.topic, number, piece)}
            if gone:
                kept = [record for record in batch.records if record.partition() not in gone]
                size = sum(map(len, kept))
                self.records -= len(batch.records) - len(kept)
                self.bytes -= batch.bytes - size
                batch.records, batch.bytes = kept, size
                for number in gone:
                    del batch.pieces[number]
        queue.ready = deque(batch for batch in queue.ready if batch.records)
        if queue.filling and not queue.filling.records:
            queue.filling = None
        if not queue.ready and not queue.inserting:
            queue.failing = False

    def _owned(self, topic: str, number: int, piece: Piece) -> bool:
        """Whether the piece is of the present assignment: a partition may have gone and come back."""
        return piece in self._lanes.get((topic, number), ())


def _offset(record: Message) -> int:
    offset = record.offset()
    assert offset is not None
    return offset
