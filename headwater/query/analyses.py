"""The analyses: what each aggregates, how its columns become one result, and how results are ordered in SQL."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from headwater.query.definition import Measure
from headwater.query.ordering import key_rank
from headwater.query.properties import KeyPart, Property

EXACT = 2**53  # up to it every integer is a Float64


@dataclass(frozen=True)
class Aggregate:
    """The SQL columns of an analysis, `finish` that makes the result of their values, and the result over nothing."""

    columns: list[str]
    order: list[str]  # none where results have no order
    finish: Callable[[Sequence[Any]], Any]
    empty: Any


def aggregate(measure: Measure, target: Property | None) -> Aggregate:
    """The aggregate of an analysis over its target."""
    analysis = measure.analysis
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
        return _of_number(target.number, "if(isFinite(stddevSampStable(%s) AS deviation), deviation, NULL)", float)
    assert measure.percentile is not None
    # Nearest rank, the lower element: element ceil(p/100 * n) of the sorted values. quantileExact takes
    # floor(level * n) from 0, so the level is a hair lower.
    level = measure.percentile / 100 - 1e-12
    exact_integers = target.integer if target.real is None else None
    if exact_integers:
        return _of_number(exact_integers, f"quantileExact({level!r})(%s)", int)
    return _of_number(target.number, f"quantileExact({level!r})(%s)", whole_or_real)


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
        return whole + int(real) if real.is_integer() and abs(real) <= EXACT else whole + real

    order = [integers]
    if target.real:
        order = [
            f"ifNull(toFloat64({integers}), 0.) + ifNull({reals}, 0.)",
            f"ifNull({integers}, 0) + ifNull({_floor(reals)}, 0)",
        ]
    count = f"count({target.real})" if target.real else "0"
    return Aggregate([f"toString({integers})", reals, count], order, finish, 0)


def _extreme(target: Property, function: str) -> Aggregate:
    if target.time:
        column = f"nullIf({function}({target.text}), '')"
        return Aggregate([column], [column], _first, None)
    integer = f"{function}({target.integer})" if target.integer else "NULL"
    real = f"{function}({target.real})" if target.real else "NULL"
    better = min if function == "min" else max

    def finish(values: Sequence[Any]) -> Any:
        whole, fraction = values
        found = [] if whole is None else [whole]
        found += [] if fraction is None else [whole_or_real(fraction)]
        return better(found) if found else None

    order = [integer if target.integer else real]
    if target.integer and target.real:
        pick = "least" if function == "min" else "greatest"
        pairs = ((f"toFloat64({integer})", real), (f"toInt128({integer})", _floor(real)))
        order = [f"{pick}(ifNull({one}, {other}), ifNull({other}, {one}))" for one, other in pairs]
    return Aggregate([integer, real], order, finish, None)


def _floor(real: str) -> str:
    """A Float64 as Int128, NULL where it is too large: tells results apart that are one Float64, beyond 2^53."""
    return f"accurateCastOrNull(floor({real}), 'Int128')"


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
    return whole_or_real(value) if part.kind == "real" else value


def whole_or_real(value: Any) -> Any:
    """A Float64 as read from JSON: an integer where it is whole and exact, else a float.

    The engine writes 2.0 as 2, and beyond 2^53 digits that no integer was meant by.
    """
    return float(value) if abs(value) > EXACT or value != int(value) else int(value)
