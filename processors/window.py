"""How much history may be under way to the sinks: the rule by which a backfill leaves them free for live events.

The topics of collections are queues in which history and live events stand behind each other, so history that is put out
faster than sinks store it makes live events wait. As TCP does, a window bounds what is under way: events that were put out and
are not yet known to be stored.

History comes in bursts, each when half of the window is free: what comes drop by drop would be in every insert, and each
part of a table that an insert makes has its price.

Pure: no Kafka, no clock. What is put out is counted; from time to time somebody asks Kafka where the topics end and what the
sinks' group has committed in them. An end that was asked when so many events were durable has all of these before it, so
once the group has committed up to it, they are stored.
"""

from collections import deque
from collections.abc import Mapping

Ends = Mapping[tuple[str, int], int]  # topic and partition -> offset


class Window:
    """The window of one processor. `size` is how many events may be under way."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.topics: set[str] = set()  # to which events are under way
        self.put_out = 0  # events, since the beginning, as the next two
        self.durable = 0
        self.stored = 0
        # How many events were durable, and stand before these ends; and when that was asked.
        self._marks: deque[tuple[int, Ends, float]] = deque()

    @property
    def room(self) -> int:
        """How many events may be put out now."""
        return max(0, self.size - (self.put_out - self.stored))

    @property
    def opens(self) -> bool:
        """Whether there is room for a burst."""
        return self.room > self.size // 2

    @property
    def is_empty(self) -> bool:
        """Whether nothing is under way."""
        return self.stored == self.put_out

    def add(self, events: Mapping[str, int]) -> None:
        """So many events were put out to each topic."""
        self.put_out += sum(events.values())
        self.topics |= events.keys()

    def settled(self, put_out: int) -> None:
        """What was put out when `put_out` had this value is durable in Kafka."""
        self.durable = max(self.durable, put_out)

    def asked(self, durable: int, ends: Ends, committed: Ends, now: float) -> float:
        """Kafka says where all of `topics` end, and what the sinks have committed; `durable` is from before it was asked.

        Returns for how many seconds the oldest has waited of what is stored since the last time, or waits.
        """
        if durable > (self._marks[-1][0] if self._marks else self.stored):
            self._marks.append((durable, ends, now))
        since = self._marks[0][2] if self._marks else now
        while self._marks and _reached(self._marks[0][1], ends, committed):
            self.stored = self._marks.popleft()[0]
        if self.is_empty:
            self.topics.clear()
        return now - since


def _reached(wanted: Ends, existing: Ends, committed: Ends) -> bool:
    """Whether all offsets before these ends are committed; in partitions that are empty or gone nothing is left to do."""
    return all(end <= max(0, committed.get(place, 0)) for place, end in wanted.items() if place in existing)
