"""Deletions as objects of the control plane: what is deleted, and whether it has been done.

A deletion is kept for ever: it holds for events that come again later, from Kafka or from a backup. It covers the events that
were received or processed up to its instant, so an event that is put out a second time is covered as it was the first time,
and one that is sent after the deletion was answered is not.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from headwater.control.seal import Seal, SealError

DELETION = "deletion"


@dataclass(frozen=True, slots=True)
class Deletion:
    """What is deleted of a collection: a property, else the events that pass `filters` (Keen's, all of them) in `timeframe`
    ({"start", "end"}); all events where neither is given."""

    id: str
    project_id: str
    collection: str
    deleted_at: int  # milliseconds since 1970 UTC: events received or processed up to here are covered
    property_name: str | None = None
    filters: tuple[Mapping[str, Any], ...] = field(default=(), repr=False, hash=False)
    timeframe: Mapping[str, str] | None = field(default=None, hash=False)
    asked: int = 1  # how often it was asked to be done: anew when covered events came in while it was
    done_at: int | None = None

    @property
    def whole(self) -> bool:
        """Whether all events are deleted."""
        return self.property_name is None and not self.filters and self.timeframe is None

    @property
    def what(self) -> str:
        """What is deleted: `property`, `collection` or `events`."""
        return "property" if self.property_name is not None else "collection" if self.whole else "events"

    @property
    def times_done(self) -> int:
        """How often it has been done, as far as is known; never goes down."""
        return self.asked - (self.done_at is None)


def deletion_body(deletion: Deletion, seal: Seal) -> dict[str, Any]:
    """The body of a deletion's record. What it looks for is sealed: it often names a person who asked to be forgotten."""
    wanted = {
        "property_name": deletion.property_name,
        "filters": [dict(one) for one in deletion.filters],
        "timeframe": None if deletion.timeframe is None else dict(deletion.timeframe),
    }
    return {
        "project_id": deletion.project_id,
        "collection": deletion.collection,
        "deleted_at": deletion.deleted_at,
        "asked": deletion.asked,
        "done_at": deletion.done_at,
        "sealed": seal.close(orjson.dumps(wanted).decode(), _context(deletion.id, deletion.project_id)),
    }


def deletion_of(record: Mapping[str, Any], seal: Seal) -> Deletion:
    """The deletion that a record describes. Raises ValueError, KeyError or TypeError where it is none that can be read."""
    body = orjson.loads(record["body"])
    try:
        wanted = orjson.loads(seal.open(body["sealed"], _context(record["id"], body["project_id"])))
    except SealError as error:
        raise ValueError(f"deletion {record['id']} cannot be decrypted") from error
    return Deletion(
        id=record["id"],
        project_id=body["project_id"],
        collection=body["collection"],
        deleted_at=body["deleted_at"],
        property_name=wanted["property_name"],
        filters=tuple(wanted["filters"]),
        timeframe=wanted["timeframe"],
        asked=body["asked"],
        done_at=body["done_at"],
    )


class Deletions:
    """All deletions, in the order of their instants. Written by one thread, read by any."""

    def __init__(self) -> None:
        self._by_id: dict[str, Deletion] = {}
        self._by_collection: dict[tuple[str, str], tuple[Deletion, ...]] = {}
        self._times_done: dict[tuple[str, str], int] = {}

    def put(self, deletion: Deletion) -> None:
        """Take in a deletion in its newest version."""
        self._by_id[deletion.id] = deletion
        key = deletion.project_id, deletion.collection
        others = [one for one in self._by_collection.get(key, ()) if one.id != deletion.id]
        self._by_collection[key] = tuple(sorted([*others, deletion], key=lambda one: (one.deleted_at, one.id)))
        self._times_done[key] = sum(one.times_done for one in self._by_collection[key])

    def get(self, deletion_id: str) -> Deletion | None:
        """A deletion by its id."""
        return self._by_id.get(deletion_id)

    def of(self, project_id: str, collection: str) -> tuple[Deletion, ...]:
        """The deletions of a collection."""
        return self._by_collection.get((project_id, collection), ())

    def times_done(self, project_id: str, collections: Iterable[str]) -> int:
        """How often deletions have been done in collections: what was read of them when it was less may hold what is deleted.

        It follows from the records alone and never goes down, so it is the same in every process that has read as far.
        """
        return sum(self._times_done.get((project_id, name), 0) for name in collections)

    @property
    def times_done_in_all(self) -> int:
        """How often deletions have been done, in all collections of all projects."""
        return sum(list(self._times_done.values()))

    def of_project(self, project_id: str) -> list[Deletion]:
        """All deletions of a project."""
        found = [one for one in list(self._by_id.values()) if one.project_id == project_id]
        return sorted(found, key=lambda one: (one.deleted_at, one.id))

    def pending(self) -> list[Deletion]:
        """The deletions that are not known to be done."""
        found = [one for one in list(self._by_id.values()) if one.done_at is None]
        return sorted(found, key=lambda one: (one.deleted_at, one.id))


def _context(deletion_id: str, project_id: str) -> str:
    """What the sealed part is bound to."""
    return f"{DELETION}:{deletion_id}:{project_id}"
