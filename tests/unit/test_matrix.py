"""A run of the matrix of faults that ended before its time is gone on with, where it is of the same commit and processor."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.faults.matrix import report
from tests.faults.matrix.referee import ERROR, MISMATCH, PASS
from tests.faults.matrix.running import Runner
from tests.faults.matrix.scene import Fault, Run

FAULTS = [Fault(name, "injected", "seen", lambda _: nullcontext()) for name in ("one", "two")]


def test_what_was_written_is_read_again_and_only_the_rest_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def run(self: Runner, fault: Fault, moment: str) -> Run:
        asked.append((fault.name, moment))
        return Run(fault.name, moment, PASS, [], 1.5)

    monkeypatch.setattr(Runner, "_one", run)
    path, heading = tmp_path / "runs.json", report.heading()
    runs: list[Run] = []
    with Runner(lambda _: None) as runner:
        for each in runner.run(FAULTS, 3):
            runs.append(each)
            report.write(report.document(heading, FAULTS, runs), path)
            if len(runs) == 4:
                break
    again, had = report.resume(path)
    assert (again, had) == (json.loads(json.dumps(heading)), runs)
    with Runner(lambda _: None) as runner:
        had += runner.run(FAULTS, 3, [*had])
    assert [(run.fault, run.moment) for run in had] == asked
    assert asked == [(fault.name, moment) for fault in FAULTS for moment in fault.moments]


def test_a_control_is_found_out_by_a_wrong_count_and_not_by_a_delay() -> None:
    control = Fault("control", "injected", "seen", lambda _: nullcontext(), broken={"sink": "broken"})
    wrong, late = ["ClickHouse has 9 events, and 10 were answered"], ["not at rest within 120 s"]
    for outcome, differences, expected in (
        (MISMATCH, wrong, True),
        (MISMATCH, late, False),
        (ERROR, wrong, False),
        (PASS, [], False),
    ):
        written = report.document(report.heading(), [control], [Run("control", "steady", outcome, differences)])
        assert report.as_expected(written) is expected
    assert not report.as_expected(report.document(report.heading(), [control], []))


def test_of_what_nothing_was_found_out_is_run_again(tmp_path: Path) -> None:
    runs = [Run("one", "steady", PASS, [], 1.5), Run("one", "burst", ERROR, ["no stack"])]
    report.write(report.document(report.heading(), FAULTS, runs), tmp_path / "runs.json")
    assert report.resume(tmp_path / "runs.json")[1] == runs[:1]


@pytest.mark.parametrize(("name", "member"), [("versions", "headwater"), ("machine", "cpu")])
def test_runs_of_something_else_are_not_gone_on_with(tmp_path: Path, name: str, member: str) -> None:
    heading = report.heading()
    heading[name] = heading[name] | {member: "another"}
    report.write(report.document(heading, FAULTS, []), tmp_path / "runs.json")
    with pytest.raises(ValueError, match=r"another, this is .*: begin anew"):
        report.resume(tmp_path / "runs.json")
