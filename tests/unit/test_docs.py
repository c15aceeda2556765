"""Everything public is documented: the generated pages are up to date, and the written ones name what there is."""

import ast
import json
import re
from pathlib import Path

import pytest

from docs import generate

ROOT = Path(__file__).parents[2]
CODE = [
    path
    for folder in ("headwater", "collector", "processors", "sinks", "api")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == generate.page(name), "run scripts/docs"


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_everything_public_has_a_docstring(path: Path) -> None:
    module = ast.parse(path.read_text())
    missing = [] if ast.get_docstring(module) or not module.body else ["the module"]

    def look(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith(
                "_"
            ):
                if not ast.get_docstring(node):
                    missing.append(prefix + node.name)
                if isinstance(node, ast.ClassDef):
                    look(node.body, prefix + node.name + ".")

    look(module.body, "")
    assert missing == []


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_stay_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 500


def test_the_analysts_reference_has_every_analysis_parameter_and_operator() -> None:
    from docs.queries.example import Question
    from docs.queries.registry import FILTERS, examples
    from headwater.client.questions import Grouping, Step
    from headwater.query.definition import ANALYSES
    from headwater.query.filters import OPERATORS

    questions = [one for one in examples() if isinstance(one, Question)]
    assert {one.analysis for one in questions} == {*ANALYSES}
    assert {row.filter["operator"] for row in FILTERS} == {*OPERATORS}
    shown = (ROOT / "docs" / "queries.md").read_text()
    assert [name for name in (*Grouping.__annotations__, *Step.__annotations__) if f'"{name}": ' not in shown] == []


def test_metrics_are_named_with_their_unit() -> None:
    from headwater.metrics import METRICS

    units = ("_total", "_seconds", "_records", "_partitions", "_paused", "_reached", "_ids", "_info")
    names = [metric._name + ("_total" if metric._type == "counter" else "") for metric in METRICS]
    assert [name for name in names if not name.startswith("headwater_") or not name.endswith(units)] == []


ENDS = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def test_the_page_for_operators_names_metrics_that_there_are() -> None:
    from headwater.metrics import registry

    samples = {metric.name + end for metric in registry.collect() for end in ENDS[metric.type]}
    text = (ROOT / "docs" / "watching.md").read_text()
    named = set(re.findall(r"\bheadwater_[a-z_]+", text))
    stems = {metric.name for metric in registry.collect() if metric.type == "histogram"}
    assert len(named) > 20
    assert named <= samples | stems
    rules = re.findall(r"^    expr: (.+)$", text, re.MULTILINE)
    assert len(rules) > 10
    assert [rule for rule in rules if not re.search(r"headwater_[a-z_]+", rule)] == []


def test_the_page_of_faults_is_what_its_run_left() -> None:
    """docs/faults.md is made of docs/faults.json alone; both come from `scripts/faults`."""
    from tests.faults.matrix import report

    written = json.loads(report.RECORD.read_text()) if report.RECORD.exists() else None
    assert (report.PAGE.read_text() if report.PAGE.exists() else None) == (written and report.page(written))
