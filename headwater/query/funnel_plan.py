"""Funnels as one statement: what each actor did, then how many passed each step."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from headwater.query.actors import Actors, actors_sql
from headwater.query.errors import QueryError
from headwater.query.funnel import MAX_STEPS, Funnel
from headwater.query.ordering import key_rank
from headwater.query.parameters import Parameters
from headwater.query.properties import Types
from headwater.query.timeframe import EARLIEST

_FOREVER = 2**50  # more than all the milliseconds that there are, times the steps


@dataclass(frozen=True)
class ActorPlan:
    """A statement about actors, and the function that makes the answer of its rows. No statement: no events."""

    sql: str
    parameters: dict[str, object]
    finish: Callable[[Iterable[Sequence[Any]]], Any]


def compile_funnel(funnel: Funnel, database: str, types: Mapping[str, Types | None], max_actors: int) -> ActorPlan:
    """The plan of a funnel. `types`: what occurs in each collection that has a table, None where it is not known.

    Its answer: `result`, a count for each step; `steps` as asked; `actors`, a list or None for each step, where a step asks for
    them. Raises QueryError from `finish` where more than `max_actors` would be listed.
    """
    parameters = Parameters()
    actors = actors_sql([step.deed for step in funnel.steps], database, types, parameters)
    passed = [f"passed_{index}" for index in range(len(funnel.steps))]
    counts = [f"countIf({name})" for name in passed]
    listed = [
        f"groupArrayIf({max_actors + 1})([{', '.join(f'toJSONString({part.sql})' for part in actors.parts)}], {name})"
        for name, step in zip(passed, funnel.steps, strict=True)
        if step.with_actors
    ]
    inner, columns = _ordered(funnel, actors) if funnel.ordered else _unordered(funnel, actors)
    sql = (
        f"SELECT {', '.join(counts + listed)} FROM (SELECT {actors.columns}, {', '.join(columns)} FROM ({inner}))"  # noqa: S608 - our own names
        if actors.sql
        else ""
    )
    return ActorPlan(sql, parameters.values, lambda rows: _answer(funnel, actors, list(rows), max_actors))


def _unordered(funnel: Funnel, actors: Actors) -> tuple[str, list[str]]:
    """The deeds of each actor, and whether it passed each step."""
    inner = f"SELECT {actors.columns}, groupBitOr(did) AS done FROM ({actors.sql}) GROUP BY {actors.columns}"  # noqa: S608 - as above
    return inner, _passed(funnel, [f"bitTest(done, {index})" for index in range(len(funnel.steps))])


def _ordered(funnel: Funnel, actors: Actors) -> tuple[str, list[str]]:
    """How far each actor came in time.

    windowFunnel takes events of one time in the order of their conditions, so that one event could be two steps; times are
    spread, later steps first, so that a step needs a later millisecond than the one before it.
    """
    count = len(funnel.steps)
    chain = [index for index, step in enumerate(funnel.steps) if not step.inverted and not step.optional]
    window = _FOREVER if funnel.window is None else funnel.window * MAX_STEPS
    columns = [f"{_window_funnel(window, chain)} AS level"]
    reached = {step: f"level > {position}" for position, step in enumerate(chain)}
    for index in range(count):
        if index not in reached:
            before = [step for step in chain if step < index]
            columns.append(f"{_window_funnel(window, [*before, index])} > {len(before)} AS reached_{index}")
            reached[index] = f"reached_{index}"
    inner = (
        f"SELECT {actors.columns}, {', '.join(columns)} FROM ("  # noqa: S608 - as above
        f"SELECT {actors.columns}, step, toUInt64((at - ({EARLIEST})) * {MAX_STEPS} + {MAX_STEPS - 1} - step) AS moment"
        f" FROM ({actors.sql}) ARRAY JOIN bitPositionsToArray(did) AS step) GROUP BY {actors.columns}"
    )
    return inner, _passed(funnel, [reached[index] for index in range(count)])


def _window_funnel(window: int, steps: list[int]) -> str:
    return f"windowFunnel({window})(moment, {', '.join(f'step = {step}' for step in steps)})"


def _passed(funnel: Funnel, did: list[str]) -> list[str]:
    """Whether an actor passed each step: it, and every one before that is not optional."""
    columns: list[str] = []
    needed: list[str] = []
    for index, step in enumerate(funnel.steps):
        own = f"{'not ' if step.inverted else ''}({did[index]})"
        columns.append(f"{' and '.join([*needed, own])} AS passed_{index}")
        if not step.optional:
            needed.append(own)
    return columns


def _answer(funnel: Funnel, actors: Actors, rows: list[Sequence[Any]], max_actors: int) -> dict[str, Any]:
    count = len(funnel.steps)
    row = rows[0] if rows else [0] * count + [[] for step in funnel.steps if step.with_actors]
    answer: dict[str, Any] = {"result": list(row[:count]), "steps": [dict(step.echo) for step in funnel.steps]}
    lists = iter(row[count:])
    if any(step.with_actors for step in funnel.steps):
        answer["actors"] = [
            _listed(actors, next(lists), max_actors) if step.with_actors else None for step in funnel.steps
        ]
    return answer


def _listed(actors: Actors, found: list[Any], max_actors: int) -> list[Any]:
    if len(found) > max_actors:
        raise QueryError(
            "QueryGroupLimitError",
            f"a step has more than {max_actors} actors: leave out with_actors, or ask for a shorter timeframe.",
        )
    # Columns come as JSON text each, so that an array of them has one type; NULL stays NULL.
    values = (
        actors.value([None if column is None else orjson.loads(column) for column in columns]) for columns in found
    )
    return sorted(values, key=key_rank)
