"""The databases and tables that events go to: one database a project, one table a collection."""

import threading

from sinks.clickhouse import ClickHouse
from sinks.datums import Collection

# Name, type. The insert declares the same types: a JSON type with other parameters is converted at three times the cost.
COLUMNS = (
    ("id", "UUID"),
    ("timestamp", "DateTime64(3, 'UTC')"),
    ("received_at", "DateTime64(3, 'UTC')"),
    ("processed_at", "DateTime64(3, 'UTC')"),
    ("properties", "JSON"),
)

# Small parts keep their columns in one file. With a file or more for each path, an insert of 20,000 events of 40 paths
# costs the engine half as much again; what merging makes larger has a file for each column, which queries prefer.
COMPACT_BYTES = 134_217_728


def database(project_id: str) -> str:
    """The database of a project."""
    return f"headwater_{project_id}"


def table(collection: Collection) -> str:
    """The table of a collection as SQL: the collection's name verbatim."""
    return f"{quoted(database(collection.project_id))}.{quoted(collection.name)}"


def quoted(name: str) -> str:
    """An identifier in backquotes, whatever its characters are."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def create_database(project_id: str) -> str:
    """The statement that makes a project's database."""
    return f"CREATE DATABASE IF NOT EXISTS {quoted(database(project_id))}"


def create_table(collection: Collection) -> str:
    """The statement that makes a collection's table.

    Rows with one timestamp and id are one event; the one that was processed last stays. The timestamp comes first in the
    order for time-bound queries, and alone decides the partition, so an event's copies are never in two.
    """
    columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in COLUMNS)
    return (
        f"CREATE TABLE IF NOT EXISTS {table(collection)} ({columns}) ENGINE = ReplacingMergeTree(processed_at) "
        "PARTITION BY toYYYYMM(timestamp) ORDER BY (timestamp, id) "
        f"SETTINGS min_bytes_for_wide_part = {COMPACT_BYTES}"
    )


class Tables:
    """Makes what is missing, once a collection. Safe from several threads."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse
        self._lock = threading.Lock()
        self._databases: set[str] = set()
        self._tables: set[Collection] = set()

    def ensure(self, collection: Collection) -> None:
        """The collection's table exists after this, as far as known. Blocks at first sight; raises StoreError."""
        if collection in self._tables:
            return
        if collection.project_id not in self._databases:
            self._clickhouse.command(create_database(collection.project_id))
        self._clickhouse.command(create_table(collection))
        with self._lock:
            self._databases.add(collection.project_id)
            self._tables.add(collection)

    def forget(self, collection: Collection) -> None:
        """The server does not know the table (or its database): `ensure` makes it again."""
        with self._lock:
            self._databases.discard(collection.project_id)
            self._tables.discard(collection)
