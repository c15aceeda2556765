"""docs/data-models.md: the text of template.md, and every model with its questions and their recorded answers. Asks nobody."""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from docs.models.model import Collection, Model
from docs.models.registry import MODELS
from docs.queries.example import Question
from headwater.query.definition import Definition, parse_definition
from headwater.query.funnel import Funnel
from headwater.query.result import flat_rows
from headwater.query.zones import from_local

FOLDER = Path(__file__).parent
RECORDED = FOLDER / "recorded.json"
MOMENT = datetime(2026, 4, 1, tzinfo=UTC)  # only parsing needs one: no question has a relative timeframe
EXAMPLE_WIDTH = 40

Table = Callable[[Iterable[str], Iterable[Iterable[str]]], str]


def data_models_page(table: Table) -> str:
    """The whole page. Raises KeyError for a question or a collection that nothing is recorded for."""
    recorded = json.loads(RECORDED.read_text())
    contents = " · ".join(f"[{model.title}](#{model.title.lower().replace(' ', '-')})" for model in MODELS)
    text = (FOLDER / "template.md").read_text().replace("{{contents}}", contents)
    return text + "\n" + "\n".join(_model(model, recorded, table) for model in MODELS)


def _model(model: Model, recorded: dict[str, Any], table: Table) -> str:
    why = "".join(f"- {line}\n" for line in model.why)
    examples = recorded["examples"]
    names = [f"`{one.name}`" for one in model.collections]
    every = [
        (f"`{one.path}`", one.type, one.meaning, _value(examples[model.collections[0].name][one.path]))
        for one in model.shared
    ]
    own = [row for one in model.collections for row in _own(one, examples[one.name])]
    return (
        f"## {model.title}\n\n{model.about}\n\n{why}\n"
        f"What every event of {', '.join(names[:-1])} and {names[-1]} has:\n\n"
        + table(("property", "type", "meaning", "example"), every)
        + "\nand what else:\n\n"
        + table(("collection", "property", "type", "meaning", "example"), own)
        + "\n"
        + "\n".join(_asked(one, recorded["answers"][one.name], table) for one in model.questions)
    )


def _own(collection: Collection, examples: dict[str, Any]) -> list[tuple[str, ...]]:
    head = (f"`{collection.name}`", "", "", collection.says, "")
    return [
        head,
        *(("", f"`{one.path}`", one.type, one.meaning, _value(examples[one.path])) for one in collection.properties),
    ]


def _value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    shown = text if len(text) <= EXAMPLE_WIDTH else text[: EXAMPLE_WIDTH - 3] + "..."
    return f"`{shown}`"


def _asked(question: Question, answer: Any, table: Table) -> str:
    return f"**{question.asks}**\n\n```python\n{question.python()}\n```\n\n{_answer(question, answer, table)}"


def _answer(question: Question, answer: Any, table: Table) -> str:
    """An answer as a table: a row for each group, step or cohort."""
    definition = parse_definition(question.analysis, question.parameters, from_local(MOMENT))
    if isinstance(definition, Funnel):
        actors = answer.get("actors", [None] * len(answer["result"]))
        head = ["step", "collection", "result"] + ["actors"] * any(actors)
        rows = [
            [number, step["event_collection"], count] + [", ".join(who or ())] * any(actors)
            for number, (step, count, who) in enumerate(zip(answer["steps"], answer["result"], actors, strict=True), 1)
        ]
    elif not isinstance(definition, Definition):
        head = ["from", "actors", *map(str, range(len(answer[0]["returned"])))]
        rows = [[_day(one["timeframe"]["start"]), one["actors"], *one["returned"]] for one in answer]
    elif definition.analysis == "extraction":
        head = list(question.parameters["property_names"])
        rows = [[_at(one, path) for path in head] for one in answer]
    else:
        flat = flat_rows(answer, definition)
        head = [name for name in flat[0] if name != "end"]
        rows = [[_day(row[name]) if name == "start" else row[name] for name in head] for row in flat]
    return table(
        ["from" if name == "start" else name for name in head], ([_cell(value) for value in row] for row in rows)
    )


def _cell(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _day(time: str) -> str:
    return time.partition("T")[0]


def _at(event: dict[str, Any], path: str) -> Any:
    value: Any = event
    for name in path.split("."):
        value = value[name]
    return value
