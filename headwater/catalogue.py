"""The property catalogue as it is read: which properties the events of a collection have had, of which types, since when.

The processors write it to the state topic beside their aggregates (schemas/catalogue, headwater/aggregates.py), so whoever
follows that topic answers from memory, whatever the number of events.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from headwater.aggregates import parse_key
from headwater.codec import codec

# The bits of schemas/catalogue, by Keen's names of types. Of several the first that occurs is the property's type.
TYPES = (("string", 1), ("num", 2 | 4), ("bool", 8), ("list", 32), ("null", 16 | 64))

Paths = dict[str, list[int]]
"""By path: types, first and last received, number of events, as `PropertySeen` has them; to be added to."""


@dataclass(frozen=True, slots=True)
class PropertySeen:
    """What is known of a property: the types as the sum that the schema describes, when events with it were first and last
    received (milliseconds since 1970 UTC), and how many there were."""

    types: int
    first_seen: int
    last_seen: int
    events: int

    @property
    def type_names(self) -> list[str]:
        """Keen's names of the types that occurred, the one that stands for the property first."""
        return [name for name, bits in TYPES if self.types & bits] or ["null"]


@dataclass(frozen=True, slots=True)
class CollectionSeen:
    """What is known of a collection: its properties by path, ordered by path; and how often events had a path for which the
    catalogue had no room."""

    properties: Mapping[str, PropertySeen]
    beyond: int = 0

    @property
    def last_seen(self) -> int:
        """When the last event that had any property was received; 0 where none had."""
        return max((seen.last_seen for seen in self.properties.values()), default=0)

    def without(self, path: str, until: int) -> "CollectionSeen":
        """The collection without a property, and what is below it, unless an event had it after the instant `until`."""
        return replace(
            self,
            properties={
                name: seen
                for name, seen in self.properties.items()
                if seen.last_seen > until or not (name == path or name.startswith(path + "."))
            },
        )

    def since(self, instant: int) -> "CollectionSeen":
        """The collection with only the properties that events had after an instant."""
        return replace(
            self, properties={name: seen for name, seen in self.properties.items() if seen.last_seen > instant}
        )


class Catalogues:
    """The catalogues of all collections, folded from the state topic's records in the order of their partitions.

    Its methods may run in different threads. A collection's records are decoded when it is asked for, once for each change.
    """

    def __init__(self) -> None:
        self._records: dict[str, dict[str, dict[int, bytes]]] = {}  # project -> collection -> partition -> record
        self._merged: dict[tuple[str, str], tuple[list[bytes], CollectionSeen]] = {}

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Take one record of the state topic; kinds other than catalogues are ignored."""
        where = parse_key(key)
        if where.kind != "catalogue":
            return
        parts = self._records.setdefault(where.project_id, {}).setdefault(where.collection, {})
        if value is None:
            parts.pop(where.partition, None)
        else:
            parts[where.partition] = value

    def collections(self, project_id: str) -> list[str]:
        """The names of a project's collections, in order."""
        return sorted(name for name, parts in self._records.get(project_id, {}).copy().items() if parts)

    def collection(self, project_id: str, name: str) -> CollectionSeen | None:
        """A collection; None where no event of it was processed. Raises CodecError."""
        parts = list(self._records.get(project_id, {}).get(name, {}).copy().values())
        if not parts:
            return None
        known = self._merged.get((project_id, name))
        if known is None or known[0] != parts:
            known = self._merged[project_id, name] = parts, _merged(parts)
        return known[1]


def add_path(paths: Paths, path: str, types: int, first: int, last: int, events: int) -> None:
    """Count events that had a path with these types, received between `first` and `last`."""
    entry = paths.get(path)
    if entry is None:
        paths[path] = [types, first, last, events]
    else:
        entry[0] |= types
        entry[1] = min(entry[1], first)
        entry[2] = max(entry[2], last)
        entry[3] += events


def _merged(parts: list[bytes]) -> CollectionSeen:
    """The sum over partitions."""
    found: Paths = {}
    beyond = 0
    for part in parts:
        record = codec("catalogue").decode(part)
        beyond += record["beyond"]
        columns = record["paths"], record["types"], record["first_seen"], record["last_seen"], record["counts"]
        for path, types, first, last, events in zip(*columns, strict=True):
            add_path(found, path, types, first, last, events)
    properties = {path: PropertySeen(*entry) for path, entry in sorted(found.items())}
    return CollectionSeen(MappingProxyType(properties), beyond)
