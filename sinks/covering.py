"""Which records a deletion covers, and what SQL says of the rows that it is about.

Filters and timeframes are read and compiled as those of queries are, for any types that values may have: a deletion finds
what a query with the same filters shows.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import UTC
from itertools import groupby

from confluent_kafka import Message

from headwater.control import Deletion
from headwater.query.conditions import condition_sql
from headwater.query.filters import parse_filters
from headwater.query.parameters import Parameters
from headwater.query.paths import Path
from headwater.query.properties import property_of
from headwater.query.timeframe import parse_timeframe

Applying = tuple[Deletion, ...]


def by_deletions(
    deletions: Applying, records: Sequence[Message], accepted_at: Callable[[Message], int]
) -> dict[Applying, list[Message]]:
    """Records by the deletions that cover them. `deletions` are in the order of their instants, `accepted_at` says when a
    record was received or processed, whichever was first."""
    if not deletions:
        return {(): list(records)}
    instants = [deletion.deleted_at for deletion in deletions]
    groups: dict[int, list[Message]] = {}
    for record in records:
        groups.setdefault(bisect_left(instants, accepted_at(record)), []).append(record)
    return {deletions[first:]: group for first, group in groups.items()}


def covered_sql(deletion: Deletion, parameters: Parameters) -> str:
    """The condition that a row was received or processed up to the deletion."""
    return f"least(received_at, processed_at) <= {parameters.instant(deletion.deleted_at)}"


def about_sql(deletion: Deletion, parameters: Parameters) -> str:
    """The condition that the deletion is about a row: it passes the filters, or it has the property."""
    if deletion.property_name is not None:
        return property_of(Path(deletion.property_name), None).present
    tests = []
    if deletion.timeframe is not None:
        span = parse_timeframe(dict(deletion.timeframe), UTC, 0)
        tests = [
            f"timestamp >= {parameters.instant(span.start)}",
            f"timestamp < {parameters.instant(span.end)}",
        ]
    filters = parse_filters([dict(one) for one in deletion.filters])
    tests += [condition_sql(one, lambda path: property_of(path, None), parameters) for one in filters]
    return f"({' AND '.join(tests)})" if tests else "1"


def without_property_sql(*names: str) -> str:
    """The properties without some of them, and without what is below those."""
    return f"properties::JSON({', '.join(f'SKIP {_skipped(name)}' for name in names)})::JSON"


def left_sql(source: str, deletions: Applying, parameters: Parameters) -> str:
    """The rows of `source` (a SELECT of a table's columns) that covering deletions leave, done one after the other.

    None of the deletions is of a whole collection: of that nothing is left.
    """
    for of_property, run in groupby(deletions, lambda one: one.property_name is not None):
        if of_property:
            names = sorted({one.property_name for one in run if one.property_name is not None})
            source = (
                f"SELECT id, timestamp, received_at, processed_at, {without_property_sql(*names)} AS properties "  # noqa: S608 - names are quoted
                f"FROM ({source})"
            )
        else:
            tests = " AND ".join(f"NOT {about_sql(one, parameters)}" for one in run)
            source = f"SELECT id, timestamp, received_at, processed_at, properties FROM ({source}) WHERE {tests}"  # noqa: S608 - values are parameters
    return source


def _skipped(name: str) -> str:
    return Path(name).sql.removeprefix("properties.")
