"""Which types occur under a table's paths, asked of each part of the table once.

A statement that reads only the types that occur takes a half to a quarter of the time, but is right only while no others
do. A part of a table never changes, so what was found in one stays true. A statement is made from what is remembered, and after
it the parts that are new, few and small, are asked: where they have other types, the statement is repeated without what was known.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error

from headwater.query.parameters import Parameters
from headwater.query.paths import Path, quoted
from headwater.query.properties import OBJECT, Types

MIN_ROWS = 100_000  # smaller tables are quick either way
MAX_TABLES = 1_000
MAX_PATHS = 1_000  # of one part; there are no more unless somebody makes names up
FORMAT = "JSONCompactEachRow"
# Replicas have parts of their own names, and the next statement may go to another one.
PARTS = """SELECT name, rows FROM system.parts
WHERE active AND engine = 'ReplacingMergeTree' AND database = {database:String} AND table = {table:String}"""

_PartTypes = dict[str, dict[str, frozenset[str]]]  # part -> path -> types


class TypeCatalogue:
    """What was found in the parts of tables. Safe to use from several threads, each with its client."""

    def __init__(self) -> None:
        self._tables: OrderedDict[tuple[str, str], _PartTypes] = OrderedDict()
        self._lock = threading.Lock()

    def known(
        self, client: Client, database: str, table: str, paths: Iterable[Path], settings: Mapping[str, Any]
    ) -> Types | None:
        """The types that occurred under each of the paths when the table was last asked; as `types` where it was not."""
        names = _names(paths)
        with self._lock:
            parts = self._tables.get((database, table), {}).values()
            if parts and all(names <= types.keys() for types in parts):
                return _together(names, parts)
        return self.types(client, database, table, paths, settings)

    def types(
        self, client: Client, database: str, table: str, paths: Iterable[Path], settings: Mapping[str, Any]
    ) -> Types | None:
        """The types that occur now under each of the paths; None where that is not worth asking or cannot be known.

        Blocks while new parts are read.
        """
        wanted = [path for path in paths if path.column is None]
        names = _names(wanted)
        if not names:
            return {}
        try:
            parts = _active_parts(client, database, table, settings)
            if sum(parts.values()) < MIN_ROWS:
                return None
            known = self._known(database, table, parts)
            unread = [part for part in parts if not names <= known.get(part, {}).keys()]
            if unread:
                known |= self._read(client, database, table, unread, wanted, settings)
        except Error:
            return None  # the statement itself will say what is wrong
        if not all(part in known for part in parts):
            return None  # parts were merged meanwhile
        return _together(names, [known[part] for part in parts])

    def _known(self, database: str, table: str, parts: Mapping[str, int]) -> _PartTypes:
        """What is known of a table's parts; those that are no more are forgotten."""
        with self._lock:
            found = self._tables.setdefault((database, table), {})
            self._tables.move_to_end((database, table))
            if len(self._tables) > MAX_TABLES:
                self._tables.popitem(last=False)
            for part in [part for part, types in found.items() if part not in parts or len(types) > MAX_PATHS]:
                del found[part]
            return {part: dict(types) for part, types in found.items()}

    def _read(
        self,
        client: Client,
        database: str,
        table: str,
        parts: list[str],
        paths: list[Path],
        settings: Mapping[str, Any],
    ) -> _PartTypes:
        """Ask parts for the types under paths, and remember them. Parts that are no more are missing."""
        parameters = Parameters()
        columns = ", ".join(
            f"arrayConcat(distinctDynamicTypes({path.sql}),"
            f" if(max(notEmpty(JSONAllPaths({path.sub_object}))), ['{OBJECT}'], []))"
            for path in paths
        )
        sql = (
            f"SELECT _part, {columns} FROM {quoted(database)}.{quoted(table)}"  # noqa: S608 - names are quoted, values are parameters
            f" WHERE _part IN {parameters.array(parts, 'String')} GROUP BY _part"
        )
        answer = client.raw_query(sql, parameters.values, dict(settings), FORMAT)
        found: _PartTypes = {}
        with self._lock:
            kept = self._tables.setdefault((database, table), {})
            for line in answer.splitlines():
                part, *types = orjson.loads(line)
                read = {path.name: frozenset(names) for path, names in zip(paths, types, strict=True)}
                kept[part] = found[part] = kept.get(part, {}) | read
        return {part: dict(types) for part, types in found.items()}


def covers(known: Types, now: Types | None) -> bool:
    """Whether a statement that was made from `known` is right while `now` is what occurs."""
    return now is not None and all(types <= known[name] for name, types in now.items())


def _names(paths: Iterable[Path]) -> set[str]:
    return {path.name for path in paths if path.column is None}


def _together(names: Iterable[str], parts: Iterable[Mapping[str, frozenset[str]]]) -> Types:
    """The types of several parts."""
    every = list(parts)
    return {name: frozenset().union(*(types[name] for types in every)) for name in names}


def _active_parts(client: Client, database: str, table: str, settings: Mapping[str, Any]) -> dict[str, int]:
    """The parts that a statement would read now, with their rows."""
    answer = client.raw_query(PARTS, {"database": database, "table": table}, dict(settings), FORMAT)
    return dict(orjson.loads(line) for line in answer.splitlines())
