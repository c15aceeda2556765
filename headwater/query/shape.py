"""Rows into answers: Keen's shapes, as reference keen-api section 6.2 lists them."""

from collections.abc import Iterable, Sequence
from datetime import UTC, tzinfo
from itertools import pairwise
from typing import Any

from headwater.query.compile import GroupKey, Plan
from headwater.query.grouping import RESULT
from headwater.query.ordering import result_rank
from headwater.query.paths import Path
from headwater.query.timeframe import Timeframe
from headwater.query.zones import iso

Row = Sequence[Any]


def shape(plan: Plan, rows: Iterable[Row]) -> Any:
    """The answer of a plan: a figure, a list of groups, of buckets, or of buckets of groups.

    The figures of a multi_analysis are an object by label where others have one value.
    """
    definition = plan.definition
    if definition.interval:
        return _series(plan, rows)
    if definition.group_by:
        return _ordered(plan, [_group(plan, row) for row in rows])
    results = [_figures(plan, row) for row in rows]
    return _value(plan, results[0] if results else _nothing(plan))


def _series(plan: Plan, rows: Iterable[Row]) -> list[dict[str, Any]]:
    definition = plan.definition
    if not definition.group_by:
        values = {plan.bucket_of[row[0]]: _figures(plan, row[1:]) for row in rows}
        results = [_value(plan, values.get(i) or _nothing(plan)) for i in range(len(plan.buckets))]
        return _buckets(plan, results)
    groups: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(plan.bucket_of[row[0]], []).append(_group(plan, row[1:]))
    if definition.zero_fill:
        _zero_fill(plan, groups)
    return _buckets(plan, [_ordered(plan, groups.get(i, [])) for i in range(len(plan.buckets))])


def _zero_fill(plan: Plan, groups: dict[int, list[dict[str, Any]]]) -> None:
    """Every group of any bucket into every bucket, with the results over nothing."""
    every = {_identity(plan, group): group for bucket in groups.values() for group in bucket}
    for i in range(len(plan.buckets)):
        bucket = groups.setdefault(i, [])
        have = {_identity(plan, group) for group in bucket}
        bucket += [group | _nothing(plan) for identity, group in every.items() if identity not in have]


def _identity(plan: Plan, group: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(key.rank(group[key.name]) for key in plan.keys)


def _buckets(plan: Plan, values: list[Any]) -> list[dict[str, Any]]:
    """A value for each bucket; one begins where the one before ends, so that each bound is written once."""
    zone = plan.definition.zone
    bounds = [iso(bucket.start, zone) for bucket in plan.buckets]
    bounds.append(iso(plan.buckets[-1].end, zone))
    return [
        {"value": value, "timeframe": {"start": start, "end": end}}
        for value, (start, end) in zip(values, pairwise(bounds), strict=True)
    ]


def span(timeframe: Timeframe, zone: tzinfo) -> dict[str, str]:
    """A span of time as answers write it."""
    return {"start": iso(timeframe.start, zone), "end": iso(timeframe.end, zone)}


def _group(plan: Plan, row: Row) -> dict[str, Any]:
    group: dict[str, Any] = {}
    position = 0
    for key in plan.keys:
        following = position + len(key.parts)
        group[key.name] = key.value(row[position:following])
        position = following
    return group | _figures(plan, row[position:])


def _figures(plan: Plan, columns: Row) -> dict[str, Any]:
    """The results by label, of the columns after bucket and keys."""
    figures: dict[str, Any] = {}
    position = 0
    for label, one in plan.aggregates.items():
        following = position + len(one.columns)
        figures[label] = one.finish(columns[position:following])
        position = following
    return figures


def _nothing(plan: Plan) -> dict[str, Any]:
    """The results over no events."""
    return {label: [] if one.empty == [] else one.empty for label, one in plan.aggregates.items()}


def _value(plan: Plan, figures: dict[str, Any]) -> Any:
    return figures if plan.definition.analysis == "multi_analysis" else figures[RESULT]


def _ordered(plan: Plan, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """In the order asked for, ties (and everything, where no order is asked for) by the group keys; limited."""
    definition = plan.definition
    keys = {key.name: key for key in plan.keys}
    groups.sort(key=lambda group: _identity(plan, group))
    for one in reversed(definition.order_by):
        if one.name in keys:
            _sort_by_key(groups, keys[one.name], one.descending)
        else:
            _sort_by_result(groups, one.name, one.descending)
    return groups[: definition.limit] if definition.limit else groups


def _sort_by_key(groups: list[dict[str, Any]], key: GroupKey, descending: bool) -> None:
    groups.sort(key=lambda group: key.rank(group[key.name]), reverse=descending)


def _sort_by_result(groups: list[dict[str, Any]], label: str, descending: bool) -> None:
    groups.sort(key=lambda group: result_rank(group[label], descending))


def event(row: Row, names: tuple[Path, ...]) -> dict[str, Any]:
    """One event of an extraction: whole, or with the named properties only."""
    timestamp, received_at, event_id, properties = row
    keen = {"timestamp": iso(timestamp, UTC), "created_at": iso(received_at, UTC), "id": event_id}
    kept = properties.get("keen")
    whole: dict[str, Any] = properties | {"keen": (kept | keen) if isinstance(kept, dict) else keen}
    if not names:
        return whole
    chosen: dict[str, Any] = {}
    for path in names:
        value: Any = whole
        for key in path.keys:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            place = chosen
            for key in path.keys[:-1]:
                place = place.setdefault(key, {})
            place[path.keys[-1]] = value
    return chosen
