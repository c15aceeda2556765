"""An event's rows in ClickHouse, and whether deletions are about it."""

from collections.abc import Iterable, Sequence

from headwater.control import Deletion
from headwater.deleted import about_sql
from headwater.query.clickhouse import database
from headwater.query.parameters import Parameters
from headwater.query.paths import quoted
from headwater.query.statements import Limits, Statements, connect
from headwater.trace.found import Stored

TABLES_AT_ONCE = 50
ANSWER_SECONDS = 60.0


class Table:
    """A project's tables. Connects when made; every method blocks. Raises QueryError."""

    def __init__(self, url: str, project_id: str, seconds: float = ANSWER_SECONDS) -> None:
        limits = Limits(seconds=seconds)
        self._client = connect(url, limits)
        self._statements = Statements(self._client, limits)
        self._database = database(project_id)

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()

    def collections(self) -> list[str]:
        """The collections that have a table."""
        sql = (
            "SELECT name FROM system.tables WHERE database = {database:String} AND engine LIKE '%ReplacingMergeTree' "
            "AND NOT startsWith(name, '_') ORDER BY name"
        )
        return [row[0] for row in self._statements.rows(sql, {"database": self._database})]

    def rows(self, event_id: str, collections: Sequence[str]) -> list[Stored]:
        """The rows of an event, by collection and timestamp, with how many copies of each are stored."""
        found = []
        for first in range(0, len(collections), TABLES_AT_ONCE):
            names = collections[first : first + TABLES_AT_ONCE]
            stored = self._times(event_id, names, final=False)
            shown = {
                (row[0], row[1]): row for row in self._times(event_id, sorted({row[0] for row in stored}), final=True)
            }
            for name, timestamp, received_at, processed_at, copies in stored:
                newest = shown.get((name, timestamp))
                found.append(
                    Stored(name, timestamp, newest[2], newest[3], copies, True)
                    if newest
                    else Stored(name, timestamp, received_at, processed_at, copies, False)
                )
        return found

    def about(
        self,
        deletions: Iterable[Deletion],
        event_id: str,
        timestamp: int,
        received_at: int,
        processed_at: int,
        properties: str,
    ) -> list[Deletion]:
        """Those of the deletions that are about an event of these properties."""
        found = []
        for deletion in deletions:
            parameters = Parameters()
            values = {
                "id": f"toUUID({parameters.text(event_id)})",
                "timestamp": parameters.instant(timestamp),
                "received_at": parameters.instant(received_at),
                "processed_at": parameters.instant(processed_at),
                "properties": f"CAST({parameters.text(properties)}, 'JSON')",
            }
            event = ", ".join(f"{value} AS {name}" for name, value in values.items())
            sql = f"SELECT count() FROM (SELECT {event}) WHERE {about_sql(deletion, parameters)}"  # noqa: S608 - values are parameters
            if any(row[0] for row in self._statements.rows(sql, parameters.values)):
                found.append(deletion)
        return found

    def _times(self, event_id: str, collections: Sequence[str], *, final: bool) -> list[tuple[str, int, int, int, int]]:
        if not collections:
            return []
        parameters = Parameters()
        wanted = f"toUUID({parameters.text(event_id)})"
        selects = [
            f"SELECT {parameters.text(name)} AS collection, timestamp, received_at, processed_at "  # noqa: S608 - names are quoted, values are parameters
            f"FROM {quoted(self._database)}.{quoted(name)}{' FINAL' if final else ''} WHERE id = {wanted}"
            for name in collections
        ]
        sql = (
            "SELECT collection, toUnixTimestamp64Milli(timestamp) AS t, min(toUnixTimestamp64Milli(received_at)), "  # noqa: S608 - as above
            f"max(toUnixTimestamp64Milli(processed_at)), count() FROM ({' UNION ALL '.join(selects)}) "
            "GROUP BY collection, t ORDER BY collection, t"
        )
        rows = self._statements.rows(sql, parameters.values)
        return [(str(row[0]), int(row[1]), int(row[2]), int(row[3]), int(row[4])) for row in rows]
