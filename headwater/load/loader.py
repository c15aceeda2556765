"""Sends a file's rows and keeps count: every line ends accepted or rejected, and a second attempt doubles nothing."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from headwater.client.event import Event, make_event
from headwater.client.writer import BATCH_BYTES, EVENT_BYTES, too_large
from headwater.load.checkpoint import Checkpoint
from headwater.load.mapping import Columns
from headwater.load.quick import Quick, quick
from headwater.load.rows import Lines, Row, read_line
from headwater.load.sending import Request

CHECKPOINT_LINES = 5_000  # between two checkpoints; they follow the answers, and nothing waits for them
SECONDS_UNTIL = (
    100_000_000_000  # a number for a time is in seconds below this (until the year 5138), else in milliseconds
)
BROKEN = ("InvalidEventError", "InvalidPropertyValueError")  # what a body that is no JSON is called


class LoadError(Exception):
    """The load cannot go on: the server refuses it altogether or is not there."""


class Sender(Protocol):
    """Sends requests, several at once; what Senders does."""

    def put(self, request: Request) -> None:
        """Have it sent. Blocks while there is no room."""
        ...

    def flush(self) -> None:
        """Block until every request is answered."""
        ...


class Loader:
    """Loads rows into a collection.

    The id of an event is the value of `id_field`, else its row's key; its time the value of
    `timestamp_field`, else what its `keen` object says, else the checkpoint's start. These fields are named as in the file;
    the event has them as `columns` says.
    """

    def __init__(
        self,
        collection: str,
        checkpoint: Checkpoint,
        checkpoint_file: Path,
        *,
        timestamp_field: str | None = None,
        id_field: str | None = None,
        columns: Columns,
        on_rejected: Callable[[int, str], None],
        on_progress: Callable[[], None],
    ) -> None:
        self._collection = collection
        self._checkpoint = checkpoint
        self._file = checkpoint_file
        self._timestamp_field = timestamp_field
        self._id_field = id_field
        self._columns = columns
        self._on_rejected = on_rejected
        self._on_progress = on_progress
        self._quick = (
            None if columns.changed else quick(collection, checkpoint.started_at, as_time, timestamp_field, id_field)
        )
        self._sent: deque[Request] = deque()  # not all of them answered
        self._saved = checkpoint.lines

    def run(self, sender: Sender, blocks: Iterable[Iterable[Row]]) -> None:
        """Send every row behind the checkpoint. Blocks; raises LoadError. May be interrupted: the checkpoint stays true."""
        self._checkpoint.save(self._file)  # its time, before any event has it
        for block in blocks:
            for request in self._requests(block):
                self._sent.append(request)
                if request.events:
                    sender.put(request)
                self._settle(sender, CHECKPOINT_LINES)
            self._on_progress()
        while self._sent:
            sender.flush()
            self._settle(sender, 0)
        self._checkpoint.finished = True
        self._checkpoint.save(self._file)
        self._on_progress()

    def _requests(self, block: Iterable[Row]) -> Iterator[Request]:
        """The requests of a block: each as large as one may be."""
        if self._quick is not None and isinstance(block, Lines):
            yield from self._quick_requests(block, self._quick)
            return
        request, room = Request(), BATCH_BYTES
        for row in block:
            if row.line <= self._checkpoint.lines:
                continue
            room -= self._add(request, row)
            if room <= 0:
                yield request
                request, room = Request(), BATCH_BYTES
        if request.rows:
            yield request

    def _quick_requests(self, lines: Lines, make: Quick) -> Iterator[Request]:
        """The requests of lines, each read only where that has to be."""
        first, texts = lines.first, lines.texts
        request, room = Request(), BATCH_BYTES
        at = max(0, self._checkpoint.lines + 1 - first)
        while at < len(texts):
            begun = at
            at, room = make(lines, at, request.events, room)
            if at > begun:
                request.numbers += range(first + begun, first + at)
                request.texts += texts[begun:at]
                request.rows += at - begun
                request.line = first + at - 1
            if room > 0 and at < len(texts):
                if (row := read_line(first + at, lines.keys[at], texts[at])) is not None:
                    room -= self._add(request, row)
                at += 1
            if room <= 0:
                yield request
                request, room = Request(), BATCH_BYTES
        if request.rows:
            yield request

    def _add(self, request: Request, row: Row) -> int:
        """Add the event of a row to a request, or what is wrong with it; returns how many bytes it takes."""
        event = self._event(row)
        request.line = row.line
        request.rows += 1
        if isinstance(event, str):
            request.rejected += 1
            self._on_rejected(row.line, event)
            return 0
        request.events.append(event)
        request.numbers.append(row.line)
        request.texts.append(None)
        return len(event.payload)

    def _settle(self, sender: Sender, lines: int) -> None:
        """Move the checkpoint over what is answered without a gap, and save it when that is so many lines on. Raises LoadError."""
        checkpoint = self._checkpoint
        while self._sent and (self._sent[0].answered or not self._sent[0].events):
            request = self._sent[0]
            first = next(iter(request.failures), None)
            if first is not None and not first.refused and first.name in BROKEN and any(request.texts):
                self._sent[0] = request = self._read(request)
                if request.events:
                    sender.put(request)
                    continue
            self._sent.popleft()
            lines_of: dict[str, int] | None = None
            for failure in request.failures:
                if not failure.refused:
                    raise LoadError(f"{failure.name}: {failure.description}")
                lines_of = lines_of or dict(zip((event.id for event in request.events), request.numbers, strict=True))
                self._on_rejected(lines_of[failure.id], f"{failure.name}: {failure.description}")
            rejected = request.rejected + len(request.failures)
            checkpoint.lines = request.line
            checkpoint.rejected += rejected
            checkpoint.accepted += request.rows - rejected
        if checkpoint.lines >= self._saved + lines:
            checkpoint.save(self._file)
            self._saved = checkpoint.lines

    def _read(self, request: Request) -> Request:
        """The request that was refused as a whole, its lines read in full: one that is no event is not among them."""
        again = Request(request.line, request.rows, request.rejected)
        for event, number, text in zip(request.events, request.numbers, request.texts, strict=True):
            row = None if text is None else read_line(number, event.id, text)
            made = event if row is None else self._event(row)
            if isinstance(made, str):
                again.rejected += 1
                self._on_rejected(number, made)
            else:
                again.events.append(made)
                again.numbers.append(number)
                again.texts.append(None)
        return again

    def _event(self, row: Row) -> Event | str:
        """The event of a row that is read, or why it is none."""
        _, key, properties, problem = row
        if properties is None:
            return problem
        try:
            event_id = key if self._id_field is None else _id(properties.get(self._id_field), self._id_field)
            if self._timestamp_field is None:
                keen = properties.get("keen")
                timestamp = (keen.get("timestamp") if isinstance(keen, dict) else None) or self._checkpoint.started_at
            else:
                timestamp = as_time(properties.get(self._timestamp_field), self._timestamp_field)
            event = make_event(self._collection, self._columns.mapped(properties), timestamp, event_id)
            if len(event.payload) > EVENT_BYTES:
                raise too_large(event)
        except ValueError as error:
            return str(error)
        return event


def _id(value: object, field: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ValueError(f"the field {field!r} is {value!r}: an id is text or a whole number")
    return str(value)


def as_time(value: object, field: str) -> str:
    """A field's value as ISO 8601 text: text as it is, a number as seconds or milliseconds since 1970. Raises ValueError."""
    try:
        if type(value) is int:
            seconds, milliseconds = (value, 0) if -SECONDS_UNTIL < value < SECONDS_UNTIL else divmod(value, 1000)
            minute, second = divmod(seconds, 60)
            return _minute(minute) + _SECONDS[second] + _MILLISECONDS[milliseconds]
        if isinstance(value, str) and value:
            return value
        if type(value) is float:
            return datetime.fromtimestamp(value if abs(value) < SECONDS_UNTIL else value / 1000, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"the field {field!r} is {value!r}: that is no time") from None
    raise ValueError(f"the field {field!r} is {value!r}: a time is ISO 8601 text or a number since 1970")


# The parts of a time's text. To make one anew from numbers costs more than all else that a line takes.
_SECONDS = tuple(f"{second:02}" for second in range(60))
_MILLISECONDS = tuple(f".{part:03}000+00:00" if part else "+00:00" for part in range(1000))


@lru_cache(maxsize=4096)
def _minute(minutes: int) -> str:
    """How the times of a minute begin, given its number since 1970."""
    return datetime.fromtimestamp(minutes * 60, UTC).isoformat()[:17]
