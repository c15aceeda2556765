"""Where a statement reads: a collection's table without its duplicates, its events chosen by time and filters."""

from headwater.query.conditions import condition_sql
from headwater.query.filters import Filter
from headwater.query.parameters import Parameters
from headwater.query.paths import Path, quoted
from headwater.query.properties import Property, Types, property_of
from headwater.query.timeframe import Timeframe


class Properties(dict[Path, Property]):
    """The expressions of each path of a table, made when first needed."""

    def __init__(self, types: Types | None) -> None:
        """`types`: what is known to occur in the table, None where nothing is known."""
        super().__init__()
        self._types = types

    def __missing__(self, path: Path) -> Property:
        found = self[path] = property_of(path, self._types)
        return found


def table_sql(database: str, collection: str) -> str:
    """A collection's table, each event once."""
    return f"{quoted(database)}.{quoted(collection)} FINAL"


def tests_sql(
    timeframe: Timeframe | None, filters: tuple[Filter, ...], properties: Properties, parameters: Parameters
) -> list[str]:
    """The conditions, all of which an event must meet."""
    tests = []
    if timeframe is not None:
        tests.append(f"timestamp >= {parameters.instant(timeframe.start)}")
        tests.append(f"timestamp < {parameters.instant(timeframe.end)}")
    return tests + [condition_sql(one, properties.__getitem__, parameters) for one in filters]
