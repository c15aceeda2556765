"""One file of a spool: records behind one another, each with its length and checksum, so that a torn end is found and cut.

A record is a head (length of the body, CRC-32 of all that follows it, kind, number) and a body. An event's body is its
collection, its id and its payload; an answer's is the number of the last event that it is about, its own the first.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from headwater.client.event import Event

EVENT = 1
ANSWER = 2

_HEAD = struct.Struct("<IIBQ")
_CHECKED = struct.Struct("<BQ")
_LENGTHS = struct.Struct("<II")
_LAST = struct.Struct("<Q")
_CHECKED_AT = _HEAD.size - _CHECKED.size
SUFFIX = ".spool"
MODE = 0o600  # events are nobody else's
BODY_MAX = 32_000_000  # more than any event that a request takes: a longer one is garbage


class Record(NamedTuple):
    """A record as it is read."""

    kind: int
    number: int
    body: bytes

    @property
    def size(self) -> int:
        """Its bytes in the file."""
        return _HEAD.size + len(self.body)

    @property
    def event(self) -> Event:
        """The event of an event's record."""
        collection, identity = _LENGTHS.unpack_from(self.body)
        start = _LENGTHS.size + collection
        return Event(
            self.body[_LENGTHS.size : start].decode(),
            self.body[start : start + identity].decode(),
            self.body[start + identity :],
        )

    @property
    def last(self) -> int:
        """The last number of an answer's record."""
        return int(_LAST.unpack(self.body)[0])


def event_record(number: int, event: Event) -> bytes:
    """The bytes of an event's record."""
    name, event_id, payload = event
    collection, identity = name.encode(), event_id.encode()
    return _record(EVENT, number, _LENGTHS.pack(len(collection), len(identity)) + collection + identity + payload)


def answer_record(first: int, last: int) -> bytes:
    """The bytes of a record that says: the events of these numbers are answered."""
    return _record(ANSWER, first, _LAST.pack(last))


def _record(kind: int, number: int, body: bytes) -> bytes:
    checksum = zlib.crc32(body, zlib.crc32(_CHECKED.pack(kind, number)))
    return _HEAD.pack(len(body), checksum, kind, number) + body


def read_record(file: BinaryIO) -> Record | None:
    """The record where the file stands; None at its end, and where there is no whole one with its checksum."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    length, checksum, kind, number = _HEAD.unpack(head)
    if length > BODY_MAX:
        return None
    body = file.read(length)
    if len(body) < length or zlib.crc32(body, zlib.crc32(head[_CHECKED_AT:])) != checksum:
        return None
    return Record(kind, number, body)


def records(path: Path) -> Iterator[Record]:
    """All whole records of a file, up to the first that is none."""
    with path.open("rb") as file:
        while (record := read_record(file)) is not None:
            yield record


class SpoolFile:
    """A file of records, and what is known of the events in it."""

    def __init__(self, path: Path, size: int = 0) -> None:
        self.path = path
        self.size = size
        self.unread = 0  # events that were not taken yet
        self.left = 0  # events that are not answered
        self.descriptor: int | None = None  # where it is appended to
        self.torn = False  # it may end with half a record: nothing may be appended

    @classmethod
    def create(cls, folder: Path, number: int) -> "SpoolFile":
        """A new file to append to, named by its own number. Raises OSError."""
        own = cls(folder / f"{number:020d}{SUFFIX}")
        own.descriptor = os.open(own.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, MODE)
        return own

    def append(self, record: bytes) -> None:
        """Write a record, whole or not at all: the kernel has it then, and it outlives the process. Raises OSError where the disk
        is full."""
        assert self.descriptor is not None
        try:
            written = os.write(self.descriptor, record)
            while written < len(record):
                written += os.write(self.descriptor, record[written:])
        except OSError:
            self.torn = True
            os.ftruncate(self.descriptor, self.size)
            self.torn = False
            raise
        self.size += written
