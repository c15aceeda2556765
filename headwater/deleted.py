"""What SQL says of the rows that a deletion is about.

Filters and timeframes are read and compiled as those of queries are, for any types that values may have: a deletion finds
what a query with the same filters shows.
"""

from datetime import UTC

from headwater.control import Deletion
from headwater.query.conditions import condition_sql
from headwater.query.filters import parse_filters
from headwater.query.parameters import Parameters
from headwater.query.paths import Path
from headwater.query.properties import property_of
from headwater.query.timeframe import parse_timeframe


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
