"""The analyses: what each aggregates, how its columns become one result, and how results are ordered in SQL."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from headwater.query.definition import Definition
from headwater.query.ordering import key_rank
from headwater.query.properties import KeyPart, Property


@dataclass(frozen=True)
class Aggregate:
    """The SQL columns of an analysis, `finish` that makes the result of their values, and the result over nothing."""

    columns: list[str]
    order: list[str]
    finish: Callable[[Sequence[Any]], Any]
    empty: Any


def aggregate(definition: Definition, target: Property | None) -> Aggregate:
    """The aggregate of a definition's analysis over its target; extractions have none."""
    analysis = definition.analysis
    if target is None:
        return Aggregate(["count()"], ["count()"], _first, 0)
    if analysis == "count_unique":
        return _count_unique(target)
    if analysis == "select_unique":
        return _select_unique(target)
    if analysis == "sum":
        return _sum(target)
    if analysis in ("minimum", "maximum"):
        return _extreme(target, "min" if analysis == "minimum" else "max")
    if analysis == "average":
        return _of_number(target.number, "avg(%s)", float)
    if analysis == "standard_deviation":
        return _of_number(target.number, "stddevSampStable(%s)", float)
    assert definition.percentile is not None
    # Nearest rank, the lower element: element ceil(p/100 * n) of the sorted values. quantileExact takes
    # floor(level * n) from 0, so the level is a hair lower.
    level = definition.percentile / 100 - 1e-12
    exact_integers = target.integer if target.real is None else None
    return _of_number(exact_integers or target.number, f"quantileExact({level!r})(%s)", lambda value: value)


def _first(values: Sequence[Any]) -> Any:
    return values[0]


def _of_number(number: str | None, sql: str, convert: Callable[[Any], Any]) -> Aggregate:
    column = sql % number if number else "NULL"
    return Aggregate([column], [column], lambda v: None if v[0] is None else convert(v[0]), None)


def _count_unique(target: Property) -> Aggregate:
    column = " + ".join(f"uniqExact({part.sql})" for part in target.key_parts) or "0"
    return Aggregate([column], [column], _first, 0)


def _sum(target: Property) -> Aggregate:
    """Integers are summed in 128 bits and read as text, since a sum of 64-bit integers wraps without a word."""
    integers = f"sum(toInt128({target.integer}))" if target.integer else "NULL"
    reals = f"sum({target.real})" if target.real else "NULL"

    def finish(values: Sequence[Any]) -> Any:
        whole = int(values[0] or 0)
        if values[1] is None:
            return whole if values[2] == 0 else None  # the floats' sum is infinite or no number
        real = float(values[1])
        return whole + int(real) if real.is_integer() and abs(real) <= 2**53 else whole + real

    order = f"ifNull(toFloat64({integers}), 0.) + ifNull({reals}, 0.)"
    count = f"count({target.real})" if target.real else "0"
    return Aggregate([f"toString({integers})", reals, count], [order, integers], finish, 0)


def _extreme(target: Property, function: str) -> Aggregate:
    if target.time:
        column = f"nullIf({function}({target.text}), '')"
        return Aggregate([column], [column], _first, None)
    integer = f"{function}({target.integer})" if target.integer else "NULL"
    real = f"{function}({target.real})" if target.real else "NULL"
    better = min if function == "min" else max

    def finish(values: Sequence[Any]) -> Any:
        found = [value for value in values if value is not None]
        return better(found) if found else None

    if target.integer and target.real:
        pick = "least" if function == "min" else "greatest"
        as_real = f"toFloat64({integer})"
        order = [f"{pick}(ifNull({as_real}, {real}), ifNull({real}, {as_real}))", integer]
    else:
        order = [integer if target.integer else real]
    return Aggregate([integer, real], order, finish, None)


def _select_unique(target: Property) -> Aggregate:
    parts = target.key_parts

    def finish(values: Sequence[Any]) -> Any:
        found = [decoded(part, value) for part, column in zip(parts, values, strict=True) for value in column]
        return sorted(found, key=key_rank)

    return Aggregate([f"groupUniqArray({part.sql})" for part in parts], [], finish, [])


def decoded(part: KeyPart, value: Any) -> Any:
    """The value of a key part as JSON has it."""
    if part.kind == "array":
        return orjson.loads(value)
    if part.kind == "boolean":
        return bool(value)
    return value
