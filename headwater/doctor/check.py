"""What a check found, and what that says of a deployment. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `remedy` is the way out of what is wrong."""

    name: str
    outcome: Outcome
    said: str
    remedy: str | None = None


def ok(name: str, said: str) -> Check:
    """All is well."""
    return Check(name, "ok", said)


def warning(name: str, said: str, remedy: str) -> Check:
    """Something to look at; events come through."""
    return Check(name, "warning", said, remedy)


def failed(name: str, said: str, remedy: str) -> Check:
    """Something is wrong: events do not come through, or may be lost."""
    return Check(name, "failed", said, remedy)


def skipped(name: str, said: str, remedy: str | None = None) -> Check:
    """What could not be looked at because of something else."""
    return Check(name, "skipped", said, remedy)


def healthy(checks: Iterable[Check]) -> bool:
    """Whether nothing is wrong; warnings are no wrong."""
    return all(check.outcome != "failed" for check in checks)


def remedies(checks: Iterable[Check]) -> list[str]:
    """What to do, the worst first, each once."""
    order: tuple[Outcome, ...] = ("failed", "warning", "skipped")
    kept = list(checks)
    found = [
        f"{each.name}: {each.remedy}" for outcome in order for each in kept if each.outcome == outcome and each.remedy
    ]
    return list(dict.fromkeys(found))


def several(names: Iterable[str], most: int = 3) -> str:
    """Some names, and how many more there are."""
    every = list(names)
    more = len(every) - most
    return ", ".join(every[:most]) + (f" and {more} more" if more > 0 else "")


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"
