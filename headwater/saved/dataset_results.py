"""The results of datasets in ClickHouse: a row for each bucket and value of the index, and one for each bucket that was made."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import orjson
from clickhouse_connect.driver.client import Client

from headwater.saved.dataset import Dataset
from headwater.saved.results import DATABASE, rows_of

TABLE = f"{DATABASE}.dataset_results"
BUCKET = ""  # the index of the row that says that a bucket was made
STATEMENTS = (
    f"CREATE DATABASE IF NOT EXISTS {DATABASE}",
    f"CREATE TABLE IF NOT EXISTS {TABLE} (project_id String, name String, version Int64, key String, start Int64, "
    "made_at Int64, value String CODEC(ZSTD), deletions Int64) "
    "ENGINE = ReplacingMergeTree(made_at) ORDER BY (project_id, name, version, key, start)",
    f"ALTER TABLE {TABLE} ADD COLUMN IF NOT EXISTS deletions Int64",  # tables of before had none
)
OF_ONE = "project_id = {project_id:String} AND name = {name:String} AND version = {version:Int64}"
READ = (
    f"SELECT key, start, max(made_at), argMax(value, made_at) FROM {TABLE} WHERE {OF_ONE} "  # noqa: S608 - names of ours
    "AND deletions >= {deletions:Int64} AND key IN {indexes:Array(String)} "
    "AND start >= {start:Int64} AND start < {end:Int64} GROUP BY key, start"
)
STATES = (
    f"SELECT project_id, name, version, max(start), max(made_at), deletions FROM {TABLE} "  # noqa: S608 - as above
    "WHERE key = '' GROUP BY project_id, name, version, deletions ORDER BY deletions"
)
FORGET = f"DELETE FROM {TABLE} WHERE project_id = {{project_id:String}} AND name = {{name:String}}"  # noqa: S608 - as above

Row = tuple[int, str, str]  # start of the bucket, index, value as JSON


@dataclass(frozen=True)
class Kept:
    """What is kept of a span: when each bucket was made, and the values of each index by their bucket's start."""

    made: dict[int, int] = field(default_factory=dict)
    values: dict[str, dict[int, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class State:
    """How far a dataset is: the start of its newest bucket, and when it was refreshed, in milliseconds since 1970 UTC; and how
    often deletions had been done in its collection before."""

    latest: int
    refreshed_at: int
    deletions: int


class DatasetTable:
    """The table, over a connection. Not safe for several threads; everything blocks and raises the driver's errors."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def read(self, dataset: Dataset, deletions: int, start: int, end: int, indexes: Sequence[str] = ()) -> Kept:
        """What is kept of the buckets that start in a span and were made after so many deletions, or more; a value that a later
        making of its bucket did not give is none."""
        kept = Kept()
        asked = _of_one(dataset) | {"deletions": deletions, "indexes": [BUCKET, *indexes], "start": start, "end": end}
        rows = rows_of(self._client, READ, asked)
        kept.made.update({row[1]: row[2] for row in rows if row[0] == BUCKET})
        for index, bucket, made_at, value in rows:
            if index != BUCKET and made_at == kept.made.get(bucket):
                kept.values.setdefault(index, {})[bucket] = value
        return kept

    def store(
        self, dataset: Dataset, deletions: int, made_at: int, buckets: Iterable[int], rows: Iterable[Row]
    ) -> None:
        """Keep what was made at an instant, after so many deletions: these buckets with these values, and no others."""
        of = _of_one(dataset) | {"made_at": made_at, "deletions": deletions}
        lines = [orjson.dumps(of | {"key": index, "start": start, "value": value}) for start, index, value in rows]
        lines += [orjson.dumps(of | {"key": BUCKET, "start": start, "value": ""}) for start in buckets]
        columns = [*of, "key", "start", "value"]
        self._client.raw_insert(TABLE, columns, b"\n".join(lines), fmt="JSONEachRow")

    def states(self) -> dict[tuple[str, str, int], State]:
        """How far each dataset is, by project, name and version."""
        return {(row[0], row[1], row[2]): State(*row[3:]) for row in rows_of(self._client, STATES, {})}

    def forget(self, project_id: str, name: str) -> None:
        """Delete all that is kept of a dataset."""
        self._client.command(FORGET, parameters={"project_id": project_id, "name": name})


def _of_one(dataset: Dataset) -> dict[str, object]:
    return {"project_id": dataset.project_id, "name": dataset.name, "version": dataset.version}
