"""Taking results that may hold what was deleted out of their tables."""

from collections.abc import Callable

from clickhouse_connect.driver.client import Client

from headwater.saved.results import rows_of

ALL = 2**63 - 1


def purge(client: Client, table: str, times_done: Callable[[str, str], int | None]) -> None:
    """Delete the results of a table that were made after fewer deletions than have been done by now in what they are of.

    `times_done` says how many those are, of a project and a name; None where there is nothing of that name any more. Blocks, and
    not until the engine is through; raises the driver's errors.
    """
    kept = f"SELECT DISTINCT project_id, name, deletions FROM {table}"  # noqa: S608 - names of ours
    for project_id, name, deletions in rows_of(client, kept, {}):
        done = times_done(project_id, name)
        if done is None or deletions < done:
            # Not a lightweight DELETE, which leaves the rows in their parts until those are merged.
            client.command(
                f"ALTER TABLE {table} DELETE WHERE project_id = {{project_id:String}} AND name = {{name:String}} "
                "AND deletions < {deletions:Int64}",
                parameters={"project_id": project_id, "name": name, "deletions": ALL if done is None else done},
            )
