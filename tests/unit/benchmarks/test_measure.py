"""Figures of benchmarks: medians, spreads, ratios of the same round, and what is printed and written."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import report
from benchmarks.measure import Benchmark, Goal, spread


@pytest.fixture
def benchmark() -> Benchmark:
    goals = (Goal("ours", 0.9, "bare"), Goal("ours", 50.0), Goal("ours", 2.0, figure="p99 s", at_most=True))
    made = Benchmark("part", "ours against a bare loop", "events/s", {"events": 10}, goals)
    for ours, bare in ((80.0, 100.0), (100.0, 100.0), (300.0, 200.0)):
        made.add("ours", value=ours, **{"p99 s": ours / 100})
        made.add("bare", value=bare)
    return made


def test_a_goal_against_another_case_is_judged_within_rounds(benchmark: Benchmark) -> None:
    assert benchmark.outcome(benchmark.goals[0]) == 1.0  # the median of 0.8, 1 and 1.5


def test_a_goal_by_itself_is_the_median(benchmark: Benchmark) -> None:
    assert benchmark.outcome(benchmark.goals[1]) == 100.0
    assert benchmark.outcome(benchmark.goals[2]) == 1.0
    assert benchmark.outcome(Goal("not run", 1.0)) is None


def test_the_spread_is_a_share_of_the_median() -> None:
    assert spread([80.0, 100.0, 300.0]) == pytest.approx(2.2)


def test_the_table_says_what_is_met(benchmark: Benchmark) -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    report.show(console, benchmark)
    text = console.export_text()
    assert "part: ours against a bare loop" in text
    assert "ours / bare: 1, goal at least 0.9: met" in text
    assert "ours, p99 s: 1, goal at most 2: met" in text
    benchmark.goals = (Goal("ours", 2.0, "bare"),)
    report.show(console, benchmark)
    assert "goal at least 2: not met" in console.export_text()


def test_the_file_has_every_run_and_the_machine(
    benchmark: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    written = json.loads(report.write([benchmark], report.machine()).read_text())
    case = written["benchmarks"][0]["cases"]["ours"]
    assert [run["value"] for run in case["runs"]] == [80.0, 100.0, 300.0]
    assert case["median"] == 100.0
    assert written["machine"]["cores"] >= 1
    assert written["versions"]["orjson"]
