"""The page itself: the text of template.md with the examples, their recorded answers and a few tables in it. Asks nobody."""

import json
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from docs.queries.asking import EVENTS, FILES
from docs.queries.example import Example, Question, Request, filter_text
from docs.queries.literals import as_json
from docs.queries.registry import FILTERS, examples
from headwater.query.definition import parse_definition
from headwater.query.result import Result
from headwater.query.timeframe import parse_timeframe
from headwater.query.zones import from_local, iso

FOLDER = Path(__file__).parent
ANSWERS = FOLDER / "answers.json"
MOMENT = datetime(2026, 3, 11, 15, 20, tzinfo=UTC)  # at which the table of relative timeframes is made
ZONE = "America/New_York"
RELATIVE = (
    "this_day", "today", "this_2_days", "previous_day", "yesterday", "previous_2_days", "this_week", "previous_week",
    "this_7_days", "previous_3_hours", "this_month", "previous_3_months",
)  # fmt: skip
_PLACE = re.compile(r"^\{\{(\w+)(?: ([\w-]+))?\}\}$", re.MULTILINE)

Table = Callable[[Iterable[str], Iterable[Iterable[str]]], str]


def queries_page(table: Table) -> str:
    """The whole page. Raises KeyError for a place in the template that nothing is declared for, and ValueError for an example
    that has no place."""
    recorded = json.loads(ANSWERS.read_text())
    by_name = {example.name: example for example in examples()}
    unused = by_name.keys() - {row.name for row in FILTERS}

    def filled(place: re.Match[str]) -> str:
        kind, name = place[1], place[2]
        if kind == "example":
            unused.discard(name)
            return _shown(by_name[name], recorded[name])
        if kind == "frame":
            return _frame(by_name[name], recorded[name])
        others: dict[str, Callable[[], str]] = {
            "events": lambda: _fenced("json", (EVENTS / f"{name}.ndjson").read_text()).rstrip(),
            "load": _load,
            "filters": lambda: _filters(table, recorded),
            "relative": lambda: _relative(table),
        }
        return others[kind]()

    page = _PLACE.sub(filled, (FOLDER / "template.md").read_text())
    if unused:
        raise ValueError(f"template.md has no place for {', '.join(sorted(unused))}")
    return page


def _shown(example: Example, recorded: Any) -> str:
    if isinstance(example, Question):
        asked = _fenced("python", example.python()) + _fenced("sh", f"{example.curl()}\n\n{example.command()}")
        said = ""
        if example.without:
            recorded = {name: value for name, value in recorded.items() if name != example.without}
            said = f"The answer, without its `{example.without}`:\n\n"
        return f"*{example.asks}*\n\n{asked}{said}{_fenced('json', as_json(recorded))}".rstrip()
    asked = _fenced("python", example.python) if example.python else ""
    return f"*{example.asks}*\n\n{asked}{_fenced('sh', example.curl())}{_reply(example, recorded)}".rstrip()


def _reply(request: Request, recorded: dict[str, Any]) -> str:
    if "text" in recorded:
        return (
            _fenced("", recorded["text"])
            if recorded["text"]
            else f"The answer is {recorded['status']}, without a body."
        )
    more = f", and with {', '.join(f'`{name}`' for name in recorded['more'])}" if recorded["more"] else ""
    return f"The answer, with status {recorded['status']}{more}:\n\n{_fenced('json', as_json(recorded['shown']))}"


def _frame(example: Example, recorded: Any) -> str:
    """What `to_pandas()` makes of an answer."""
    assert isinstance(example, Question)
    definition = parse_definition(example.analysis, example.parameters, from_local(MOMENT))
    return _fenced("", Result(recorded, definition).to_pandas().to_string()).rstrip()


def _load() -> str:
    lines = (
        f"headwater load docs/queries/{name}.ndjson --collection {name} {' '.join(options)}"
        for name, options in FILES.items()
    )
    return _fenced("sh", "\n".join(lines)).rstrip()


def _filters(table: Table, recorded: dict[str, Any]) -> str:
    rows = []
    for row in FILTERS:
        text = filter_text(row.filter) or json.dumps(row.filter)
        operator = f"`{row.filter['operator']}`" if row.meaning else ""
        orders = ", ".join(map(str, recorded[row.name])) or "none"
        rows.append((operator, row.meaning, f"`{text}`", orders))
    return table(("operator", "true where the property's value", "example", "orders that pass"), rows).rstrip()


def _relative(table: Table) -> str:
    zone, now = ZoneInfo(ZONE), from_local(MOMENT)
    spans = [(name, parse_timeframe(name, zone, now)) for name in RELATIVE]
    rows = [
        (f"`{name}`", iso(span.start, zone).replace(".000", ""), iso(span.end, zone).replace(".000", ""))
        for name, span in spans
    ]
    return table(("timeframe", "from", "to before"), rows).rstrip()


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```\n\n"
