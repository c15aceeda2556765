"""The property catalogue of a collection: which paths its events have, of which types, since when, until when, how often.

Most events of a collection have one of few *shapes* (the same names and types at every level). The rules for names and
nesting, and the list of paths, are worked out once for a shape; an event then costs finding its shape.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from headwater.codec import codec
from headwater.rules import RuleError, check_event

SHAPES_KEPT = 20_000
BITS = {str: 1, int: 2, float: 4, bool: 8, type(None): 16, list: 32}
EMPTY_OBJECT = 64

Signature = tuple[Any, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """What all events of one shape have in common: each path with the bit of its type."""

    paths: tuple[tuple[str, int], ...]


class Shapes:
    """Finds the shape of events, and remembers it or why there can be none."""

    def __init__(self, max_depth: int) -> None:
        self._max_depth = max_depth
        self._known: dict[Signature, Shape | RuleError] = {}

    def of(self, properties: dict[str, Any]) -> Shape:
        """The shape of an event. Raises RuleError where its names or its nesting are against the rules."""
        try:
            signature = _signature(properties)
        except RecursionError:
            raise RuleError("InvalidPropertyValueError", "The event is nested far too deeply.") from None
        shape = self._known.get(signature)
        if shape is None:
            shape = self._learn(signature, properties)
        if isinstance(shape, RuleError):
            raise RuleError(shape.name, shape.description)
        return shape

    def _learn(self, signature: Signature, properties: dict[str, Any]) -> Shape | RuleError:
        shape: Shape | RuleError
        try:
            check_event(properties, self._max_depth)
        except RuleError as error:
            shape = error
        else:
            shape = Shape(tuple(_paths(properties, "")))
        if len(self._known) >= SHAPES_KEPT:
            self._known.clear()
        self._known[signature] = shape
        return shape


class Seen(NamedTuple):
    """How often a shape came in a block, and when the first and the last of it were received."""

    events: int
    first: int
    last: int


@dataclass(slots=True)
class Catalogue:
    """The paths of one collection, from one partition. Each has [types, first seen, last seen, count]."""

    offset: int = -1
    paths: dict[str, list[int]] = field(default_factory=dict)
    beyond: int = 0

    def add(self, shapes: Mapping[Shape, Seen], offset: int, max_paths: int) -> None:
        """Count a block of events by their shapes, the last of them read at `offset`."""
        self.offset = offset
        paths = self.paths
        for shape, (count, first, last) in shapes.items():
            for path, bit in shape.paths:
                entry = paths.get(path)
                if entry is not None:
                    entry[0] |= bit
                    entry[1] = min(entry[1], first)
                    entry[2] = max(entry[2], last)
                    entry[3] += count
                elif len(paths) < max_paths:
                    paths[path] = [bit, first, last, count]
                else:
                    self.beyond += count

    def encode(self) -> bytes:
        """The record of the state topic."""
        types, first, last, counts = zip(*self.paths.values(), strict=True) if self.paths else ((), (), (), ())
        return codec("catalogue").encode(
            {
                "offset": self.offset,
                "paths": list(self.paths),
                "types": types,
                "first_seen": first,
                "last_seen": last,
                "counts": counts,
                "beyond": self.beyond,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> "Catalogue":
        """The catalogue from its record. Raises CodecError."""
        record = codec("catalogue").decode(data)
        entries = zip(record["types"], record["first_seen"], record["last_seen"], record["counts"], strict=True)
        paths = {path: list(entry) for path, entry in zip(record["paths"], entries, strict=True)}
        return cls(record["offset"], paths, record["beyond"])


def _signature(properties: dict[str, Any]) -> Signature:
    """Equal for events of one shape, and for no others: for each object from the outside in, its size, names and types."""
    signature: list[Any] = []
    objects = [properties]
    for found in objects:  # grows on the way
        values = found.values()
        types = [*map(type, values)]
        signature.append(len(types))
        signature += found
        signature += types
        if dict in types:
            objects += [value for value in values if type(value) is dict]
        if list in types:
            for value in values:
                if type(value) is list:
                    _look_into(value, signature, objects)
    return (*signature,)


def _look_into(values: list[Any], signature: list[Any], objects: list[dict[str, Any]]) -> None:
    """Add what is nested in a list; scalars in lists make no difference."""
    kinds = {*map(type, values)}
    if dict in kinds:
        inside = [value for value in values if type(value) is dict]
        signature.append(-len(inside))
        objects += inside
    if list in kinds:
        for value in values:
            if type(value) is list:
                signature.append(list)
                _look_into(value, signature, objects)


def _paths(properties: dict[str, Any], parent: str) -> list[tuple[str, int]]:
    paths = []
    for name, value in properties.items():
        kind = type(value)
        if kind is dict and value:
            paths += _paths(value, f"{parent}{name}.")
        else:
            paths.append((parent + name, BITS.get(kind, EMPTY_OBJECT)))
    return paths
