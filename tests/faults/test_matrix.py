"""The short form of the matrix of faults (`scripts/faults --short`), and that its referee finds out what is broken on purpose."""

from collections.abc import Iterator

import pytest

from tests.faults.matrix.faults import CONTROLS, FAULTS
from tests.faults.matrix.referee import PASS
from tests.faults.matrix.report import is_found_out
from tests.faults.matrix.running import Runner
from tests.faults.matrix.scene import Fault

pytestmark = pytest.mark.timeout(600)  # a fault and its recovery, on a machine that does other things as well


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    """One stack for all."""
    with Runner(print, short=True) as runner:
        yield runner


@pytest.mark.parametrize("fault", [each for each in FAULTS if each.short], ids=lambda fault: fault.name)
def test_a_fault_loses_and_repeats_nothing(runner: Runner, fault: Fault) -> None:
    (run,) = runner.run([fault], 1)
    assert run.outcome == PASS, run.differences


@pytest.mark.parametrize("fault", CONTROLS, ids=lambda fault: fault.name)
def test_the_referee_finds_out_what_is_broken(runner: Runner, fault: Fault) -> None:
    (run,) = runner.run([fault], 1)
    assert is_found_out(run.outcome, run.differences), (run.outcome, run.differences)
