"""Events on disk from `add` to their answer: what the process did not get rid of, the next one sends.

A spool is a folder of files that are only appended to: events as they are added, and which of them were answered. A file is
deleted when all events in it, and in those before it, are answered. Opening a spool reads all files; what a process
that was killed, or a machine that lost its power, left half-written at a file's end is cut. The kernel has every event before
`add` returns, so that the end of the process loses none; it is on the disk a second later.
"""

import fcntl
import logging
import os
import weakref
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import orjson

from headwater.client.errors import ConnectError
from headwater.client.event import Event
from headwater.client.queue import Batch
from headwater.client.spool_file import (
    ANSWER,
    EVENT,
    MODE,
    SUFFIX,
    Record,
    SpoolFile,
    answer_record,
    event_record,
    read_record,
    records,
)
from headwater.client.spool_sync import Syncer

FILE_BYTES = 8_000_000
FILES = 16  # at least so many make a full spool, so that room comes back in steps

log = logging.getLogger("headwater.client")


class Spool:
    """A queue in a folder, of so many bytes, for one project; one process at a time."""

    durable = True

    def __init__(self, folder: Path, project_id: str, bound: int) -> None:
        """Open the folder, or make it, and read what is left in it. Raises ConnectError where another client has it, or where it has
        events of another project; OSError."""
        self._folder = folder
        self._bound = bound
        self._file_bytes = min(FILE_BYTES, max(1, bound // FILES))
        folder.mkdir(parents=True, exist_ok=True)
        self._lock: int | None = _locked(folder, project_id)
        _open.add(self)
        self._syncer = Syncer(folder)
        self._files: deque[SpoolFile] = deque()
        self._active: SpoolFile | None = None
        self._reading: tuple[SpoolFile, BinaryIO] | None = None
        self._ahead: Record | None = None  # read and not taken: it was too much for a batch
        self._taken: dict[int, list[SpoolFile]] = {}  # where the events of a batch are, by its first number
        self._bytes = 0
        self._next_file = 0
        self.next = 0
        self.end = 0
        self.waiting = 0
        try:
            self._read_all()
        except BaseException:
            self.forget()
            raise

    @property
    def limit(self) -> str:
        """As Queue.limit."""
        return f"the spool {self._folder} of {self._bound:,} bytes"

    def put(self, event: Event) -> bool:
        """As Queue.put. Raises OSError where it cannot be written; then it is not added."""
        record = event_record(self.end, event)
        if len(record) > self._bound:
            raise ValueError(
                f"collection {event.collection!r}: the event needs {len(record):,} bytes, more than {self.limit}"
            )
        if self._bytes + len(record) > self._bound:
            if self.waiting or self._taken:
                return False
            self._clear()
        file = self._append(record)
        file.unread += 1
        file.left += 1
        self.end += 1
        self.waiting += 1
        return True

    def take(self, events: int, size: int) -> Batch:
        """As Queue.take; empty where what was waiting cannot be read any more, which is logged."""
        taken: list[Event] = []
        places: list[SpoolFile] = []
        first = last = self.next
        while self.waiting and len(taken) < events:
            found = self._read()
            if found is None:
                continue
            file, record = found
            event = record.event
            size -= len(event.payload)
            if taken and size < 0:
                self._ahead = record
                break
            if not taken:
                first = record.number
            last = record.number
            taken.append(event)
            places.append(file)
            file.unread -= 1
            self.waiting -= 1
        self.next = last + 1 if self.waiting else self.end
        if taken:
            self._taken[first] = places
        return Batch(taken, first, last)

    def answered(self, batch: Batch) -> None:
        """As Queue.answered. Where this cannot be written, it is logged: after a crash the events are sent again, as the same events."""
        for file in self._taken.pop(batch.first):
            file.left -= 1
        try:
            self._append(answer_record(batch.first, batch.last))
        except OSError:
            log.exception("the spool %s cannot be written", self._folder)
        self._drop_answered()

    def close(self) -> None:
        """Leave what is not answered for the next client, nothing where all is, and let others open it."""
        if self._lock is None:
            return
        if not self.waiting and not self._taken:
            self._clear()
        self._syncer.close()
        if self._active is not None and self._active.descriptor is not None:
            os.close(self._active.descriptor)
        self._stop_reading()
        self.forget()

    def forget(self) -> None:
        """Let go of the lock. In a forked child it stays the parent's."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _read_all(self) -> None:
        """Take in what earlier clients left."""
        answers: list[tuple[int, int]] = []
        spans: list[tuple[SpoolFile, int, int]] = []
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            self._next_file = int(path.stem) + 1
            file = SpoolFile(path)
            end = 0
            for record in records(path):
                file.size += record.size
                if record.kind == EVENT:
                    file.unread += 1
                    end = record.number + 1
                    self.end = max(self.end, end)
                else:
                    answers.append((record.number, record.last))
                    self.end = max(self.end, record.last + 1)
            cut = path.stat().st_size - file.size
            if cut:
                log.warning("%s: the last %d bytes are no whole record and are cut off", path, cut)
                os.truncate(path, file.size)
            spans.append((file, end - file.unread, end))
            self._files.append(file)
            self._bytes += file.size
        self._answered = _Ranges(answers)
        for file, begin, end in spans:
            file.unread -= self._answered.within(begin, end)
            file.left = file.unread
            self.waiting += file.left
        self.next = self.end if not self.waiting else next(begin for file, begin, _ in spans if file.left)
        self._drop_answered()

    def _append(self, record: bytes) -> SpoolFile:
        active = self._active
        if active is None or active.torn or (active.size and active.size + len(record) > self._file_bytes):
            created = SpoolFile.create(self._folder, self._next_file)
            self._next_file += 1
            self._retire()
            active = self._active = created
            self._files.append(active)
            self._drop_answered()
        assert active.descriptor is not None
        active.append(record)
        self._bytes += len(record)
        self._syncer.written(active.descriptor)
        return active

    def _read(self) -> tuple[SpoolFile, Record] | None:
        """The next event that is not answered, and where it is; None where a file turns out to be damaged."""
        file = next(file for file in self._files if file.unread)
        record, self._ahead = self._ahead, None
        try:
            if self._reading is None or self._reading[0] is not file:
                self._stop_reading()
                self._reading = file, file.path.open("rb")
            while record is None or record.kind == ANSWER or self._answered.has(record.number):
                record = read_record(self._reading[1])
                if record is None:
                    break
        except OSError:
            log.exception("%s cannot be read", file.path)
            record = None
        if record is not None:
            return file, record
        log.error("%s is damaged: %d events in it are lost", file.path, file.unread)
        self.waiting -= file.unread
        file.left -= file.unread
        file.unread = 0
        self._drop_answered()
        return None

    def _drop_answered(self) -> None:
        """Delete the files that are not needed, from the oldest: an answer stands behind its event, and goes after it."""
        while self._files and not self._files[0].left and self._files[0] is not self._active:
            self._delete(self._files.popleft())

    def _clear(self) -> None:
        """Delete all files; every event is answered."""
        self._retire()
        self._drop_answered()

    def _retire(self) -> None:
        if self._active is not None and self._active.descriptor is not None:
            self._syncer.retire(self._active.descriptor)
        self._active = None

    def _delete(self, file: SpoolFile) -> None:
        if self._reading is not None and self._reading[0] is file:
            self._stop_reading()
        self._bytes -= file.size
        with suppress(FileNotFoundError):
            file.path.unlink()

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading[1].close()
            self._reading = None


class _Ranges:
    """Numbers as ranges, asked for in ascending order."""

    def __init__(self, pairs: Iterable[tuple[int, int]]) -> None:
        self._pairs: list[tuple[int, int]] = []
        for first, last in sorted(pairs):
            if self._pairs and first <= self._pairs[-1][1] + 1:
                self._pairs[-1] = self._pairs[-1][0], max(last, self._pairs[-1][1])
            else:
                self._pairs.append((first, last))
        self._at = 0

    def within(self, begin: int, end: int) -> int:
        """How many numbers from `begin` up to `end`, which is not one of them, are in the ranges."""
        return sum(max(0, min(last + 1, end) - max(first, begin)) for first, last in self._pairs)

    def has(self, number: int) -> bool:
        """Whether a number is in the ranges; of what was asked before it none is greater."""
        while self._at < len(self._pairs) and self._pairs[self._at][1] < number:
            self._at += 1
        return self._at < len(self._pairs) and self._pairs[self._at][0] <= number


_open: weakref.WeakSet[Spool] = weakref.WeakSet()


def _forget_all() -> None:
    for spool in list(_open):
        spool.forget()


os.register_at_fork(after_in_child=_forget_all)  # else a child would hold its parent's lock beyond its death


def _locked(folder: Path, project_id: str) -> int:
    """The descriptor of the folder's lock file, held for this process and project. Raises ConnectError."""
    descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, MODE)
    try:
        about = _about(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConnectError(
                f"The spool {folder} is in use by process {about.get('process')}: give each process a spool of its own "
                "(one that was forked by connect(spool=...) after the fork), or close the client that has it."
            ) from None
        about = _about(descriptor)
        if about.get("project", project_id) != project_id and any(folder.glob(f"*{SUFFIX}")):
            raise ConnectError(
                f"The spool {folder} has events of project {about['project']}, not {project_id}: give it to a client of "
                "that project first, or use another folder."
            )
        text = orjson.dumps({"process": os.getpid(), "project": project_id})
        os.pwrite(descriptor, text, 0)
        os.ftruncate(descriptor, len(text))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _about(descriptor: int) -> dict[str, object]:
    try:
        about = orjson.loads(os.pread(descriptor, 1_000, 0))
    except ValueError:
        return {}
    return about if isinstance(about, dict) else {}
