"""What a model declares: its collections with their properties, the questions, and the requests that bring example events."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from docs.queries.example import Question


class Property(NamedTuple):
    """A property by its dotted path; `type` is what a collection's schema calls it: string, num, bool, list."""

    path: str
    type: str
    meaning: str


@dataclass(frozen=True)
class Collection:
    """A collection: what an event of it says, and its own properties beside those that all of the model have."""

    name: str
    says: str
    properties: tuple[Property, ...] = ()


@dataclass(frozen=True)
class Delivery:
    """A request to the collector that brings example events; the key goes into the URL.

    `{project_id}` in `path` is the project's. `brings`: the collection of each event that was not there before.
    """

    path: str
    body: Any
    brings: Sequence[str]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """How one trade's events are modelled.

    `shared`: the properties of every event. `complete`: the events have no others; a vendor's have many more. `why`: a paragraph each.
    """

    name: str
    title: str
    about: str
    why: tuple[str, ...]
    shared: tuple[Property, ...]
    collections: tuple[Collection, ...]
    deliveries: Callable[[], Sequence[Delivery]]
    questions: tuple[Question, ...]
    complete: bool = True

    def counts(self) -> Counter[str]:
        """How many events each collection has once all requests were made."""
        return Counter(name for one in self.deliveries() for name in one.brings)


def bulk(events: Sequence[tuple[str, str, dict[str, Any]]], addons: Sequence[Mapping[str, Any]] = ()) -> list[Delivery]:
    """Events of one's own (time, collection, properties) as one request, each with an id, so that a retry is the same event."""
    body: dict[str, list[dict[str, Any]]] = {}
    for number, (time, collection, properties) in enumerate(events):
        keen: dict[str, Any] = {"timestamp": time, "uniqueness_token": f"{collection}-{number}"}
        if addons:
            keen["addons"] = list(addons)
        body.setdefault(collection, []).append(properties | {"keen": keen})
    return [Delivery("/3.0/projects/{project_id}/events", body, [collection for _, collection, _ in events])]
