"""The results of saved queries in ClickHouse: one row for each query and each set of filters that it was asked under."""

from dataclasses import dataclass, field
from typing import Any

import orjson
from clickhouse_connect.driver.client import Client

from headwater.query.execution import Execution

DATABASE = "headwater"
TABLE = f"{DATABASE}.saved_results"
# A result that nobody made anew for so long belongs to a query or a key that is gone.
KEPT_DAYS = 30
STATEMENTS = (
    f"CREATE DATABASE IF NOT EXISTS {DATABASE}",
    f"CREATE TABLE IF NOT EXISTS {TABLE} (project_id String, name String, filters String, version Int64, "
    "made_at DateTime64(3, 'UTC'), seconds Float64, result String CODEC(ZSTD), deletions Int64) "
    "ENGINE = ReplacingMergeTree(made_at) ORDER BY (project_id, name, filters) "
    f"TTL toDateTime(made_at) + INTERVAL {KEPT_DAYS} DAY",
    f"ALTER TABLE {TABLE} ADD COLUMN IF NOT EXISTS deletions Int64",  # tables of before had none
)
LOAD = (
    f"SELECT toUnixTimestamp64Milli(made_at), seconds, result FROM {TABLE} "  # noqa: S608 - names of ours
    "WHERE project_id = {project_id:String} AND name = {name:String} AND filters = {filters:String} "
    "AND version = {version:Int64} AND deletions >= {deletions:Int64} ORDER BY made_at DESC LIMIT 1"
)
TIMES = (
    "SELECT project_id, name, version, deletions, max(toUnixTimestamp64Milli(made_at)) "  # noqa: S608 - as above
    f"FROM {TABLE} WHERE filters = '' GROUP BY project_id, name, version, deletions"
)
FORGET = f"DELETE FROM {TABLE} WHERE project_id = {{project_id:String}} AND name = {{name:String}}"  # noqa: S608 - as above


@dataclass(frozen=True)
class Made:
    """A result as JSON text, when it was made (milliseconds since 1970 UTC), and how long that took.

    `execution`: what was read for the one who has it now: nothing for a result that was kept, None for an extraction.
    """

    made_at: int
    seconds: float
    result: bytes
    execution: Execution | None = field(default_factory=Execution)


@dataclass(frozen=True)
class ResultKey:
    """What a result is of: a version of a saved query, the filters it was made under ("" for none), and how often deletions had
    been done in its collections before that."""

    project_id: str
    name: str
    version: int
    filters: str = ""
    deletions: int = 0


class Results:
    """The table, over a connection. Not safe for several threads; everything blocks and raises the driver's errors."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def load(self, key: ResultKey) -> Made | None:
        """The newest result, made after as many deletions or more."""
        rows = rows_of(self._client, LOAD, vars(key))
        return Made(rows[0][0], rows[0][1], rows[0][2].encode()) if rows else None

    def store(self, key: ResultKey, made: Made) -> None:
        """Keep a result."""
        row = vars(key) | {"made_at": made.made_at / 1000, "seconds": made.seconds, "result": made.result.decode()}
        self._client.raw_insert(TABLE, list(row), orjson.dumps(row), fmt="JSONEachRow")

    def times(self) -> dict[ResultKey, int]:
        """When the newest result of every query without filters was made."""
        rows = rows_of(self._client, TIMES, {})
        return {ResultKey(row[0], row[1], row[2], deletions=row[3]): row[4] for row in rows}

    def forget(self, project_id: str, name: str) -> None:
        """Delete every result of a query."""
        self._client.command(FORGET, parameters={"project_id": project_id, "name": name})


def rows_of(client: Client, sql: str, parameters: dict[str, Any]) -> list[list[Any]]:
    """The rows of a statement. Blocks; raises the driver's errors."""
    settings = {"output_format_json_quote_64bit_integers": 0}
    text = client.raw_query(sql, parameters=parameters, settings=settings, fmt="JSONCompactEachRow")
    return [orjson.loads(line) for line in text.splitlines()]
