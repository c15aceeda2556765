"""Statements about what actors did: events of one or several collections, brought together by the value that says who acted.

A value is the same actor in every collection and under every property, with its type: 1 and 1.0 are one, 1 and "1" are two.
Events without a value have no actor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headwater.query.analyses import decoded
from headwater.query.deeds import Deed
from headwater.query.parameters import Parameters
from headwater.query.paths import Path
from headwater.query.properties import KeyPart, Types
from headwater.query.sources import Properties, table_sql, tests_sql

_SQL_TYPES = {"integer": "Int64", "real": "Float64", "text": "String", "boolean": "Bool", "array": "String"}
_MILLISECONDS = "toUnixTimestamp64Milli(timestamp)"


@dataclass(frozen=True)
class Actors:
    """SQL of the events of several deeds: a row for each event, with the actor's columns, `at` (milliseconds), and `did`, in
    which bit k is set where the event is deed k. Empty `sql` where there can be none."""

    sql: str
    parts: list[KeyPart]  # the actor's columns; the SQL of each is its name

    @property
    def columns(self) -> str:
        """The actor's columns, to select or group by."""
        return ", ".join(part.sql for part in self.parts)

    def value(self, columns: Sequence[Any]) -> Any:
        """The actor from its columns."""
        for part, value in zip(self.parts, columns, strict=True):
            if value is not None:
                return decoded(part, value)
        return None


def actors_sql(
    deeds: Sequence[Deed], database: str, types: Mapping[str, Types | None], parameters: Parameters
) -> Actors:
    """The events of all deeds. `types` has the collections that have a table: the others' events are none."""
    sources: dict[tuple[str, Path], list[int]] = {}
    for index, deed in enumerate(deeds):
        if deed.collection in types:
            sources.setdefault((deed.collection, deed.actor), []).append(index)
    properties = {collection: Properties(known) for collection, known in types.items()}
    parts = {source: {part.kind: part.sql for part in properties[source[0]][source[1]].key_parts} for source in sources}
    kinds = [kind for kind in _SQL_TYPES if any(kind in each for each in parts.values())]
    if not kinds:
        return Actors("", [])
    selects = []
    for (collection, actor), indexes in sources.items():
        if not parts[collection, actor]:
            continue
        columns = [
            f"{parts[collection, actor].get(kind, 'NULL')}::Nullable({_SQL_TYPES[kind]}) AS actor_{kind}"
            for kind in kinds
        ]
        bits, tests = [], []
        for index in indexes:
            deed = deeds[index]
            conditions = tests_sql(deed.timeframe, deed.filters, properties[collection], parameters)
            test = " AND ".join(conditions) or "1"
            bits.append(f"if({test}, {1 << index}, 0)")
            tests.append(f"({test})")
        known = " OR ".join(f"isNotNull(actor_{kind})" for kind in kinds)
        selects.append(
            f"SELECT {', '.join(columns)}, {_MILLISECONDS} AS at, toUInt64({' + '.join(bits)}) AS did"  # noqa: S608 - names are quoted, values are parameters
            f" FROM {table_sql(database, collection)} WHERE ({known}) AND ({' OR '.join(tests)})"
        )
    return Actors(" UNION ALL ".join(selects), [KeyPart(kind, f"actor_{kind}") for kind in kinds])
