"""What somebody did: the events of a collection that a funnel's step or a retention asks about, and who acted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headwater.query.arguments import collection_name, structure, wrong
from headwater.query.filters import Filter, filtered_paths, parse_filters
from headwater.query.grouping import listed
from headwater.query.paths import Path, parse_path
from headwater.query.timeframe import Timeframe, parse_timeframe
from headwater.query.zones import parse_timezone


@dataclass(frozen=True)
class Deed:
    """Events that count as one thing done: of a collection, in a timeframe, passing filters; `actor` is who did it."""

    collection: str
    actor: Path
    timeframe: Timeframe | None
    filters: tuple[Filter, ...]

    @property
    def paths(self) -> set[Path]:
        """Every property that it looks at."""
        return {self.actor, *filtered_paths(self.filters)}


def parse_deed(given: Mapping[str, Any], where: str, filters: list[Any], now: int) -> Deed:
    """What an object with event_collection, actor_property and perhaps timeframe, timezone and filters says was done.

    `where` is what messages call it; `filters` are further ones. Raises QueryError.
    """
    collection = collection_name(given, f"{where}.event_collection")
    actor = given.get("actor_property")
    if isinstance(actor, list) and len(actor) == 1:
        (actor,) = actor
    if actor is None:
        raise wrong(f"{where}.actor_property", "it is missing: name the property that says who acted")
    zone = parse_timezone(given.get("timezone"))
    timeframe = parse_timeframe(given["timeframe"], zone, now) if "timeframe" in given else None
    own = listed(structure(given.get("filters"), f"{where}.filters"))
    return Deed(collection, parse_path(actor, f"{where}.actor_property"), timeframe, parse_filters([*own, *filters]))
