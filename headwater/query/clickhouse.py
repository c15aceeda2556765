"""Queries put to ClickHouse itself: the transport of `connect(clickhouse=URL)`, and what the API runs."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from clickhouse_connect.driver.client import Client

from headwater.query.catalogue import TypeCatalogue
from headwater.query.compile import compile_extraction, compile_query, compile_survey
from headwater.query.definition import Definition, Query, parse_definition, paths_of
from headwater.query.errors import QueryError
from headwater.query.execution import Execution, properties_read
from headwater.query.extraction import CSV, JSON, OWN_COLUMNS, gzipped, written
from headwater.query.funnel import Funnel
from headwater.query.funnel_plan import ActorPlan, compile_funnel
from headwater.query.paths import Path
from headwater.query.properties import Types
from headwater.query.result import Result
from headwater.query.retention import Retention
from headwater.query.retention_plan import compile_retention
from headwater.query.shape import event, shape
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
        plan = compile_extraction(query, database(project_id), None, _most(query, statements.limits))
        _survey(statements, query, project_id)
        return list(_events(statements, query, project_id)), _shown(plan.sql, plan.parameters)

    def types() -> Types | None:
        return _types(statements, catalogue, database(project_id), query.collection, paths_of(query))

    known = types()
    plan = compile_query(query, database(project_id), known)
    rows = list(statements.rows(plan.sql, plan.parameters))
    if known is not None and types() != known:  # new types came with new events, and the statement may have missed them
        plan = compile_query(query, database(project_id), None)
        rows = list(statements.rows(plan.sql, plan.parameters))
    return shape(plan, rows), _shown(plan.sql, plan.parameters)


def extracted(
    client: Client, definition: Definition, project_id: str, limits: Limits, cancellation: Cancellation | None = None
) -> Iterator[bytes]:
    """The text of an extraction in parts, packed where it is to be. Blocks; raises QueryError before the first part."""
    statements = Statements(client, limits, cancellation)
    paths = _survey(statements, definition, project_id)
    names = [path.name for path in definition.property_names]
    columns = names or [*OWN_COLUMNS, *(path for path in paths if path not in OWN_COLUMNS)]
    events = _events(statements, definition, project_id)
    parts = written(events, definition.content_type, columns)
    return gzipped(parts) if definition.gzip or definition.to_file else parts


def _survey(statements: Statements, definition: Definition, project_id: str) -> list[str]:
    """The paths of the properties of an extraction's events, where they are needed. Raises QueryError where there are more
    events than may be returned: before anything is sent, so that the answer can still say so."""
    most = _most(definition, statements.limits)
    columns = definition.content_type == CSV and not definition.property_names
    if definition.latest is not None and definition.latest <= most and not columns:
        return []
    plan = compile_survey(definition, database(project_id), columns=columns)
    count, paths = next(statements.rows(plan.sql, plan.parameters), (0, []))
    if (count if definition.latest is None else min(count, definition.latest)) > most:
        raise QueryError(
            "ExtractionLimitError",
            f"{count} events match, more than {most}: ask for a shorter timeframe, add filters, or give `latest`, {most} at "
            "most; as text/csv or application/x-ndjson, or with `email` into a file, there may be more.",
        )
    return list(paths)


def _events(statements: Statements, definition: Definition, project_id: str) -> Iterator[dict[str, Any]]:
    """The events of an extraction one by one, as they are read."""
    plan = compile_extraction(definition, database(project_id), None, _most(definition, statements.limits))
    spill = {"max_bytes_before_external_sort": statements.limits.memory_bytes // 2}
    for row in statements.rows(plan.sql, plan.parameters, **spill):
        yield event(row, definition.property_names)


def _most(definition: Definition, limits: Limits) -> int:
    return limits.streamed_events if definition.to_file or definition.content_type != JSON else limits.events


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

    def types() -> dict[str, Types | None]:
        """Of the collections that have a table: a statement with one that has none would be refused as a whole."""
        lookup = Statements(statements.client, statements.limits)  # what it reads are no events
        found = lookup.rows(TABLES, {"database": database, "names": sorted(paths)})
        names = sorted(row[0] for row in found)
        return {name: _types(statements, catalogue, database, name, paths[name]) for name in names}

    def plan(known: dict[str, Types | None]) -> ActorPlan:
        if isinstance(query, Funnel):
            return compile_funnel(query, database, known, statements.limits.groups)
        return compile_retention(query, database, known)

    def run(known: dict[str, Types | None]) -> tuple[Any, str]:
        compiled = plan(known)
        # Actors are not groups of the answer: memory bounds them.
        rows = statements.rows(compiled.sql, compiled.parameters, max_rows_to_group_by=0) if compiled.sql else ()
        return compiled.finish(rows), _shown(compiled.sql, compiled.parameters)

    known = types()
    answered = run(known)
    if known and types() != known:
        answered = run(dict.fromkeys(known))
    return answered


def _shown(sql: str, parameters: Mapping[str, Any]) -> str:
    """A statement with its parameters' values for people to read."""
    return "\n".join([sql, *(f"-- {name} = {value!r}" for name, value in parameters.items())])


def _types(
    statements: Statements, catalogue: TypeCatalogue, database: str, collection: str, paths: set[Path]
) -> Types | None:
    return catalogue.types(statements.client, database, collection, paths, statements.settings())
