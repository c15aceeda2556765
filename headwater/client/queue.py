"""Where events wait to be sent. Queues are not safe to use from several threads: their writer has the lock."""

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from headwater.client.event import Event

OVERHEAD = 250  # bytes that an event takes in memory beside its payload


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Events that were taken together, and the numbers of the first and the last of them in their queue."""

    events: list[Event]
    first: int
    last: int


class Queue(Protocol):
    """Events in order, each with a number; `next` is the number of the next one to be taken, `end` that of the next to be put."""

    next: int
    end: int
    waiting: int  # events that were put and not taken

    @property
    def durable(self) -> bool:
        """Whether what is not answered outlives the process."""
        ...

    @property
    def limit(self) -> str:
        """What bounds it, for messages."""
        ...

    def put(self, event: Event) -> bool:
        """Add an event at the end; False, and nothing is done, where the queue is full. Raises ValueError for one that never fits."""
        ...

    def take(self, events: int, size: int) -> Batch:
        """The next events, at least one: so many at most, and of so many bytes if it is more than one. Some must be waiting."""
        ...

    def answered(self, batch: Batch) -> None:
        """Forget what was taken."""
        ...

    def close(self) -> None:
        """Let go of what the queue holds."""
        ...


class MemoryQueue:
    """A queue in memory, of so many bytes."""

    durable = False

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._events: deque[Event] = deque()
        self._bytes = 0
        self.next = 0
        self.end = 0
        self.waiting = 0

    @property
    def limit(self) -> str:
        """As Queue.limit."""
        return f"the queue of {self._bound:,} bytes"

    def put(self, event: Event) -> bool:
        """As Queue.put. The last event may go over the bound."""
        if self._bytes >= self._bound:
            return False
        self._events.append(event)
        self._bytes += len(event.payload) + OVERHEAD
        self.end += 1
        self.waiting += 1
        return True

    def take(self, events: int, size: int) -> Batch:
        """As Queue.take."""
        taken: list[Event] = []
        taken_bytes = 0
        while self._events and len(taken) < events:
            taken_bytes += len(self._events[0].payload)
            if taken and taken_bytes > size:
                break
            taken.append(self._events.popleft())
            self._bytes -= len(taken[-1].payload) + OVERHEAD
        first = self.next
        self.next += len(taken)
        self.waiting -= len(taken)
        return Batch(taken, first, self.next - 1)

    def answered(self, batch: Batch) -> None:
        """As Queue.answered; nothing is kept of what was taken."""

    def close(self) -> None:
        """As Queue.close; memory needs none."""
