"""What a benchmark measures: runs of cases, goals between them, and how they are summed up."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psutil

Figures = dict[str, float]
"""One run of a case: its value, and other figures by name with their unit, such as "CPU µs/event"."""


@dataclass(frozen=True)
class Goal:
    """What is wanted of a case: its value against another case's of the same round, or by itself."""

    case: str
    wanted: float
    against: str | None = None
    figure: str | None = None  # another figure than the value
    at_most: bool = False


@dataclass
class Benchmark:
    """The measurements of one part. `runs` has, by case, one entry for each round that the case was run in."""

    name: str
    meaning: str
    unit: str
    parameters: dict[str, Any]
    goals: tuple[Goal, ...] = ()
    runs: dict[str, list[Figures]] = field(default_factory=dict)

    def add(self, case: str, **figures: float) -> None:
        """Record one run: `value`, and other figures."""
        self.runs.setdefault(case, []).append(figures)

    def values(self, case: str, figure: str = "value") -> list[float]:
        """A figure of a case in all its runs."""
        return [run[figure] for run in self.runs.get(case, ()) if figure in run]

    def outcome(self, goal: Goal) -> float | None:
        """The median of the goal's case; where it is against another, of the ratios of runs of the same round."""
        values = self.values(goal.case, goal.figure or "value")
        if goal.against is not None:
            others = self.values(goal.against, goal.figure or "value")
            values = [value / other for value, other in zip(values, others, strict=False)]
        return median(values) if values else None


def total(figures: Iterable[Figures]) -> Figures:
    """The sums of figures of several processes, by name; of those that all of them have."""
    each = list(figures)
    return {name: sum(one[name] for one in each) for name in each[0] if all(name in one for one in each)}


def spread(values: list[float]) -> float:
    """Largest less smallest, as a share of the median."""
    return (max(values) - min(values)) / median(values)


class Meter:
    """The CPU time and memory of a process and of those that it started, over a stretch of time."""

    def __init__(self, pid: int) -> None:
        root = psutil.Process(pid)
        self._processes = [root, *root.children(recursive=True)]
        self._began = self._cpu()

    def figures(self, events: int) -> dict[str, float]:
        """CPU time since the start, by event (as many seconds by a million of them), and the memory that is resident now.

        On Linux also the most that has been: the sum of what each process had at most.
        """
        figures = {
            "CPU µs/event": (self._cpu() - self._began) / events * 1e6,
            "RSS MB": sum(process.memory_info().rss for process in self._processes) / 1e6,
        }
        peaks = [_peak(process.pid) for process in self._processes]
        return figures if None in peaks else figures | {"peak MB": sum(filter(None, peaks)) / 1e6}

    def _cpu(self) -> float:
        return sum(times.user + times.system for times in (process.cpu_times() for process in self._processes))


def _peak(pid: int) -> int | None:
    """The bytes that a process has had resident at most; None where the system does not say."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return None
    for line in status.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1_024
    return None
