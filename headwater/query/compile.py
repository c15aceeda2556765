"""A definition as one SQL statement with its parameters, and what is needed to shape the rows that it gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headwater.query.analyses import Aggregate, aggregate, decoded
from headwater.query.definition import Definition
from headwater.query.grouping import GroupBy
from headwater.query.intervals import buckets
from headwater.query.ordering import key_order_sql, key_rank
from headwater.query.parameters import Parameters
from headwater.query.properties import KeyPart, Types
from headwater.query.sources import Properties, table_sql, tests_sql
from headwater.query.timeframe import Timeframe


@dataclass(frozen=True)
class GroupKey:
    """One key of the groups: what it groups by, and its parts with the names of their columns."""

    group_by: GroupBy
    parts: list[tuple[KeyPart, str]]

    @property
    def name(self) -> str:
        """What answers call the key."""
        return self.group_by.name

    def value(self, columns: Sequence[Any]) -> Any:
        """The key's value from its columns, one for each part."""
        decode = self.group_by.decode
        for (part, _), value in zip(self.parts, columns, strict=True):
            if value is not None:
                return decode(value) if decode else decoded(part, value)
        return None

    def rank(self, value: Any) -> tuple[Any, ...]:
        """What to sort a value by."""
        position = self.group_by.position(value)
        return key_rank(value if position is None else position)


@dataclass(frozen=True)
class Plan:
    """A statement whose rows are JSON arrays: [bucket,] key parts..., columns of each aggregate...

    For extractions: timestamp, received_at, id, properties.
    """

    definition: Definition
    sql: str
    parameters: dict[str, object]
    buckets: list[Timeframe]
    bucket_of: dict[int, int]  # what the bucket column says -> index in `buckets`
    keys: list[GroupKey]
    aggregates: dict[str, Aggregate]  # by label


def compile_extraction(
    definition: Definition, database: str, types: Types | None, max_events: int, *, by_key: bool = False
) -> Plan:
    """The plan of an extraction, of at most `max_events`. `types` as for `compile_query`.

    `by_key` finds the events' keys first, and then reads those events only: for filters that few events pass, since whole events are
    most of what a table holds.
    """
    parameters = Parameters()
    limit = min(definition.latest or max_events, max_events)
    direction = "DESC" if definition.latest else "ASC"
    order = f" ORDER BY timestamp {direction}, id {direction} LIMIT {limit}"
    table = table_sql(database, definition.collection)
    where = _where(definition, Properties(types), parameters)
    # PREWHERE, which comes before duplicates are folded, may look at keys: an event's copies have the same.
    keys = f" PREWHERE (timestamp, id) IN (SELECT timestamp, id FROM {table}{where}{order})" if by_key else ""  # noqa: S608 - names are quoted, values are parameters
    sql = (
        "SELECT toUnixTimestamp64Milli(timestamp), toUnixTimestamp64Milli(received_at), id, properties"  # noqa: S608 - as above
        f" FROM {table}{keys}{where}{order}"
    )
    return Plan(definition, sql, parameters.values, [], {}, [], {})


def compile_query(definition: Definition, database: str, types: Types | None) -> Plan:
    """The plan of any other analysis over a database.

    `types`: the types that occur under every path that the definition names, or None where they are not known; the
    statement is right only while no others occur. Raises QueryError where there are too many intervals.
    """
    parameters, properties = Parameters(), Properties(types)
    where = _where(definition, properties, parameters)
    spans: list[Timeframe] = []
    bucket_of: dict[int, int] = {}
    columns, grouped = [], []
    if definition.interval and definition.timeframe:
        spans = buckets(definition.timeframe, definition.interval, definition.zone)
        sql, bucket_of = _bucket(spans)
        columns.append(f"{sql} AS bucket")
        grouped.append("bucket")
    keys = []
    for i, key in enumerate(definition.group_by):
        parts = [(part, f"key_{i}_{part.kind}") for part in key.key_parts(properties[key.path], parameters)]
        keys.append(GroupKey(key, parts))
        columns += [f"{part.sql} AS {name}" for part, name in parts]
        grouped += [name for _, name in parts]
    aggregates = {
        measure.label: aggregate(measure, properties[measure.target] if measure.target else None)
        for measure in definition.measures
    }
    columns += [column for one in aggregates.values() for column in one.columns]
    group = f" GROUP BY {', '.join(grouped)}" if grouped else ""
    tail = _limited(definition, keys, aggregates) if grouped else ""
    if definition.group_by and not grouped:
        tail = " HAVING count() > 0"  # a group whose key is null, where no property has a value
    source = table_sql(database, definition.collection)
    sql = f"SELECT {', '.join(columns)} FROM {source}{where}{group}{tail}"  # noqa: S608 - as above
    return Plan(definition, sql, parameters.values, spans, bucket_of, keys, aggregates)


def compile_survey(definition: Definition, database: str, types: Types | None, *, columns: bool) -> Plan:
    """The plan of the question what an extraction would give: one row with how many events and, where `columns` are wanted, the
    paths of their properties. `types` as for `compile_query`."""
    parameters = Parameters()
    where = _where(definition, Properties(types), parameters)
    paths = "arraySort(distinctJSONPaths(properties))" if columns else "[]"
    sql = f"SELECT count(), {paths} FROM {table_sql(database, definition.collection)}{where}"  # noqa: S608 - as above
    return Plan(definition, sql, parameters.values, [], {}, [], {})


def _where(definition: Definition, properties: Properties, parameters: Parameters) -> str:
    """The conditions of a definition."""
    tests = tests_sql(definition.timeframe, definition.filters, properties, parameters)
    return f" WHERE {' AND '.join(tests)}" if tests else ""


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


def _limited(definition: Definition, keys: list[GroupKey], aggregates: dict[str, Aggregate]) -> str:
    """ORDER BY and LIMIT, where the engine can leave out groups that no answer shows.

    With intervals and zero fill every group is in every bucket, so there the limit is applied to the shaped answer.
    """
    if not definition.limit or (definition.interval and definition.zero_fill):
        return ""
    parts = {key.name: key.parts for key in keys}
    orders: list[str] = []
    for one in definition.order_by:
        if one.name in aggregates:
            direction = "DESC NULLS LAST" if one.descending else "ASC NULLS LAST"
            orders += [f"{sql} {direction}" for sql in aggregates[one.name].order]
        else:
            orders += key_order_sql(parts[one.name], one.descending)
    for key in keys:
        orders += key_order_sql(key.parts)
    by = " BY bucket" if definition.interval else ""
    order = f" ORDER BY {', '.join(orders)}" if orders else ""
    return f"{order} LIMIT {definition.limit}{by}"
