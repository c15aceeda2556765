"""A query as asked: the parameters of every arrival form, checked, as one frozen value."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

import orjson

from headwater.query.errors import QueryError, shown
from headwater.query.filters import AnyOf, Filter, parse_filters
from headwater.query.intervals import Interval, parse_interval
from headwater.query.paths import Path, parse_path
from headwater.query.timeframe import Timeframe, parse_timeframe
from headwater.query.zones import parse_timezone

ANALYSES = (
    "count", "count_unique", "sum", "average", "minimum", "maximum", "median", "percentile",
    "standard_deviation", "select_unique", "extraction",
)  # fmt: skip
RESULT = "result"


@dataclass(frozen=True)
class Order:
    """One criterion of an order: a group property's name, or `result`."""

    name: str
    descending: bool


@dataclass(frozen=True)
class Definition:
    """A query without anything left to parse. Fields that an analysis does not take are None or empty."""

    analysis: str
    collection: str
    timeframe: Timeframe | None
    zone: tzinfo
    interval: Interval | None = None
    target: Path | None = None
    percentile: float | None = None
    filters: tuple[Filter, ...] = ()
    group_by: tuple[Path, ...] = ()
    order_by: tuple[Order, ...] = ()
    limit: int | None = None
    zero_fill: bool = True
    latest: int | None = None
    property_names: tuple[Path, ...] = ()


def parse_definition(analysis: str, params: Mapping[str, Any], now: int) -> Definition:
    """The definition of an analysis from its parameters, seen at the instant `now` (milliseconds since 1970 UTC).

    Structures may come as JSON text and numbers as strings, as they do in URLs. null and "" mean absent; parameters that
    the analysis does not know are ignored. Raises QueryError.
    """
    if analysis not in ANALYSES:
        raise QueryError(
            "ResourceNotFoundError", f"There is no analysis {shown(analysis)}; there are {', '.join(ANALYSES)}.", 404
        )
    given = {name: value for name, value in params.items() if value is not None and value != ""}
    zone = parse_timezone(given.get("timezone"))
    timeframe = parse_timeframe(given["timeframe"], zone, now) if "timeframe" in given else None
    collection = _collection(given)
    filters = parse_filters(given["filters"]) if "filters" in given else ()
    if analysis == "extraction":
        return _extraction(given, collection, timeframe, zone, filters)
    interval = parse_interval(given["interval"]) if "interval" in given else None
    if interval and timeframe is None:
        raise QueryError(
            "TimeframeDefinitionError",
            "You sent in an invalid definition for the timeframe: it is missing, and an interval needs one.",
        )
    group_by = _paths(given.get("group_by"), "group_by")
    order_by = _order_by(given.get("order_by"), analysis, group_by)
    limit = _positive(given["limit"], "limit") if "limit" in given else None
    if limit and not order_by:
        raise _wrong("limit", "it needs group_by and order_by: without an order there are no first groups")
    return Definition(
        analysis=analysis,
        collection=collection,
        timeframe=timeframe,
        zone=zone,
        interval=interval,
        target=None if analysis == "count" else _target(given, analysis),
        percentile=_percentile(given, analysis),
        filters=filters,
        group_by=group_by,
        order_by=order_by,
        limit=limit,
        zero_fill=_boolean(given.get("zero_fill", True), "zero_fill"),
    )


def paths_of(definition: Definition) -> set[Path]:
    """Every property that a definition looks at, but for those that an extraction returns."""

    def of_filters(filters: tuple[Filter, ...]) -> Iterator[Path]:
        for one in filters:
            if isinstance(one, AnyOf):
                yield from of_filters(one.operands)
            else:
                yield one.path

    target = () if definition.target is None else (definition.target,)
    return {*definition.group_by, *target, *of_filters(definition.filters)}


def _extraction(
    given: dict[str, Any], collection: str, timeframe: Timeframe | None, zone: tzinfo, filters: tuple[Filter, ...]
) -> Definition:
    for name in ("interval", "group_by", "order_by", "limit"):
        if name in given and given[name] != []:
            raise _wrong(name, "an extraction does not take it; for the most recent events give `latest`")
    if "email" in given:
        raise _wrong("email", "extractions are answered directly; leave it out")
    return Definition(
        analysis="extraction",
        collection=collection,
        timeframe=timeframe,
        zone=zone,
        filters=filters,
        latest=_positive(given["latest"], "latest") if "latest" in given else None,
        property_names=_paths(given.get("property_names"), "property_names"),
    )


def _collection(given: dict[str, Any]) -> str:
    name = given.get("event_collection")
    if name is None:
        raise _wrong("event_collection", "it is missing: name the collection to ask about")
    if not isinstance(name, str) or not _is_text(name):
        raise _wrong("event_collection", f"{shown(name)} is not a collection's name")
    return name


def _target(given: dict[str, Any], analysis: str) -> Path:
    if "target_property" not in given:
        raise _wrong("target_property", f"it is missing: {analysis} needs a property to look at")
    return parse_path(given["target_property"], "target_property")


def _percentile(given: dict[str, Any], analysis: str) -> float | None:
    if analysis == "median":
        return 50.0
    if analysis != "percentile":
        return None
    value = given.get("percentile")
    if value is None:
        raise _wrong("percentile", "it is missing: give a number above 0, up to 100")
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else 0.0
    except (ValueError, OverflowError):
        number = 0.0
    if not 0 < number <= 100:
        raise _wrong("percentile", f"{shown(value)} is not a number above 0, up to 100")
    return number


def _paths(value: object, parameter: str) -> tuple[Path, ...]:
    """Property names: a list, one name, or either as JSON text; each once."""
    if isinstance(value, str) and value[:1] in ("[", '"', "{"):
        with suppress(orjson.JSONDecodeError):  # a name that begins like JSON
            value = orjson.loads(value)
    values = value if isinstance(value, list) else [] if value is None else [value]
    for one in values:
        if isinstance(one, dict):
            raise _wrong(parameter, f"{shown(one)}: grouping into buckets or ranges is not offered; name properties")
    paths = tuple(dict.fromkeys(parse_path(one, parameter) for one in values))
    if parameter == "group_by" and any(path.name == RESULT for path in paths):
        raise _wrong(parameter, "a property of the name 'result' would collide with the result in the answer")
    return paths


def _order_by(value: object, analysis: str, group_by: tuple[Path, ...]) -> tuple[Order, ...]:
    if isinstance(value, str) and value[:1] in ("[", "{", '"'):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise _wrong("order_by", f"{shown(value)} is not JSON") from None
    orders = value if isinstance(value, list) else [] if value is None else [value]
    if orders and not group_by:
        raise _wrong("order_by", "it needs group_by: there are no groups to order")
    return tuple(_order(one, analysis, group_by) for one in orders)


def _order(value: object, analysis: str, group_by: tuple[Path, ...]) -> Order:
    given = {"property_name": value} if isinstance(value, str) else value
    if not isinstance(given, dict):
        raise _wrong("order_by", f"{shown(value)} must be an object with property_name and direction")
    name = given.get("property_name")
    if not isinstance(name, str) or name not in {RESULT, *(path.name for path in group_by)}:
        raise _wrong("order_by", f"{shown(name)} is neither a property of group_by nor 'result'")
    if name == RESULT and analysis == "select_unique":
        raise _wrong("order_by", "the result of select_unique is a list, which has no order; order by a property")
    direction = given.get("direction") or "ASC"
    if not isinstance(direction, str) or direction.upper() not in ("ASC", "DESC"):
        raise _wrong("order_by", f"the direction {shown(direction)} is neither 'ASC' nor 'DESC'")
    return Order(name, direction.upper() == "DESC")


def _positive(value: object, parameter: str) -> int:
    number = value
    if isinstance(value, str) and value.strip().isdecimal():
        number = int(value[:19])
    if isinstance(value, float) and value.is_integer():
        number = int(value)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 2**63:
        raise _wrong(parameter, f"{shown(value)} is not a whole number above 0")
    return number


def _boolean(value: object, parameter: str) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise _wrong(parameter, f"{shown(value)} is neither true nor false")
    return value


def _is_text(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def _wrong(parameter: str, what: str) -> QueryError:
    return QueryError("QueryDefinitionError", f"You sent in an invalid definition for {parameter}: {what}.")
