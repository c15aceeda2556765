"""The requests of a load: made ready by one thread, sent by others, their answers noted where the first one finds them."""

import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from headwater.client.event import Event
from headwater.load.rows import Lines

CLOSING_SECONDS = 1.0  # a request under way is waited for so long, and then left: what it brings is sent again some day


class Failure(NamedTuple):
    """What was not accepted: the number of its line, and why. `refused` says that the event is at fault, not the request."""

    line: int
    name: str
    description: str
    refused: bool


@dataclass(eq=False, slots=True)
class Request:
    """Lines of a file that are sent together, and what became of them: either as they stand there, or as events made of them.

    It stands for every line up to `line` that no request before it stands for: `rows` of them are not blank, and `rejected` of
    those were not sent. `numbers` has the line of each event.
    """

    line: int = 0
    rows: int = 0
    rejected: int = 0
    lines: Lines | None = None
    events: list[Event] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    answered: bool = False

    @property
    def empty(self) -> bool:
        """Whether there is nothing to send."""
        return self.lines is None and not self.events


class Delivers(Protocol):
    """Sends one request."""

    def __call__(self, request: Request, stop: threading.Event) -> list[Failure]:
        """Deliver it; the same bytes at every attempt. Blocks through its retries, until `stop`; returns what was not accepted."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class Senders:
    """Threads that send requests, each one at a time. They start at once, and end when this is closed."""

    def __init__(self, deliver: Delivers, threads: int) -> None:
        self._deliver = deliver
        self._stop = threading.Event()
        self._ready: queue.Queue[Request | None] = queue.Queue(1)  # the next is made while all others are sent
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def put(self, request: Request) -> None:
        """Have it sent. Blocks while every thread sends and another request waits."""
        self._ready.put(request)

    def flush(self) -> None:
        """Block until every request is answered, or given up."""
        self._ready.join()

    def close(self) -> None:
        """Send nothing more. Waits for a second for what is being sent."""
        self._stop.set()
        with suppress(queue.Empty):
            self._ready.get_nowait()
        self._ready.put(None)
        ends = time.monotonic() + CLOSING_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, ends - time.monotonic()))
        self._deliver.close()

    def _run(self) -> None:
        while not self._stop.is_set() and (request := self._ready.get()) is not None:
            try:
                request.failures = self._deliver(request, self._stop)
            except Exception as error:  # whatever it is, the load has to hear of it
                request.failures = [Failure(request.line, type(error).__name__, str(error), False)]
            request.answered = True
            self._ready.task_done()
        with suppress(queue.Full):
            self._ready.put_nowait(None)  # for the next one to end
