"""Queries put to ClickHouse itself: the transport of `connect(clickhouse=URL)`, and what the API runs."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from clickhouse_connect.driver.client import Client

from headwater.query.catalogue import TypeCatalogue, covers
from headwater.query.compile import compile_query
from headwater.query.definition import Definition, Query, parse_definition, paths_of
from headwater.query.execution import Execution, properties_read
from headwater.query.extraction import OWN_COLUMNS, gzipped, written
from headwater.query.funnel import Funnel
from headwater.query.funnel_plan import ActorPlan, compile_funnel
from headwater.query.paths import Path
from headwater.query.properties import Types
from headwater.query.reading import Reading
from headwater.query.result import Result
from headwater.query.retention import Retention
from headwater.query.retention_plan import compile_retention
from headwater.query.shape import shape
from headwater.query.statements import Cancellation, Limits, Statements, connect

TABLES = "SELECT name FROM system.tables WHERE database = {database:String} AND name IN {names:Array(String)}"


class Answer(NamedTuple):
    """An answer in Keen's JSON shape (a funnel's is the object with `result`, `steps` and perhaps `actors`); the statement that
    found it, as `Result.sql`, "" where none was needed; and what that took."""

    value: Any
    sql: str
    execution: Execution


class ClickHouseTransport:
    """Answers queries about one project straight from ClickHouse.

    Connects at the first query. One query at a time: threads take a transport each.
    """

    def __init__(self, url: str, project_id: str, limits: Limits | None = None) -> None:
        self._url = url
        self._project_id = project_id
        self._limits = limits or Limits()
        self._client: Client | None = None
        self._catalogue = TypeCatalogue()

    def run(self, analysis: str, params: Mapping[str, Any]) -> Result:
        """The answer of an analysis; `params` are Keen's (event_collection, timeframe, filters...).

        Blocks until ClickHouse has answered. Raises QueryError.
        """
        query = parse_definition(analysis, params, now=time.time_ns() // 1_000_000)
        if self._client is None:
            self._client = connect(self._url, self._limits)
        found = answer(self._client, query, self._project_id, self._limits, self._catalogue)
        metadata = None if query.analysis == "extraction" else found.execution.metadata
        return Result(found.value, query, found.sql, metadata)

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None


def answer(
    client: Client,
    query: Query,
    project_id: str,
    limits: Limits,
    catalogue: TypeCatalogue,
    cancellation: Cancellation | None = None,
) -> Answer:
    """The answer to a query. Blocks; raises QueryError."""
    started = time.perf_counter()
    statements = Statements(client, limits, cancellation)
    value, sql = _answered(statements, query, project_id, catalogue)
    execution = Execution(statements.read_rows, properties_read(query), time.perf_counter() - started)
    return Answer(value, sql, execution)


def _answered(statements: Statements, query: Query, project_id: str, catalogue: TypeCatalogue) -> tuple[Any, str]:
    """The answer and its statement."""
    if isinstance(query, Funnel | Retention):
        return _answer_about_actors(statements, query, database(project_id), catalogue)
    if query.analysis == "extraction":
        reading = Reading(statements, catalogue, query, database(project_id))
        reading.survey()
        events = list(reading.events())
        plan = reading.plan()
        return events, _shown(plan.sql, plan.parameters)
    looked_at = (statements.client, database(project_id), query.collection, paths_of(query), statements.settings())
    known = catalogue.known(*looked_at)
    plan = compile_query(query, database(project_id), known)
    rows = list(statements.rows(plan.sql, plan.parameters))
    # New types may have come with new events, and the statement may have missed them.
    if known and not covers(known, catalogue.types(*looked_at)):
        plan = compile_query(query, database(project_id), None)
        rows = list(statements.rows(plan.sql, plan.parameters))
    return shape(plan, rows), _shown(plan.sql, plan.parameters)


def extracted(
    client: Client,
    definition: Definition,
    project_id: str,
    limits: Limits,
    catalogue: TypeCatalogue,
    cancellation: Cancellation | None = None,
) -> Iterator[bytes]:
    """The text of an extraction in parts, packed where it is to be. Blocks; raises QueryError before the first part."""
    reading = Reading(Statements(client, limits, cancellation), catalogue, definition, database(project_id))
    paths = reading.survey()
    names = [path.name for path in definition.property_names]
    columns = names or [*OWN_COLUMNS, *(path for path in paths if path not in OWN_COLUMNS)]
    parts = written(reading.events(), definition.content_type, columns)
    return gzipped(parts) if definition.gzip or definition.to_file else parts


def database(project_id: str) -> str:
    """The database of a project."""
    return f"headwater_{project_id}"


def _answer_about_actors(
    statements: Statements, query: Funnel | Retention, database: str, catalogue: TypeCatalogue
) -> tuple[Any, str]:
    deeds = [step.deed for step in query.steps] if isinstance(query, Funnel) else [query.first, query.returning]
    paths: dict[str, set[Path]] = {}
    for deed in deeds:
        paths.setdefault(deed.collection, set()).update(deed.paths)

    def tables() -> list[str]:
        """The collections that have a table: a statement with one that has none would be refused as a whole."""
        lookup = Statements(statements.client, statements.limits)  # what it reads are no events
        found = lookup.rows(TABLES, {"database": database, "names": sorted(paths)})
        return sorted(row[0] for row in found)

    def types(of: Callable[..., Types | None], name: str) -> Types | None:
        return of(statements.client, database, name, paths[name], statements.settings())

    def plan(known: dict[str, Types | None]) -> ActorPlan:
        if isinstance(query, Funnel):
            return compile_funnel(query, database, known, statements.limits.groups)
        return compile_retention(query, database, known)

    def run(known: dict[str, Types | None]) -> tuple[Any, str]:
        compiled = plan(known)
        # Actors are not groups of the answer: memory bounds them.
        rows = statements.rows(compiled.sql, compiled.parameters, max_rows_to_group_by=0) if compiled.sql else ()
        return compiled.finish(rows), _shown(compiled.sql, compiled.parameters)

    known = {name: types(catalogue.known, name) for name in tables()}
    answered = run(known)
    if any(each and not covers(each, types(catalogue.types, name)) for name, each in known.items()):
        answered = run(dict.fromkeys(tables()))
    return answered


def _shown(sql: str, parameters: Mapping[str, Any]) -> str:
    """A statement with its parameters' values for people to read."""
    return "\n".join([sql, *(f"-- {name} = {value!r}" for name, value in parameters.items())])
