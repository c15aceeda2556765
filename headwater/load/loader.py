"""Sends a file's rows and keeps count: every line ends accepted or rejected, and a second attempt doubles nothing."""

import re
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

from headwater.client.event import Event, make_event
from headwater.client.writer import BATCH_BYTES, EVENT_BYTES, too_large
from headwater.fields import as_id, as_time, member
from headwater.load.checkpoint import Checkpoint
from headwater.load.mapping import Columns
from headwater.load.row import Row
from headwater.load.rows import Lines
from headwater.load.sending import Request
from headwater.load.source import FormatError

CHECKPOINT_LINES = 5_000  # between two checkpoints; they follow the answers, and nothing waits for them
KEY_BYTES = 38  # of a line's key, the tab behind it and the line's end


def check_form(timestamp_format: str | None, timestamp_field: str | None) -> None:
    """Raises FormatError for a form of times, as `datetime.strptime` has it, that no time can have."""
    if timestamp_format is None:
        return
    if timestamp_field is None:
        raise FormatError("--timestamp-format is the form of --timestamp-field, which is missing")
    sample = datetime(2026, 1, 31, 12, tzinfo=UTC)
    try:
        read = datetime.strptime(sample.strftime(timestamp_format), timestamp_format)
    except (ValueError, re.error) as error:
        raise FormatError(f"--timestamp-format {timestamp_format!r} is none of strptime's: {error}") from None
    if read.year != sample.year:
        raise FormatError(f"--timestamp-format {timestamp_format!r} has no year")


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

    The id of an event is the value of `id_field`, else what its `keen` object says, else its row's key; its time the value of
    `timestamp_field` (in the form `timestamp_format`, as `datetime.strptime` has it, where that is given), else what its `keen` object says, else the
    checkpoint's start. These fields are named as in the file; the event has them as `columns` says, and what `partition` says of all.
    """

    def __init__(
        self,
        collection: str,
        checkpoint: Checkpoint,
        checkpoint_file: Path,
        *,
        timestamp_field: str | None = None,
        timestamp_format: str | None = None,
        id_field: str | None = None,
        columns: Columns,
        partition: Mapping[str, Any] | None = None,
        on_rejected: Callable[[int, str], None],
        on_progress: Callable[[], None],
    ) -> None:
        self._collection = collection
        self._checkpoint = checkpoint
        self._file = checkpoint_file
        self._timestamp_field = timestamp_field
        self._timestamp_format = timestamp_format
        self._partition = partition or {}
        self._id_field = id_field
        self._columns = columns
        self._on_rejected = on_rejected
        self._on_progress = on_progress
        self._sent: deque[Request] = deque()  # not all of them answered
        self._saved = checkpoint.lines

    def run(self, sender: Sender, blocks: Iterable[Iterable[Row]]) -> None:
        """Send every row behind the checkpoint. Blocks; raises LoadError. May be interrupted: the checkpoint stays true."""
        self._checkpoint.save(self._file)  # its time, before any event has it
        for block in blocks:
            for request in self._requests(block):
                self._sent.append(request)
                if not request.empty:
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
        if (
            isinstance(block, Lines)
            and not self._columns.changed
            and not self._timestamp_format
            and not self._partition
            and max(map(len, block.texts), default=0) <= EVENT_BYTES
        ):
            yield from self._line_requests(block)
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

    def _line_requests(self, lines: Lines) -> Iterator[Request]:
        """The requests of lines that are sent as they stand there: whether they are events is for the collector to say."""
        begin, last = max(0, self._checkpoint.lines + 1 - lines.first), len(lines.texts)
        ends = [*accumulate([len(text) + KEY_BYTES for text in lines.texts])]  # in bytes
        while begin < last:
            before = ends[begin - 1] if begin else 0
            end = min(bisect_left(ends, before + BATCH_BYTES) + 1, last)
            some = lines.between(begin, end)
            if rows := len(some.numbers):
                yield Request(line=lines.first + end - 1, rows=rows, lines=some)
            begin = end

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
        return len(event.payload)

    def _settle(self, sender: Sender, lines: int) -> None:
        """Move the checkpoint over what is answered without a gap, and save it when that is so many lines on. Raises LoadError."""
        checkpoint = self._checkpoint
        while self._sent and (self._sent[0].answered or self._sent[0].empty):
            request = self._sent.popleft()
            for failure in request.failures:
                if not failure.refused:
                    raise LoadError(f"{failure.name}: {failure.description}")
                self._on_rejected(failure.line, f"{failure.name}: {failure.description}")
            rejected = request.rejected + len(request.failures)
            checkpoint.lines = request.line
            checkpoint.rejected += rejected
            checkpoint.accepted += request.rows - rejected
        if checkpoint.lines >= self._saved + lines:
            checkpoint.save(self._file)
            self._saved = checkpoint.lines

    def _event(self, row: Row) -> Event | str:
        """The event of a row that is read, or why it is none."""
        _, key, properties, problem = row
        if properties is None:
            return problem
        try:
            if self._partition:
                properties = {**self._partition, **properties}
            event_id = timestamp = None
            if self._id_field is not None:
                event_id = as_id(member(properties, self._id_field), self._id_field)
            if self._timestamp_field is not None:
                timestamp = self._time(member(properties, self._timestamp_field), self._timestamp_field)
            mapped = self._columns.mapped(properties)
            keen = mapped.get("keen")
            own = keen if isinstance(keen, dict) else {}
            event_id = event_id or _own_id(own) or key
            if timestamp is None:
                timestamp = self._checkpoint.started_at if own.get("timestamp") is None else own["timestamp"]
            event = make_event(self._collection, mapped, timestamp, event_id)
            if len(event.payload) > EVENT_BYTES:
                raise too_large(event)
        except ValueError as error:
            return str(error)
        return event

    def _time(self, value: object, field: str) -> str:
        """A field's value as ISO 8601 text. Raises ValueError."""
        if self._timestamp_format is None:
            return as_time(value, field)
        try:
            return datetime.strptime(str(value).strip(), self._timestamp_format).isoformat()
        except ValueError:
            raise ValueError(
                f"the field {field!r:.80} is {value!r:.80}: that is no time of the form {self._timestamp_format!r}"
            ) from None


def _own_id(keen: Mapping[str, Any]) -> str | None:
    """The id that an event's `keen` says. Raises ValueError where that is none, as the collector refuses it."""
    for name in ("uniqueness_token", "id"):
        given = keen.get(name)
        if given is not None:
            if not isinstance(given, str) or not given:
                raise ValueError(f"keen.{name} is {given!r:.80}: an id is text")
            return given
    return None
