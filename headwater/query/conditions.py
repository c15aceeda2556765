"""Filters as SQL: every condition is 0 or 1, never NULL, so that its negation is right too.

Values are compared within their type; integers and floats are both numbers. On a list, `eq`, `in` and `contains` ask for its
members. Nothing but `ne` and `not_contains` (and `eq` null, `exists` false) is true of a property that an event has not.
"""

from collections.abc import Callable, Iterable

from headwater.query.filters import INT64, AnyOf, Condition, Filter, Scalar, Within
from headwater.query.parameters import Parameters
from headwater.query.paths import Path
from headwater.query.properties import Property
from headwater.query.timeframe import EARLIEST, LATEST

_COMPARISONS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
EARTH_MILES = 3_958.7613  # the mean radius (IUGG)
_NEGATED = {"ne": "eq", "not_contains": "contains"}


def condition_sql(one: Filter, property_of: Callable[[Path], Property], parameters: Parameters) -> str:
    """The SQL expression that a filter is."""
    if isinstance(one, AnyOf):
        return _any(condition_sql(operand, property_of, parameters) for operand in one.operands)
    if isinstance(one, Within):
        return _within(one, property_of(one.path), parameters)
    if one.operator in _NEGATED:
        positive = Condition(one.path, _NEGATED[one.operator], one.value)
        return f"not {condition_sql(positive, property_of, parameters)}"
    return _positive(one, property_of(one.path), parameters)


def _within(one: Within, prop: Property, parameters: Parameters) -> str:
    """The great circle's length on a sphere, by the haversine formula. A position is a list of two numbers."""
    lists = [prop.arrays[name] for name in ("Nullable(Float64)", "Nullable(Int64)") if name in prop.arrays]
    mixed = prop.arrays.get("Dynamic")
    tests = []
    longitude, latitude = parameters.real(one.longitude), parameters.real(one.latitude)
    for column in lists + ([mixed] if mixed else []):
        numbers = (
            f"arrayMap(e -> coalesce(dynamicElement(e, 'Float64'), toFloat64(dynamicElement(e, 'Int64'))), {column})"
            if column == mixed
            else column
        )
        east, north = (f"radians(toFloat64({numbers}[{index}]))" for index in (1, 2))
        haversine = (
            f"pow(sin(({north} - radians({latitude})) / 2), 2)"
            f" + cos(radians({latitude})) * cos({north}) * pow(sin(({east} - radians({longitude})) / 2), 2)"
        )
        distance = f"{2 * EARTH_MILES} * asin(sqrt(min2(1., {haversine})))"
        tests.append(f"(length({column}) = 2 and ifNull({distance} <= {parameters.real(one.miles)}, 0))")
    return _any(tests)


def _positive(one: Condition, prop: Property, parameters: Parameters) -> str:
    operator, value = one.operator, one.value
    if operator == "exists":
        return prop.present if value else f"not {prop.present}"
    if prop.time is not None:
        return _time(prop.time, operator, value, parameters)
    if isinstance(value, tuple):
        return _in(prop, value, parameters)
    if operator == "eq":
        return _equal(prop, value, parameters)
    if operator == "contains":
        substring = _each([prop.text], f"position(%s, {parameters.text(value)}) > 0") if isinstance(value, str) else []
        return _any([*substring, *_member(prop, value, parameters)])
    if operator == "regex" and isinstance(value, str):
        # ClickHouse lets a dot match a line break, RE2 and Keen do not.
        return _any(_each([prop.text], f"match(%s, {parameters.text('(?-s)' + value)})"))
    sign = _COMPARISONS[operator]
    if isinstance(value, str):
        return _any(_each([prop.text], f"%s {sign} {parameters.text(value)}"))
    assert isinstance(value, int | float)
    return _any(_each([prop.integer, prop.real], f"%s {sign} {parameters.number(value)}"))


def _equal(prop: Property, value: Scalar, parameters: Parameters) -> str:
    if value is None:
        return f"not {prop.present}"
    if isinstance(value, bool):
        plain = _each([prop.boolean], f"%s = {parameters.boolean(value)}")
    elif isinstance(value, str):
        plain = _each([prop.text], f"%s = {parameters.text(value)}")
    else:
        plain = _each([prop.integer, prop.real], f"%s = {parameters.number(value)}")
    return _any([*plain, *_member(prop, value, parameters)])


def _member(prop: Property, value: Scalar, parameters: Parameters) -> list[str]:
    """Tests whether a list has a value."""
    if not prop.arrays:
        return []
    if isinstance(value, bool):
        types, placeholder = ["Bool"], parameters.boolean(value)
    elif isinstance(value, str):
        types, placeholder = ["String"], parameters.text(value)
    else:
        assert isinstance(value, int | float)
        types, placeholder = ["Int64", "Float64"], parameters.number(value)
    return _in_arrays(prop, types, f"ifNull(%s = {placeholder}, 0)")


def _in(prop: Property, values: tuple[Scalar, ...], parameters: Parameters) -> str:
    tests = [f"not {prop.present}"] if None in values else []
    by_type: list[tuple[str, str | None, list[object]]] = [
        ("String", prop.text, [v for v in values if isinstance(v, str)]),
        ("Bool", prop.boolean, [v for v in values if isinstance(v, bool)]),
        ("Int64", prop.integer, _integers(values)),
        ("Float64", prop.real, _reals(values)),
    ]
    for name, column, wanted in by_type:
        if not wanted or not (column or prop.arrays):
            continue
        # A Bool array cannot be bound as text in every version: 0 and 1 can.
        listed = (
            parameters.array([int(bool(v)) for v in wanted], "UInt8")
            if name == "Bool"
            else parameters.array(wanted, name)
        )
        if column:
            tests.append(f"ifNull({column} IN {listed}, 0)")
        tests += _in_arrays(prop, [name], f"ifNull(has({listed}, %s), 0)")
    return _any(tests)


def _integers(values: Iterable[Scalar]) -> list[object]:
    """The numbers that an Int64 can equal."""
    return [
        int(v)
        for v in values
        if isinstance(v, int | float) and not isinstance(v, bool) and v == int(v) and int(v) in INT64
    ]


def _reals(values: Iterable[Scalar]) -> list[object]:
    """The numbers that a Float64 can equal."""
    return [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool) and float(v) == v]


def _in_arrays(prop: Property, types: list[str], test: str) -> list[str]:
    """A test of elements, over the arrays whose elements can have one of the types."""
    found = []
    for name in types:
        array = prop.arrays.get(f"Nullable({name})")
        if array:
            found.append(f"arrayExists(e -> {_filled(test, 'e')}, {array})")
    mixed = prop.arrays.get("Dynamic")
    if mixed:
        tests = _any(_filled(test, f"dynamicElement(e, '{name}')") for name in types)
        found.append(f"arrayExists(e -> {tests}, {mixed})")
    return found


def _time(column: str, operator: str, value: Scalar | tuple[Scalar, ...], parameters: Parameters) -> str:
    if isinstance(value, tuple):
        instants = [v for v in value if isinstance(v, int)]
        return f"toUnixTimestamp64Milli({column}) IN {parameters.array(instants, 'Int64')}" if instants else "0"
    if not isinstance(value, int):
        return "0"  # a time is never null
    instant = parameters.instant(min(max(value, EARLIEST - 1), LATEST))
    return f"({column} {'=' if operator == 'eq' else _COMPARISONS[operator]} {instant})"


def _each(columns: list[str | None], test: str) -> list[str]:
    return [f"ifNull({_filled(test, column)}, 0)" for column in columns if column]


def _filled(test: str, column: str) -> str:
    return test.replace("%s", column, 1)


def _any(tests: Iterable[str]) -> str:
    found = list(tests)
    return f"({' or '.join(found)})" if found else "0"
