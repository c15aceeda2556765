"""What a question costs beside ClickHouse: its definition parsed and compiled, and its rows shaped."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from clickhouse_connect.driver.client import Client

from benchmarks.query_data import NOW
from benchmarks.query_questions import Question
from headwater.query.catalogue import TypeCatalogue
from headwater.query.clickhouse import database
from headwater.query.compile import compile_extraction, compile_query
from headwater.query.definition import Query, parse_definition, paths_of
from headwater.query.funnel import Funnel
from headwater.query.funnel_plan import compile_funnel
from headwater.query.properties import Types
from headwater.query.retention import Retention
from headwater.query.retention_plan import compile_retention
from headwater.query.shape import event, shape
from headwater.query.statements import Limits, Statements

TIMES = 100

Compiled = tuple[str, dict[str, object], Callable[[Iterable[Sequence[Any]]], Any]]


def shaping_milliseconds(client: Client, project_id: str, questions: Sequence[Question], limits: Limits) -> list[float]:
    """The milliseconds of parsing, compiling and shaping each of the questions, TIMES over."""
    catalogue, statements = TypeCatalogue(), Statements(client, limits)
    taken: list[float] = []
    for question in questions:
        query = parse_definition(question.analysis, question.params, NOW)
        collection, paths = _looks_at(query)
        types = catalogue.types(client, database(project_id), collection, paths, statements.settings())
        sql, parameters, _ = _compiled(query, project_id, types)
        rows = list(statements.rows(sql, parameters, max_rows_to_group_by=0))
        for _ in range(TIMES):
            began = time.perf_counter()
            *_, finish = _compiled(parse_definition(question.analysis, question.params, NOW), project_id, types)
            finish(rows)
            taken.append((time.perf_counter() - began) * 1_000)
    return taken


def _looks_at(query: Query) -> tuple[str, Iterable[Any]]:
    if isinstance(query, Funnel):
        return query.steps[0].deed.collection, {path for step in query.steps for path in step.deed.paths}
    if isinstance(query, Retention):
        return query.first.collection, query.first.paths | query.returning.paths
    return query.collection, paths_of(query)


def _compiled(query: Query, project_id: str, types: Types | None) -> Compiled:
    """The statement, its parameters, and what makes the answer of its rows."""
    if isinstance(query, Funnel):
        plan = compile_funnel(query, database(project_id), {query.steps[0].deed.collection: types}, 1_000)
        return plan.sql, plan.parameters, plan.finish
    if isinstance(query, Retention):
        plan = compile_retention(query, database(project_id), {query.first.collection: types})
        return plan.sql, plan.parameters, plan.finish
    if query.analysis == "extraction":
        extraction = compile_extraction(query, database(project_id), types, 100_000)
        names = query.property_names
        return extraction.sql, extraction.parameters, lambda rows: [event(row, names) for row in rows]
    compiled = compile_query(query, database(project_id), types)
    return compiled.sql, compiled.parameters, lambda rows: shape(compiled, rows)
