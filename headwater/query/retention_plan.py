"""Retention as one statement: the units in which each actor was there, then each cohort's matrix row."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice, pairwise
from typing import Any

from headwater.query.actors import actors_sql
from headwater.query.calendar import boundaries
from headwater.query.errors import QueryError
from headwater.query.funnel_plan import ActorPlan
from headwater.query.intervals import MAX_BUCKETS
from headwater.query.parameters import Parameters
from headwater.query.properties import Types
from headwater.query.retention import Retention
from headwater.query.shape import span
from headwater.query.timeframe import LATEST, Timeframe

_FIRST, _RETURNING = 1, 2


def compile_retention(retention: Retention, database: str, types: Mapping[str, Types | None]) -> ActorPlan:
    """The plan of a retention. `types` as for a funnel.

    Its answer is a list of the cohorts, `{"timeframe": ..., "actors": n, "returned": [...]}`: `returned[k]` is how many came back in unit
    k, 0 being the cohort's own; None where unit k has not begun yet. Raises QueryError where there are too many units.
    """
    units = _units(retention)
    parameters = Parameters()
    returning = replace(
        retention.returning, timeframe=Timeframe(retention.timeframe.start, max(units[-1], retention.timeframe.end))
    )
    actors = actors_sql([retention.first, returning], database, types, parameters)
    starts = ", ".join(map(str, units))
    indexes = ", ".join(map(str, range(len(units))))
    test = "offset >= k" if retention.rolling else "offset = k"
    columns = actors.columns
    # The last moment of each unit tells whether somebody came back after the first event in its own unit; in later units
    # every moment does.
    sql = (
        "SELECT cohort, count(), sumForEach(arrayMap(k -> toUInt64(arrayExists(offset -> "  # noqa: S608 - our own names and numbers
        f"{test}, offsets)), range({retention.units + 1})))"
        " FROM (SELECT minIf(unit, came > 0) AS cohort, minIf(began, came > 0) AS first_at,"
        f" arrayFilter(offset -> offset >= 0 and offset <= {retention.units}, arrayMap(pair -> toInt64(pair.1) - cohort,"
        " arrayFilter(pair -> pair.2 > first_at, groupArrayIf((unit, last), back > 0)))) AS offsets"
        f" FROM (SELECT {columns}, toInt64(transform(roundDown(at, [{starts}]), [{starts}], [{indexes}])) AS unit,"
        f" countIf(bitAnd(did, {_FIRST}) != 0) AS came, minIf(at, bitAnd(did, {_FIRST}) != 0) AS began,"
        f" countIf(bitAnd(did, {_RETURNING}) != 0) AS back, maxIf(at, bitAnd(did, {_RETURNING}) != 0) AS last"
        f" FROM ({actors.sql}) GROUP BY {columns}, unit) GROUP BY {columns} HAVING sum(came) > 0) GROUP BY cohort"
        if actors.sql
        else ""
    )
    return ActorPlan(sql, parameters.values, lambda rows: _answer(retention, units, rows))


def _units(retention: Retention) -> list[int]:
    """Where the units of the cohorts, and those after them, begin; the last is an end only."""
    found: list[int] = []
    inside = 0
    for boundary in boundaries(retention.timeframe.start, retention.unit, 1, retention.zone):
        found.append(boundary)
        inside += boundary < retention.timeframe.end
        if inside > MAX_BUCKETS:
            raise QueryError(
                "IntervalDefinitionError",
                f"the timeframe has more than {MAX_BUCKETS} units: choose a longer unit or a shorter timeframe.",
            )
        if len(found) > inside + retention.units or boundary >= LATEST:
            break
    return found


def _answer(retention: Retention, units: list[int], rows: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    by_cohort = {row[0]: row[1:] for row in rows}
    cohorts = []
    for cohort, (start, end) in enumerate(pairwise(units)):
        if start >= retention.timeframe.end:
            break
        bounds = Timeframe(max(start, retention.timeframe.start), min(end, retention.timeframe.end))
        actors, counts = by_cohort.get(cohort, (0, [0] * (retention.units + 1)))
        begun = sum(1 for unit in islice(units, cohort, None) if unit <= retention.now)
        returned = [count if k < begun else None for k, count in enumerate(counts)]
        cohorts.append({"timeframe": span(bounds, retention.zone), "actors": actors, "returned": returned})
    return cohorts
