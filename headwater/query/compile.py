"""A definition as one SQL statement with its parameters, and what is needed to shape the rows that it gives."""

from dataclasses import dataclass

from headwater.query.analyses import Aggregate, aggregate
from headwater.query.conditions import condition_sql
from headwater.query.definition import RESULT, Definition
from headwater.query.intervals import buckets
from headwater.query.ordering import key_order_sql
from headwater.query.parameters import Parameters
from headwater.query.paths import Path, quoted
from headwater.query.properties import KeyPart, Property, Types, property_of
from headwater.query.timeframe import Timeframe


@dataclass(frozen=True)
class GroupKey:
    """One property of group_by: its name, and its parts with the names of their columns."""

    name: str
    parts: list[tuple[KeyPart, str]]


@dataclass(frozen=True)
class Plan:
    """A statement whose rows are JSON arrays: [bucket,] key parts..., aggregate columns...

    For extractions: timestamp, received_at, id, properties (or the parts of each property asked for).
    """

    definition: Definition
    sql: str
    parameters: dict[str, object]
    buckets: list[Timeframe]
    bucket_of: dict[int, int]  # what the bucket column says -> index in `buckets`
    keys: list[GroupKey]
    aggregate: Aggregate | None


def compile_extraction(definition: Definition, database: str, types: Types | None, max_events: int) -> Plan:
    """The plan of an extraction. Asks for one event more than `max_events`, to know whether there are more."""
    parameters = Parameters()
    limit = min(definition.latest or max_events + 1, max_events + 1)
    direction = "DESC" if definition.latest else "ASC"
    sql = (
        "SELECT toUnixTimestamp64Milli(timestamp), toUnixTimestamp64Milli(received_at), id, properties"  # noqa: S608 - names are quoted, values are parameters
        f" FROM {_source(definition, database, _Properties(types), parameters)}"
        f" ORDER BY timestamp {direction}, id {direction} LIMIT {limit}"
    )
    return Plan(definition, sql, parameters.values, [], {}, [], None)


def compile_query(definition: Definition, database: str, types: Types | None) -> Plan:
    """The plan of any other analysis over a database.

    `types`: the types that occur under every path that the definition names, or None where they are not known; the
    statement is right only while no others occur. Raises QueryError where there are too many intervals.
    """
    parameters, properties = Parameters(), _Properties(types)
    source = _source(definition, database, properties, parameters)
    spans: list[Timeframe] = []
    bucket_of: dict[int, int] = {}
    columns, grouped = [], []
    if definition.interval and definition.timeframe:
        spans = buckets(definition.timeframe, definition.interval, definition.zone)
        sql, bucket_of = _bucket(spans)
        columns.append(f"{sql} AS bucket")
        grouped.append("bucket")
    keys = []
    for i, path in enumerate(definition.group_by):
        parts = [(part, f"key_{i}_{part.kind}") for part in properties[path].key_parts]
        keys.append(GroupKey(path.name, parts))
        columns += [f"{part.sql} AS {name}" for part, name in parts]
        grouped += [name for _, name in parts]
    aggregates = aggregate(definition, properties[definition.target] if definition.target else None)
    columns += aggregates.columns
    group = f" GROUP BY {', '.join(grouped)}" if grouped else ""
    tail = _limited(definition, keys, aggregates) if grouped else ""
    if definition.group_by and not grouped:
        tail = " HAVING count() > 0"  # a group whose key is null, where no property has a value
    sql = f"SELECT {', '.join(columns)} FROM {source}{group}{tail}"  # noqa: S608 - as above
    return Plan(definition, sql, parameters.values, spans, bucket_of, keys, aggregates)


class _Properties(dict[Path, Property]):
    """The expressions of each path, made when first needed."""

    def __init__(self, types: Types | None) -> None:
        super().__init__()
        self._types = types

    def __missing__(self, path: Path) -> Property:
        found = self[path] = property_of(path, self._types)
        return found


def _source(definition: Definition, database: str, properties: _Properties, parameters: Parameters) -> str:
    """The table without its duplicates, and the conditions."""
    tests = _timeframe(definition.timeframe, parameters)
    tests += [condition_sql(one, properties.__getitem__, parameters) for one in definition.filters]
    where = f" WHERE {' AND '.join(tests)}" if tests else ""
    return f"{quoted(database)}.{quoted(definition.collection)} FINAL{where}"


def _timeframe(timeframe: Timeframe | None, parameters: Parameters) -> list[str]:
    if timeframe is None:
        return []
    return [
        f"timestamp >= {parameters.instant(timeframe.start)}",
        f"timestamp < {parameters.instant(timeframe.end)}",
    ]


def _bucket(spans: list[Timeframe]) -> tuple[str, dict[int, int]]:
    """The SQL of an event's bucket, and which of the buckets its values are."""
    milliseconds = "toUnixTimestamp64Milli(timestamp)"
    lengths = {span.end - span.start for span in spans[1:-1]}
    if len(spans) > 2 and len(lengths) == 1:
        # Equal but for the clipped ones: count lengths back from the beginning of the second.
        (length,) = lengths
        origin = spans[1].start - length
        if spans[0].start >= origin and spans[-1].end <= spans[-1].start + length:
            return f"intDiv({milliseconds} - ({origin}), {length})", {i: i for i in range(len(spans))}
    starts = ", ".join(str(span.start) for span in spans)
    return f"roundDown({milliseconds}, [{starts}])", {span.start: i for i, span in enumerate(spans)}


def _limited(definition: Definition, keys: list[GroupKey], aggregates: Aggregate) -> str:
    """ORDER BY and LIMIT, where the engine can leave out groups that no answer shows.

    With intervals and zero fill every group is in every bucket, so there the limit is applied to the shaped answer.
    """
    if not definition.limit or (definition.interval and definition.zero_fill):
        return ""
    parts = {key.name: key.parts for key in keys}
    orders: list[str] = []
    for one in definition.order_by:
        if one.name == RESULT:
            direction = "DESC NULLS LAST" if one.descending else "ASC NULLS LAST"
            orders += [f"{sql} {direction}" for sql in aggregates.order]
        else:
            orders += key_order_sql(parts[one.name], one.descending)
    for key in keys:
        orders += key_order_sql(key.parts)
    by = " BY bucket" if definition.interval else ""
    order = f" ORDER BY {', '.join(orders)}" if orders else ""
    return f"{order} LIMIT {definition.limit}{by}"
