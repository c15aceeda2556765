"""Filters: which events a query is about. Parsing into conditions; `conditions` writes them as SQL."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import orjson

from headwater.query.errors import QueryError, shown
from headwater.query.paths import Path, parse_path
from headwater.query.timeframe import parse_moment
from headwater.query.zones import from_local

Scalar: TypeAlias = str | int | float | bool | None
COORDINATES = "keen.location.coordinates"
OPERATORS = (
    "eq", "ne", "lt", "lte", "gt", "gte", "exists", "in", "contains", "not_contains", "regex", "within", "or",
)  # fmt: skip
MAX_DEPTH = 20
INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True)
class Condition:
    """One test of one property. `value` is a tuple for `in`, else one value; times are instants in milliseconds."""

    path: Path
    operator: str
    value: Scalar | tuple[Scalar, ...]


@dataclass(frozen=True)
class Within:
    """True where the event's position is no further from a point (degrees) than so many miles."""

    path: Path
    longitude: float
    latitude: float
    miles: float


@dataclass(frozen=True)
class AnyOf:
    """True where one of its operands is."""

    operands: "tuple[Filter, ...]"


Filter: TypeAlias = Condition | Within | AnyOf


def parse_filters(value: object) -> tuple[Filter, ...]:
    """The filters of a query, all of which an event must pass: a list, one filter, or either as JSON text.

    Raises QueryError.
    """
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise _wrong(f"filters {shown(value)} are not JSON") from None
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise _wrong(f"filters must be a list of filters, not {shown(value)}")
    return tuple(_filter(one, f"filters[{i}]", 1) for i, one in enumerate(value))


def filtered_paths(filters: tuple[Filter, ...]) -> Iterator[Path]:
    """Every property that filters look at."""
    for one in filters:
        if isinstance(one, AnyOf):
            yield from filtered_paths(one.operands)
        else:
            yield one.path


def _filter(given: object, where: str, depth: int) -> Filter:
    if depth > MAX_DEPTH:
        raise _wrong(f"{where}: filters are nested more than {MAX_DEPTH} deep")
    if not isinstance(given, dict):
        raise _wrong(f"{where} must be an object with property_name, operator and property_value, not {shown(given)}")
    operator = given.get("operator")
    if operator == "or":
        operands = given.get("operands")
        if not isinstance(operands, list) or not operands:
            raise _wrong(f"{where}: the operator 'or' needs operands, a list with at least one filter")
        return AnyOf(tuple(_filter(one, f"{where}.operands[{i}]", depth + 1) for i, one in enumerate(operands)))
    if operator not in OPERATORS:
        raise _wrong(f"{where}: there is no operator {shown(operator)}; there are {', '.join(OPERATORS)}")
    path = parse_path(given.get("property_name"), f"{where}.property_name")
    value = given.get("property_value")
    if operator == "within":
        return _within(path, value, where)
    if path.column in ("timestamp", "received_at"):
        return Condition(path, operator, _time_value(path, operator, value, where))
    return Condition(path, operator, _value(operator, value, where))


def _within(path: Path, value: object, where: str) -> Within:
    if path.name != COORDINATES:
        raise QueryError(
            "InvalidPropertyNameForGeoFilter",
            f"{where}: the operator 'within' is for the property {COORDINATES} only, not for {shown(path.name)}.",
        )
    given = value if isinstance(value, dict) else {}
    point, miles = given.get("coordinates"), given.get("max_distance_miles")
    numbers = [*point, miles] if isinstance(point, list) and len(point) == 2 else []
    if not numbers or not all(isinstance(n, int | float) and not isinstance(n, bool) and abs(n) < 1e9 for n in numbers):
        raise _invalid(where, "within", value, "give coordinates [longitude, latitude] and max_distance_miles, numbers")
    return Within(path, *(float(number) for number in numbers))


def _value(operator: str, value: object, where: str) -> Scalar | tuple[Scalar, ...]:
    """The value of a condition on a property of any type, checked against its operator."""
    if operator == "in":
        if not isinstance(value, list):
            raise _invalid(where, operator, value, "give a list of values")
        return tuple(_scalar(one, where, operator) for one in value)
    scalar = _scalar(value, where, operator)
    if operator == "exists" and not isinstance(scalar, bool):
        raise _invalid(where, operator, value, "give true or false")
    if operator in ("lt", "lte", "gt", "gte") and (scalar is None or isinstance(scalar, bool)):
        raise _invalid(where, operator, value, "give a number or a string")
    if operator == "regex" and not isinstance(scalar, str):
        raise _invalid(where, operator, value, "give a regular expression (RE2) as a string")
    if operator in ("contains", "not_contains") and scalar is None:
        raise _invalid(where, operator, value, "give a string, a number or a boolean")
    return scalar


def _time_value(path: Path, operator: str, value: object, where: str) -> Scalar | tuple[Scalar, ...]:
    """The value of a condition on a time that Headwater keeps itself: an instant, or several for `in`."""
    if operator in ("contains", "not_contains", "regex"):
        raise _invalid(where, operator, value, f"{path.name} is a time: compare it with eq, ne, lt, lte, gt, gte, in")
    if operator == "exists":
        return _value(operator, value, where)
    if operator == "in":
        if not isinstance(value, list):
            raise _invalid(where, operator, value, "give a list of times")
        return tuple(_instant(one, where, operator) for one in value)
    return _instant(value, where, operator)


def _instant(value: object, where: str, operator: str) -> int | None:
    if value is None and operator in ("eq", "ne", "in"):
        return None
    moment = parse_moment(value) if isinstance(value, str) else None
    if moment is None:
        raise _invalid(where, operator, value, "give an ISO 8601 time such as '2016-11-02T00:00:00Z'")
    return from_local(moment)


def _scalar(value: object, where: str, operator: str) -> Scalar:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _invalid(where, operator, value, "it is not valid Unicode text") from None
        return value
    if isinstance(value, int) and value not in INT64:
        return float(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float) and value - value == 0:  # neither NaN nor infinite
        return value
    raise _invalid(where, operator, value, "give a string, a number, a boolean or null")


def _invalid(where: str, operator: str, value: object, way_out: str) -> QueryError:
    return QueryError(
        "InvalidPropertyValueError",
        f"The specified value is invalid for the given operator. Operator: {operator}. Value: {_json(value)} "
        f"({where}: {way_out}.)",
    )


def _json(value: object) -> str:
    try:
        text = orjson.dumps(value).decode()
    except TypeError:
        return shown(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _wrong(what: str) -> QueryError:
    return QueryError("FilterDefinitionError", f"You sent in an invalid definition for the filters: {what}.")
