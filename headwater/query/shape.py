"""Rows into answers: Keen's shapes, as reference keen-api section 6.2 lists them."""

from collections.abc import Iterable, Sequence
from datetime import UTC
from typing import Any

from headwater.query.analyses import decoded
from headwater.query.compile import Plan
from headwater.query.definition import RESULT, Definition
from headwater.query.ordering import key_rank, result_rank
from headwater.query.paths import Path
from headwater.query.zones import iso

Row = Sequence[Any]


def shape(plan: Plan, rows: Iterable[Row]) -> Any:
    """The answer of a plan: a number, a list of groups, of buckets, or of buckets of groups."""
    definition = plan.definition
    assert plan.aggregate is not None
    if definition.interval:
        return _series(plan, rows)
    if definition.group_by:
        return _ordered(definition, [_group(plan, row, 0) for row in rows])
    results = [plan.aggregate.finish(row) for row in rows]
    return results[0] if results else _empty(plan)


def _series(plan: Plan, rows: Iterable[Row]) -> list[dict[str, Any]]:
    definition, finish = plan.definition, plan.aggregate
    assert finish is not None
    if not definition.group_by:
        values = {plan.bucket_of[row[0]]: finish.finish(row[1:]) for row in rows}
        return [_bucket(plan, i, values[i] if i in values else _empty(plan)) for i in range(len(plan.buckets))]
    groups: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(plan.bucket_of[row[0]], []).append(_group(plan, row, 1))
    if definition.zero_fill:
        _zero_fill(plan, groups)
    return [_bucket(plan, i, _ordered(definition, groups.get(i, []))) for i in range(len(plan.buckets))]


def _zero_fill(plan: Plan, groups: dict[int, list[dict[str, Any]]]) -> None:
    """Every group of any bucket into every bucket, with the result over nothing."""
    names = [key.name for key in plan.keys]
    every = {_identity(group, names): group for bucket in groups.values() for group in bucket}
    for i in range(len(plan.buckets)):
        bucket = groups.setdefault(i, [])
        have = {_identity(group, names) for group in bucket}
        bucket += [group | {RESULT: _empty(plan)} for identity, group in every.items() if identity not in have]


def _identity(group: dict[str, Any], names: list[str]) -> tuple[Any, ...]:
    return tuple(key_rank(group[name]) for name in names)


def _bucket(plan: Plan, index: int, value: Any) -> dict[str, Any]:
    span, zone = plan.buckets[index], plan.definition.zone
    return {"value": value, "timeframe": {"start": iso(span.start, zone), "end": iso(span.end, zone)}}


def _group(plan: Plan, row: Row, position: int) -> dict[str, Any]:
    group: dict[str, Any] = {}
    for key in plan.keys:
        group[key.name] = None
        for part, _ in key.parts:
            if row[position] is not None:
                group[key.name] = decoded(part, row[position])
            position += 1
    assert plan.aggregate is not None
    group[RESULT] = plan.aggregate.finish(row[position:])
    return group


def _ordered(definition: Definition, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """In the order asked for, ties (and everything, where no order is asked for) by the group keys; limited."""
    names = [path.name for path in definition.group_by]
    groups.sort(key=lambda group: _identity(group, names))
    for one in reversed(definition.order_by):
        if one.name == RESULT:
            descending = one.descending
            groups.sort(key=lambda group: result_rank(group[RESULT], descending))
        else:
            name = one.name
            groups.sort(key=lambda group: key_rank(group[name]), reverse=one.descending)
    return groups[: definition.limit] if definition.limit else groups


def _empty(plan: Plan) -> Any:
    assert plan.aggregate is not None
    return [] if plan.aggregate.empty == [] else plan.aggregate.empty


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
