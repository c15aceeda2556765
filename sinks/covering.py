"""Which records a deletion covers, and what SQL leaves of them. `headwater.deleted` says which rows it is about."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import groupby

from confluent_kafka import Message

from headwater.control import Deletion
from headwater.deleted import about_sql
from headwater.query.parameters import Parameters
from headwater.query.paths import Path

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
