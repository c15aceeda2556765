"""Whether the answers that different ways give to a question are the same."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from benchmarks.query_data import NOW
from benchmarks.query_questions import Question
from headwater.query.definition import Definition, parse_definition
from headwater.query.result import flat_rows

NOTHING: tuple[Any, ...] = (0, None, [])  # results of groups that one answer has and another may leave out
RELATIVE_ERROR = 1e-9


def differences(
    question: Question, rows: Sequence[Sequence[Any]], others: Mapping[str, Any], shaped: Sequence[str]
) -> str | None:
    """What is different between a statement's rows and the other answers, by way; None where nothing is. `shaped` are the ways
    whose answers have the API's shape; the others are rows, too."""
    wanted = table_of(question, rows)
    for way, answer in others.items():
        found = table_of(question, rows_of(question, answer) if way in shaped else answer)
        missing = [key for key in wanted if key not in found]
        more = [key for key in found if key not in wanted]
        wrong = [key for key in wanted if key in found and not same(wanted[key], found[key])]
        if missing or more or wrong:
            shown = f"{wanted[wrong[0]]} is {found[wrong[0]]} for {wrong[0]}" if wrong else ""
            return f"{way} lacks {missing[:3]}, has {more[:3]} more, {len(wrong)} differ {shown}".strip()
    return None


def rows_of(question: Question, answer: Any) -> list[Sequence[Any]]:
    """The rows of an answer in the API's shape: [bucket,] keys..., results..."""
    if question.rows is not None:
        return question.rows(answer)
    definition = parse_definition(question.analysis, question.params, NOW)
    assert isinstance(definition, Definition)
    names = (
        *(("start",) if definition.interval else ()),
        *(key.name for key in definition.group_by),
        *definition.labels,
    )
    return [[row[name] for name in names] for row in flat_rows(answer, definition)]


def table_of(question: Question, rows: Sequence[Sequence[Any]]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Results by bucket and keys, each in one form: times as milliseconds since 1970, lists sorted; without those that are nothing.

    What is no group (a figure, a step, an event) is found by its first columns."""
    params = question.params
    keys = int("interval" in params)
    group_by = params.get("group_by", [])
    keys += len(group_by) if isinstance(group_by, list) else 1
    if question.rows is not None:
        keys = 1
    width = keys + (2 if question.analysis == "retention" else len(params.get("analyses", [None])))
    found = {}
    for row in rows:
        cells = [plain(cell) for cell in (row[:width] if question.analysis != "funnel" else row)]
        if "interval" in params:  # statements name a bucket that began before the timeframe by that beginning
            cells[0] = max(cells[0], plain(params["timeframe"]["start"]))
        key, results = tuple(cells[:keys]), tuple(cells[keys:])
        if any(result not in NOTHING for result in results):
            found[key] = results
    return found


def plain(cell: Any) -> Any:
    """A cell in one form."""
    if isinstance(cell, datetime):
        aware = cell if cell.tzinfo else cell.replace(tzinfo=UTC)
        return round(aware.timestamp() * 1000)
    if isinstance(cell, date):
        return plain(datetime(cell.year, cell.month, cell.day, tzinfo=UTC))
    if isinstance(cell, str) and cell[4:5] == "-" and cell[10:11] == "T":
        return plain(datetime.fromisoformat(cell))
    if isinstance(cell, list | tuple):
        return sorted(cell) if all(isinstance(one, str) for one in cell) else list(cell)
    return cell


def same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether results are equal, floats but for their last digits."""
    return len(one) == len(other) and all(
        math.isclose(a, b, rel_tol=RELATIVE_ERROR) if isinstance(a, float) or isinstance(b, float) else a == b
        for a, b in zip(one, other, strict=True)
    )
