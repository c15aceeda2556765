"""How far a partition of the raw topic is: the rules by which no record is skipped and none is counted twice.

Pure: no Kafka, no clock. A *block* is a run of records as fetched, and it knows the offset at which its fetch began: it
covers everything from there to its last record, so offsets without a record (transaction markers, compaction, expired
records) inside it are known not to exist. Between two blocks nothing is assumed: where the second begins behind the end of
the first, something was lost on the way (Faust drops what is queued in a rebalance), and the partition is read again from
the offset that must come next. Which seek a block followed tells a block that was already under way from one that is new,
so one loss makes one seek, however many blocks are queued.
"""

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """What to do with a block."""

    TAKE = "take"  # process it, from the offset that must come next
    SKIP = "skip"  # nothing new in it, or it was under way before the last seek
    REWIND = "rewind"  # something is missing before it: read again from `next`


@dataclass(slots=True)
class Progress:
    """One partition since this worker took it.

    `settled` and `next` are offsets: everything before `settled` is durable in output and tables; everything before
    `next` is processed. `seek` is the number of the last seek; numbers only grow. `cut` is the `next` that is being
    settled, where one is.
    """

    settled: int
    next: int
    seek: int
    cut: int | None = None

    def judge(self, seek: int, start: int, end: int) -> Verdict:
        """Judge a block that was fetched after the seek of this number and covers the offsets from `start` to before `end`."""
        if end <= self.next:
            return Verdict.SKIP
        if start <= self.next:
            return Verdict.TAKE
        return Verdict.REWIND if seek >= self.seek else Verdict.SKIP

    def advance(self, end: int) -> None:
        """A block that was judged TAKE has been processed."""
        self.next = end

    def sought(self, seek: int) -> None:
        """The consumer was told to read from `next`, by the seek of this number."""
        self.seek = seek

    def is_behind(self, position: int) -> bool:
        """Whether blocks have been fetched that did not arrive: `position` is where the consumer reads next."""
        return position > self.next

    def begin_settle(self) -> int | None:
        """The offset up to which there is work to settle; None where there is none, or a settle is under way."""
        if self.cut is not None or self.next == self.settled:
            return None
        self.cut = self.next
        return self.cut

    def settle_done(self) -> None:
        """What the last `begin_settle` returned is durable."""
        assert self.cut is not None
        self.settled, self.cut = self.cut, None

    def settle_undone(self) -> None:
        """Nothing of the settle has been written: what was processed since the last one has to be processed again."""
        self.next, self.cut = self.settled, None
