"""Answers as tables for people."""

from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from headwater import exact_json
from headwater.query import Result
from headwater.query.definition import Definition
from headwater.query.result import bounds


def as_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Rows as a table: numbers to the right, an absent value empty, nested properties in columns of dotted names."""
    flat = [flattened(row) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    table = Table()
    for name in names:
        values = [row.get(name) for row in flat]
        numeric = all(isinstance(value, int | float | None) and not isinstance(value, bool) for value in values)
        table.add_column(escape(name), justify="right" if numeric else "left", overflow="fold")
    for row in flat:
        table.add_row(*(escape(as_text(row.get(name), grouped=name == "result")) for name in names))
    return table


def pivoted(result: Result) -> list[dict[str, Any]]:
    """The rows of a result; of one with an interval, a row for each bucket and a column for each group."""
    definition = result.definition
    if not isinstance(definition, Definition) or definition.interval is None or definition.labels != ["result"]:
        return result.rows()
    group = definition.group_by[0].name if len(definition.group_by) == 1 else None
    buckets: dict[str, dict[str, Any]] = {}
    began, _ = bounds(definition)
    for row in result.rows():
        start = row[began].partition("T00:00:00.000")[0]
        column = "result" if group is None else as_text(row[group], grouped=False)
        buckets.setdefault(start, {"start": start})[column] = row["result"]
    return list(buckets.values())


def as_text(value: Any, *, grouped: bool) -> str:
    """A value as a cell shows it: numbers to four places, and with thousands `grouped` where they count something."""
    if value is None:
        return ""
    if isinstance(value, float):
        return (f"{value:,.4f}" if grouped else f"{value:.4f}").rstrip("0").rstrip(".")
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if grouped else str(value)
    return value if isinstance(value, str) else exact_json.dumps(value).decode()


def flattened(row: dict[str, Any], parent: str = "") -> dict[str, Any]:
    """A nested object's members under dotted names."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            flat |= flattened(value, f"{parent}{name}.")
        else:
            flat[parent + name] = value
    return flat
