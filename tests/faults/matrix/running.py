"""Runs faults one after the other, on stacks that are kept as long as they are whole."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from tests.faults.matrix.places import PLACES
from tests.faults.matrix.referee import ERROR, MISMATCH, PASS, Referee
from tests.faults.matrix.scene import Fault, Run, perform
from tests.faults.matrix.stack import FaultError, Stack


class Runner:
    """Keeps one stack at a time. Closed, it leaves nothing behind but the logs of runs that did not pass."""

    def __init__(self, say: Callable[[str], object], short: bool = False) -> None:
        self._say, self._short = say, short
        self._folder = Path(tempfile.mkdtemp(prefix="headwater-faults-"))
        self._stacks = 0
        self._place = ""
        self._stack: Stack | None = None
        self._referee: Referee | None = None
        self._leave: Callable[[], None] = lambda: None
        self._keep = False

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        if self._keep:
            self._say(f"The logs are in {self._folder}")
        else:
            shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, faults: list[Fault], times: int, had: Iterable[Run] = ()) -> Iterator[Run]:
        """Every fault so many times, less those that were `had`, each time at the next of its moments; a line is said of each run."""
        already = Counter(run.fault for run in had)
        ordered = sorted(faults, key=lambda fault: (fault.place, bool(fault.broken)))
        for fault in ordered:
            for number in range(already[fault.name], times):
                run = self._one(fault, fault.moments[number % len(fault.moments)])
                recovery = "" if run.recovery is None else f", recovered in {run.recovery:.1f} s"
                self._say(
                    f"{fault.name} {number + 1}/{times} ({run.moment}): {run.outcome}{recovery}, took {run.seconds:.0f} s"
                )
                for difference in run.differences:
                    self._say(f"    {difference}")
                self._keep |= run.outcome == ERROR or (run.outcome == MISMATCH) != bool(fault.broken)
                yield run

    def _one(self, fault: Fault, moment: str) -> Run:
        try:
            stack, referee = self._at(fault.place)
            stack.run_programs(fault.broken)
        except Exception as error:  # no stack, no verdict
            self._end()
            return Run(fault.name, moment, ERROR, [f"{type(error).__name__}: {error}"[:2000]])
        run = perform(fault, stack, referee, moment, self._short)
        try:
            stack.start_base()
        except Exception as error:
            self._end()
            if run.outcome == PASS:
                run.outcome = MISMATCH
                run.differences.append(f"the stack is not whole afterwards: {error}"[:2000])
        return run

    def _at(self, place: str) -> tuple[Stack, Referee]:
        if self._stack is None or self._place != place:
            self._end()
            self._stacks += 1
            folder = self._folder / f"{place}-{self._stacks}"
            folder.mkdir()
            options, self._leave = PLACES[place](folder)
            self._place = place
            self._stack = Stack(folder, options)
            self._referee = Referee(self._stack.settings, self._stack.url)
        assert self._referee is not None
        return self._stack, self._referee

    def _end(self) -> None:
        if self._referee is not None:
            with suppress(Exception):
                self._referee.close()
        if self._stack is not None:
            self._stack.close()
        self._stack = self._referee = None
        leave, self._leave = self._leave, lambda: None
        leave()


__all__ = ["FaultError", "Runner"]
