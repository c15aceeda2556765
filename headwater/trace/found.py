"""What was found of an event, and what that says of where it is. Pure.

Times are milliseconds since 1970 UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from headwater.control import Deletion
from headwater.scanning import Searched
from headwater.segment_users import IDENTIFY

Verdict = Literal["visible", "deleted", "dropped", "dead", "no_event", "waiting", "missing", "nowhere", "unknown"]
UNEXPLAINED: frozenset[Verdict] = frozenset({"missing", "nowhere", "unknown"})


class Place(NamedTuple):
    """Where a record stands in Kafka."""

    topic: str
    partition: int
    offset: int


class Raw(NamedTuple):
    """A record of the raw topic, or of the one for history."""

    topic: str
    partition: int
    offset: int
    written_at: int
    id: str
    project_id: str
    collection: str
    timestamp: int
    received_at: int
    id_given: bool
    time_given: bool
    properties: str  # JSON
    copy_of: Place | None = None  # where it stood first, where it is a record that was written again


class Put(NamedTuple):
    """A record of a collection's topic."""

    topic: str
    partition: int
    offset: int
    written_at: int
    collection: str
    timestamp: int
    received_at: int
    processed_at: int
    properties: str  # JSON
    copy_of: Place | None = None


class Stored(NamedTuple):
    """A row of a collection's table: how many copies of it are stored, the newest of which is what answers read."""

    collection: str
    timestamp: int
    received_at: int
    processed_at: int
    copies: int
    visible: bool


class Waiting(NamedTuple):
    """A record of a topic that a producer writes, which no collector has taken in yet."""

    topic: str
    partition: int
    offset: int
    before: int  # records before it


@dataclass
class Found:
    """All that is known of one event. What could not be asked has its reason in `failed`, by the place's name."""

    project_id: str
    id: str
    waiting: list[Waiting] = field(default_factory=list)
    raw: list[Raw] = field(default_factory=list)
    watermarks: dict[tuple[str, int], int] = field(
        default_factory=dict
    )  # by topic and partition: the last one processed
    put: list[Put] = field(default_factory=list)
    committed: dict[tuple[str, int], int] = field(
        default_factory=dict
    )  # by topic and partition: the first one not stored
    letters: list[Mapping[str, Any]] = field(
        default_factory=list
    )  # as schemas/dead_letter has them, without their records
    outcomes: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # of those that are settled, by their ids
    rows: list[Stored] = field(default_factory=list)
    deletions: list[Deletion] = field(default_factory=list)  # those that cover it
    seen_at: int | None = None  # the chunk of the window of ids that has it began then
    window: str | None = None  # the project's setting of that window
    searched: list[Searched] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def processed(self, raw: Raw) -> bool:
        """Whether the partition's watermark is past a raw record."""
        return self.watermarks.get((raw.topic, raw.partition), -1) >= raw.offset

    def before(self, raw: Raw) -> int:
        """How many records are to be processed before a raw record is."""
        return max(0, raw.offset - 1 - self.watermarks.get((raw.topic, raw.partition), -1))

    def stored(self, put: Put) -> bool:
        """Whether the sinks have committed a record of the collection's topic."""
        return self.committed.get((put.topic, put.partition), 0) > put.offset

    def ahead(self, put: Put) -> int:
        """How many records of its partition are to be stored before it."""
        return max(0, put.offset - self.committed.get((put.topic, put.partition), 0))

    def letters_of(self, record: Raw | Put) -> list[Mapping[str, Any]]:
        """The dead letters of a record: they name the place where it stood first."""
        place = record.copy_of or Place(record.topic, record.partition, record.offset)
        return [one for one in self.letters if (one["topic"], one["partition"], one["offset"]) == place]

    def repetitions(self) -> dict[Raw, Raw | None]:
        """Raw records that were dropped by the window of ids, with the one that each repeats; None where that one is not kept any more.

        A record that was put out has its times in the collection's topic, or in the table; of records that have even those in
        common, as many as were put out were, the first ones.
        """
        times = [(one.collection, one.timestamp, one.received_at) for one in self.put]
        kept = {(one.collection, one.timestamp, one.received_at) for one in self.rows} - set(times)
        dropped: dict[Raw, Raw | None] = {}
        origin: Raw | None = None
        for one in sorted(self.raw, key=lambda raw: (raw.partition, raw.written_at, raw.offset)):
            time = one.collection, one.timestamp, one.received_at
            if not self.processed(one) or self.letters_of(one) or one.collection == IDENTIFY:
                continue
            if time in times:
                times.remove(time)
                origin = one
            elif time in kept:
                origin = one
            elif one.id_given and (origin is not None or self.seen_at is not None or self.rows or self.put):
                dropped[one] = origin
        return dropped


def verdict(found: Found) -> Verdict:
    """Where the event is: the furthest that it has come, or why it came no further."""
    if any(row.visible for row in found.rows):
        return "visible"
    if found.put:
        return _of_put(found)
    if any(not found.processed(raw) for raw in found.raw) or found.waiting:
        return "unknown" if "state" in found.failed and not found.waiting else "waiting"
    if found.letters:
        return "dead"
    if found.raw:
        return _of_processed(found)
    if found.seen_at is not None:
        return "deleted" if found.deletions else "missing" if not found.failed else "unknown"
    return "unknown" if found.failed else "nowhere"


def _of_put(found: Found) -> Verdict:
    """Where an event is that a processor has put out and no answer shows."""
    lettered = [bool(found.letters_of(put)) for put in found.put]
    stored = [found.stored(put) for put in found.put]
    if any(not there and not dead for there, dead in zip(stored, lettered, strict=True)):
        return "unknown" if "committed" in found.failed else "waiting"
    if found.deletions:
        return "deleted"
    if any(lettered):
        return "dead"
    return "unknown" if {"table", "deletions"} & found.failed.keys() else "missing"


def _of_processed(found: Found) -> Verdict:
    """Where an event is that was processed and of which nothing was put out, as far as topics go back."""
    if all(raw.collection == IDENTIFY for raw in found.raw):
        return "no_event"
    if found.deletions:
        return "deleted"
    dropped = found.repetitions()
    if dropped and all(raw in dropped for raw in found.raw):
        return "dropped"
    return "unknown" if found.failed else "missing"
