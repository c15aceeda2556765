"""Sends a file's rows and keeps count: every line ends accepted or rejected, and a second attempt doubles nothing."""

import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headwater.client.client import Client
from headwater.client.errors import FailedEvent
from headwater.load.checkpoint import Checkpoint
from headwater.load.mapping import Columns
from headwater.load.rows import Row

WINDOW = 20_000  # lines between two checkpoints; each waits for every answer
SECONDS_UNTIL = (
    100_000_000_000  # a number for a time is in seconds below this (until the year 5138), else in milliseconds
)


class LoadError(Exception):
    """The load cannot go on: the server refuses it altogether or is not there."""


class Loader:
    """Loads rows into a collection. Make the client with `on_error=loader.failed`.

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
        self._lock = threading.Lock()
        self._lines: dict[str, int] = {}  # ids of this window and the lines they came from
        self._sent = 0
        self._rejected = 0
        self._fatal: FailedEvent | None = None

    def run(self, client: Client, rows: Iterable[Row]) -> None:
        """Send every row behind the checkpoint. Blocks; raises LoadError. May be interrupted: the checkpoint stays true."""
        line = done = self._checkpoint.lines
        unsettled = 0
        self._checkpoint.save(self._file)  # its time, before any event has it
        for row in rows:
            if row.line <= done:
                continue
            line = row.line
            self._send(client, row)
            unsettled += 1
            if unsettled == WINDOW or self._fatal:
                self._settle(client, line)
                unsettled = 0
            if unsettled % 1_000 == 0:
                self._on_progress()
        self._settle(client, line)
        self._checkpoint.finished = True
        self._checkpoint.save(self._file)

    def failed(self, failure: FailedEvent) -> None:
        """Take the report of an event that was not accepted. Called from the client's threads."""
        if not failure.refused:
            self._fatal = self._fatal or failure
            return
        with self._lock:
            self._sent -= 1
        self._reject(self._lines[failure.id], f"{failure.name}: {failure.description}")

    def _send(self, client: Client, row: Row) -> None:
        if row.properties is None:
            self._reject(row.line, row.problem)
            return
        try:
            event_id = self._id(row)
            self._lines[event_id] = row.line
            properties = self._columns.mapped(row.properties)
            client.add_event(self._collection, properties, self._timestamp(row.properties), event_id)
        except ValueError as error:
            self._reject(row.line, str(error))
            return
        with self._lock:
            self._sent += 1

    def _settle(self, client: Client, line: int) -> None:
        """Wait for the answers, and note that every line so far has one."""
        client.flush()
        if self._fatal:
            raise LoadError(f"{self._fatal.name}: {self._fatal.description}")
        self._lines.clear()
        self._checkpoint.lines = line
        self._checkpoint.accepted += self._sent
        self._checkpoint.rejected += self._rejected
        self._sent = self._rejected = 0
        self._checkpoint.save(self._file)
        self._on_progress()

    def _reject(self, line: int, problem: str) -> None:
        with self._lock:
            self._rejected += 1
        self._on_rejected(line, problem)

    def _id(self, row: Row) -> str:
        if self._id_field is None or row.properties is None:
            return row.key
        value = row.properties.get(self._id_field)
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            raise ValueError(f"the field {self._id_field!r} is {value!r}: an id is text or a whole number")
        return str(value)

    def _timestamp(self, properties: Any) -> str:
        if self._timestamp_field is None:
            keen = properties.get("keen")
            given = keen.get("timestamp") if isinstance(keen, dict) else None
            return given or self._checkpoint.started_at
        return as_time(properties.get(self._timestamp_field), self._timestamp_field)


def as_time(value: object, field: str) -> str:
    """A field's value as ISO 8601 text: text as it is, a number as seconds or milliseconds since 1970. Raises ValueError."""
    if isinstance(value, str) and value:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"the field {field!r} is {value!r}: a time is ISO 8601 text or a number since 1970")
    seconds = value if abs(value) < SECONDS_UNTIL else value / 1000
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"the field {field!r} is {value!r}: that is no time") from None
