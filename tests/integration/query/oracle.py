"""An independent answer to every query: plain Python over the events themselves, pandas for the figures."""

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

Event = dict[str, Any]  # as tests.querying.event makes it

TIMES = {"keen.timestamp": "timestamp", "keen.created_at": "received_at"}
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
}


def iso(milliseconds: int) -> str:
    return pd.Timestamp(milliseconds, unit="ms", tz="UTC").isoformat(timespec="milliseconds").replace("+00:00", "Z")


def value_of(event: Event, path: str) -> Any:
    """What an event has at a path; None where it has nothing. An empty object is nothing, as in the engine."""
    if path in TIMES:
        return iso(event[TIMES[path]])
    if path == "keen.id":
        return event["id"]
    value: Any = event["properties"]
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value if not isinstance(value, dict) or any(_leaves(value)) else None


def _leaves(value: dict[str, Any]) -> Iterable[bool]:
    for inner in value.values():
        if isinstance(inner, dict):
            yield from _leaves(inner)
        elif inner is not None:
            yield True


def kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return type(value).__name__


def same(a: Any, b: Any) -> bool:
    return kind(a) == kind(b) and bool(a == b)


def matches(one: dict[str, Any], event: Event) -> bool:
    """Whether an event passes a filter."""
    operator = one["operator"]
    if operator == "or":
        return any(matches(operand, event) for operand in one["operands"])
    value, wanted = value_of(event, one["property_name"]), one["property_value"]
    if operator == "exists":
        return (value is not None) == wanted
    if operator == "ne":
        return not matches(one | {"operator": "eq"}, event)
    if operator == "not_contains":
        return not matches(one | {"operator": "contains"}, event)
    members = value if isinstance(value, list) else []
    if operator == "eq":
        return same(value, wanted) or any(same(member, wanted) for member in members if wanted is not None)
    if operator == "in":
        return any(matches(one | {"operator": "eq", "property_value": each}, event) for each in wanted)
    if operator == "contains":
        inside = isinstance(value, str) and isinstance(wanted, str) and wanted in value
        return inside or any(same(member, wanted) for member in members)
    if operator == "regex":
        return isinstance(value, str) and re.search(wanted, value) is not None
    return kind(value) == kind(wanted) and COMPARE[operator](value, wanted)


def analysed(analysis: str, path: str | None, percentile: float | None, events: list[Event]) -> Any:
    """The result of an analysis over events."""
    if path is None:
        return len(events)
    values = [value for event in events if (value := value_of(event, path)) is not None]
    if analysis in ("count_unique", "select_unique"):
        unique = {group_key(value): plain(value) for value in values if not isinstance(value, dict)}
        return len(unique) if analysis == "count_unique" else sorted(unique.items(), key=lambda item: item[0])
    numbers = [value for value in values if kind(value) == "number"]
    if analysis == "sum":
        whole = sum(n for n in numbers if isinstance(n, int))
        return whole + math.fsum(n for n in numbers if isinstance(n, float))
    if not numbers:
        return None
    if analysis in ("minimum", "maximum"):
        return min(numbers) if analysis == "minimum" else max(numbers)
    if analysis in ("median", "percentile"):
        rank = math.ceil((50 if analysis == "median" else percentile or 0) * len(numbers) / 100 - 1e-9)
        found = sorted(numbers)[rank - 1]
        return found if abs(found) < 2**53 else float(found)  # beyond it, integers beside floats are rounded
    series = pd.Series([float(n) for n in numbers])
    figure = series.mean() if analysis == "average" else series.std()
    return None if math.isnan(figure) else figure


def plain(value: Any) -> Any:
    """A value as JSON compares it: whole floats are integers."""
    if isinstance(value, list):
        return [plain(member) for member in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def group_key(value: Any) -> tuple[int, Any]:
    """A group key with its rank: null, booleans, numbers, strings, lists."""
    if value is None or isinstance(value, dict):
        return (0, 0)
    if isinstance(value, list):
        return (4, repr(plain(value)))
    rank = {"boolean": 1, "number": 2, "str": 3}[kind(value)]
    return (rank, value)


def grouped(events: list[Event], paths: list[str]) -> dict[tuple[Any, ...], list[Event]]:
    """The events by their group keys."""
    groups: dict[tuple[Any, ...], list[Event]] = {}
    for event in events:
        groups.setdefault(tuple(group_key(value_of(event, path)) for path in paths), []).append(event)
    return groups


def bucket_starts(events: list[Event], unit: str, zone: str) -> list[pd.Timestamp]:
    """Where the natural unit of each event begins in a zone, by pandas."""
    local = pd.DatetimeIndex(pd.to_datetime([event["timestamp"] for event in events], unit="ms", utc=True)).tz_convert(
        zone
    )
    if unit == "hour":
        return list(local.tz_convert("UTC").floor("h").tz_convert(zone))  # zones of whole hours only
    days = local.normalize()
    if unit == "day":
        return list(days)
    naive = days.tz_localize(None)
    if unit == "week":
        naive = naive - pd.to_timedelta((naive.day_of_week + 1) % 7, unit="D")
    elif unit == "month":
        naive = naive.to_period("M").to_timestamp()
    else:
        naive = naive.to_period("Y").to_timestamp()
    return list(naive.tz_localize(zone))
