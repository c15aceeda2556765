"""Forced filters: a query is narrowed to what its key may see, wherever in it events are chosen."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from headwater.query.errors import QueryError
from headwater.query.filters import parse_filters

Filters = Sequence[Mapping[str, Any]]

MAX_DEPTH = 50


def restrict(analysis: str, params: Mapping[str, Any], filters: Filters) -> dict[str, Any]:
    """The parameters of an analysis with `filters` put onto the query and onto every part of it that names a collection.

    The events of a retention and whatever else has an `event_collection` or filters of its own, at any
    depth and as JSON text too. `filters` are Keen's; none of the query's can widen them, since filters beside each other must
    all hold. Raises QueryError where the query's own filters are none.
    """
    if not filters:
        return dict(params)
    if analysis == "funnel":
        # They hold for every step, and the steps that the reply repeats are those that were asked.
        return dict(params) | {"filters": [*_listed(params.get("filters")), *filters]}
    restricted = {name: _restricted(value, filters, 1) for name, value in params.items() if name != "filters"}
    return restricted | {"filters": [*_listed(params.get("filters")), *filters]}


def _restricted(value: Any, filters: Filters, depth: int) -> Any:
    """A part of a query, with the filters where it chooses events; text that is no such part stays as it is."""
    if depth > MAX_DEPTH:
        raise QueryError("QueryDefinitionError", f"The query is nested more than {MAX_DEPTH} deep.")
    if isinstance(value, str):
        part = _part(value)
        restricted = _restricted(part, filters, depth)
        return value if restricted == part else restricted
    if isinstance(value, list):
        return [_restricted(one, filters, depth + 1) for one in value]
    if not isinstance(value, dict):
        return value
    restricted = {name: _restricted(one, filters, depth + 1) for name, one in value.items() if name != "filters"}
    if "event_collection" in value or "filters" in value:
        restricted["filters"] = [*_listed(value.get("filters")), *filters]
    return restricted


def _part(text: str) -> Any:
    """What a text holds as JSON, where that is a list or an object; else None."""
    if text.lstrip()[:1] not in ("[", "{"):
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _listed(value: Any) -> list[Any]:
    """Filters as given, in any form, as a list."""
    if value is None or value == "":
        return []
    parse_filters(value)  # raises where they are none
    given = orjson.loads(value) if isinstance(value, str) else value
    return given if isinstance(given, list) else [given]
