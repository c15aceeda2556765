"""Which dead letters are open, and what became of the others. Pure: it is told the records of the topic in their order.

A letter is one record of one topic: its id, which is derived from where the record stands, and the record's own time, since a
topic that was deleted and made again has the same places once more. `attempt` counts how often it was given up. What settles a
letter names the attempt that it settles: the letter of a service that did its work twice is still settled, and one that
failed again after it was replayed is open.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Letter = Mapping[str, Any]  # as schemas/dead_letter has it
Outcome = Mapping[str, Any]  # as schemas/dead_letter_outcome has it

_Which = tuple[str, int | None]
_LARGE = ("payload", "key", "headers")


@dataclass(frozen=True, slots=True)
class Entry:
    """A letter without its record, and what became of it (None: it is open). `at` is the offset where it is with its record."""

    letter: Letter
    at: int
    outcome: Outcome | None

    @property
    def is_open(self) -> bool:
        """Whether nobody has settled it."""
        return self.outcome is None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters are meant; None where that does not matter. Times are milliseconds since 1970 UTC, of when it was given up."""

    ids: frozenset[str] | None = None
    reason: str | None = None
    stage: str | None = None
    project_id: str | None = None
    collection: str | None = None
    topic: str | None = None
    since: int | None = None
    until: int | None = None  # exclusive

    @property
    def is_everything(self) -> bool:
        """Whether nothing is said."""
        return self == Wanted()

    def has(self, letter: Letter) -> bool:
        """Whether a letter is meant."""
        named = ("reason", "stage", "project_id", "collection", "topic")
        return (
            (self.ids is None or letter["id"] in self.ids)
            and all(getattr(self, name) in (None, letter[name]) for name in named)
            and (self.since is None or letter["failed_at"] >= self.since)
            and (self.until is None or letter["failed_at"] < self.until)
        )


class Ledger:
    """All letters of the topic, each once."""

    def __init__(self) -> None:
        self._letters: dict[_Which, tuple[Letter, int]] = {}
        self._outcomes: dict[_Which, Outcome] = {}

    def add_letter(self, letter: Letter, at: int) -> None:
        """A letter stands at this offset."""
        which = _which(letter)
        known = self._letters.get(which)
        if known is None or letter["attempt"] >= known[0]["attempt"]:
            self._letters.pop(which, None)  # the last one is the newest
            self._letters[which] = {name: value for name, value in letter.items() if name not in _LARGE}, at

    def add_outcome(self, outcome: Outcome) -> None:
        """Somebody settled a letter."""
        known = self._outcomes.get(_which(outcome))
        if known is None or outcome["attempt"] >= known["attempt"]:
            self._outcomes[_which(outcome)] = outcome

    def __iter__(self) -> Iterator[Entry]:
        """Every letter in its newest attempt, in the order of the topic."""
        for which, (letter, at) in self._letters.items():
            outcome = self._outcomes.get(which)
            settled = outcome is not None and outcome["attempt"] >= letter["attempt"]
            yield Entry(letter, at, outcome if settled else None)

    def open(self, wanted: Wanted) -> list[Entry]:
        """Those that are open and meant."""
        return [entry for entry in self if entry.is_open and wanted.has(entry.letter)]

    @property
    def failed(self) -> dict[tuple[str, int, int, int | None], int]:
        """How often each record was given up, by topic, partition, offset and its own time."""
        return {
            (letter["topic"], letter["partition"], letter["offset"], letter["record_timestamp"]): letter["attempt"]
            for letter, _ in self._letters.values()
        }


def _which(record: Letter | Outcome) -> _Which:
    return record["id"], record["record_timestamp"]


def newest_first(entries: Iterable[Entry]) -> list[Entry]:
    """By when they were given up."""
    return sorted(entries, key=lambda entry: entry.letter["failed_at"], reverse=True)
