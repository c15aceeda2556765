"""What `group_by` names: a property's values, its numbers in buckets of one size, or in ranges."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import orjson

from headwater.query.arguments import wrong
from headwater.query.errors import QueryError, shown
from headwater.query.parameters import Parameters
from headwater.query.paths import Path, parse_path
from headwater.query.properties import KeyPart, Property

RESULT = "result"
Number = int | float
MAX_RANGES = 1_000


@dataclass(frozen=True)
class Range:
    """Numbers from `start` to before `end`; None is no bound."""

    start: Number | None
    end: Number | None

    @property
    def label(self) -> str:
        """How answers call the range."""
        if self.start is None:
            return f"< {self.end}"
        return f">= {self.start}" if self.end is None else f"[{self.start}, {self.end})"


@dataclass(frozen=True)
class GroupBy:
    """One key of the groups. With `size` or `ranges` everything but numbers inside them is the group null."""

    path: Path
    size: Number | None = None
    ranges: tuple[Range, ...] = ()

    @property
    def name(self) -> str:
        """The property's name, which is the key's name in answers."""
        return self.path.name

    def key_parts(self, prop: Property, parameters: Parameters) -> list[KeyPart]:
        """The SQL columns of the key."""
        if self.size is not None:
            return _bucket(prop, self.size, parameters)
        if self.ranges:
            return _range(prop, self.ranges, parameters)
        return prop.key_parts

    @property
    def decode(self) -> Callable[[int], Any] | None:
        """What the number in the column stands for; None where it is the value itself.

        A bucket is called by its lower bound, a range by its label.
        """
        if self.size is not None:
            size = self.size
            return lambda index: _multiple(index, size)
        if self.ranges:
            return lambda index: self.ranges[index].label
        return None

    def position(self, value: Any) -> int | None:
        """Where a range stands in the list of ranges, by which they are ordered; None for other values."""
        for index, one in enumerate(self.ranges):
            if one.label == value:
                return index
        return None


def parse_group_by(value: object) -> tuple[GroupBy, ...]:
    """The keys: a list, one key, or either as JSON text; each once. Raises QueryError."""
    keys = tuple(dict.fromkeys(_group_by(one) for one in listed(value)))
    names = [key.name for key in keys]
    if RESULT in names:
        raise wrong("group_by", "a property of the name 'result' would collide with the result in the answer")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise wrong("group_by", f"{shown(twice[0])} is there twice, and an answer has one key of a name")
    return keys


def parse_paths(value: object, parameter: str) -> tuple[Path, ...]:
    """Property names: a list, one name, or either as JSON text; each once. Raises QueryError."""
    return tuple(dict.fromkeys(parse_path(one, parameter) for one in listed(value)))


def listed(value: object) -> list[object]:
    """The members of a list, a single one, or either as JSON text."""
    if isinstance(value, str) and value[:1] in ("[", '"', "{"):
        with suppress(orjson.JSONDecodeError):  # a name that begins like JSON
            value = orjson.loads(value)
    return value if isinstance(value, list) else [] if value is None else [value]


def _group_by(given: object) -> GroupBy:
    if not isinstance(given, dict):
        return GroupBy(parse_path(given, "group_by"))
    path = parse_path(given.get("property_name", given.get("property")), "group_by's property_name")
    buckets = given.get("buckets")
    size = buckets.get("size") if isinstance(buckets, dict) else given.get("size")
    if buckets is not None and size is None:
        raise _not_buckets(f"{shown(buckets)} has no size")
    ranges = given.get("ranges")
    if (size is None) == (ranges is None):
        raise _not_buckets(f"{shown(given)} must have either a size or ranges")
    if ranges is not None:
        if not isinstance(ranges, list) or not 0 < len(ranges) <= MAX_RANGES:
            raise _not_buckets(f"ranges must be a list of 1 to {MAX_RANGES} ranges, not {shown(ranges)}")
        return GroupBy(path, ranges=tuple(_one_range(one) for one in ranges))
    number = _number(size)
    if number is None or number <= 0:
        raise _not_buckets(f"the size {shown(size)} is not a number above 0")
    return GroupBy(path, size=number)


def _one_range(given: object) -> Range:
    if not isinstance(given, dict):
        raise _not_buckets(f"a range is an object with from, to or both, not {shown(given)}")
    start, end = (None if given.get(name) is None else _number(given[name]) for name in ("from", "to"))
    bad = [name for name, bound in (("from", start), ("to", end)) if bound is None and given.get(name) is not None]
    if bad:
        raise _not_buckets(f"{bad[0]} {shown(given[bad[0]])} is not a number")
    if (start is None and end is None) or (start is not None and end is not None and start >= end):
        raise _not_buckets(f"the range {shown(given)} holds nothing or everything: from must be less than to")
    return Range(start, end)


def _number(value: object) -> Number | None:
    """A finite number of at most 64 bits."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 2**63:
        return None
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _not_buckets(what: str) -> QueryError:
    return wrong(
        "group_by",
        f"{what}; give a property's name, {{'property_name': 'price', 'buckets': {{'size': 10}}}}, "
        "or {'property_name': 'price', 'ranges': [{'to': 10}, {'from': 10, 'to': 20}]}",
    )


def _multiple(index: int, size: Number) -> Number:
    """The lower bound of a bucket, in the decimals of the size: three times 0.1 is 0.3."""
    bound = index * Fraction(str(size))
    return int(bound) if bound.denominator == 1 else float(bound)


def _bucket(prop: Property, size: Number, parameters: Parameters) -> list[KeyPart]:
    """Which multiple of the size a number is at or above. Integers exactly; a float that is a hair below a bound by the
    division's own error is at it."""
    columns = []
    divisor = parameters.real(float(size))

    def floored(quotient: str) -> str:
        return f"accurateCastOrNull(floor(round({quotient}, 9)), 'Int64')"

    if prop.integer and isinstance(size, int):
        whole = parameters.integer(size)
        columns.append(f"intDiv({prop.integer}, {whole}) - ({prop.integer} < 0 and {prop.integer} % {whole} != 0)")
    elif prop.integer:
        columns.append(floored(f"toFloat64({prop.integer}) / {divisor}"))
    if prop.real:
        columns.append(floored(f"{prop.real} / {divisor}"))
    return [KeyPart("integer", f"coalesce({', '.join(columns)})")] if columns else []


def _range(prop: Property, ranges: tuple[Range, ...], parameters: Parameters) -> list[KeyPart]:
    """The first range that a number is in."""
    columns = [column for column in (prop.integer, prop.real) if column]
    if not columns:
        return []
    branches = []
    for index, one in enumerate(ranges):
        inside = []
        for column in columns:
            tests = [] if one.start is None else [f"{column} >= {parameters.number(one.start)}"]
            tests += [] if one.end is None else [f"{column} < {parameters.number(one.end)}"]
            inside.append(f"ifNull({' and '.join(tests)}, 0)")
        branches.append(f"{' or '.join(inside)}, {index}")
    return [KeyPart("integer", f"multiIf({', '.join(branches)}, CAST(NULL, 'Nullable(Int64)'))")]
