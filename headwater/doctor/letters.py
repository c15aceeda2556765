"""Dead letters that are open, by reason."""

import time
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from headwater.codec import CodecError
from headwater.dead_letters import Ledger
from headwater.dead_letters.reading import enter, read_records
from headwater.doctor.check import Check, duration, ok, warning
from headwater.settings import Settings

READ_SECONDS = 5.0


class Letters(NamedTuple):
    """How many there are for each stage and reason, when the last one was written (seconds since 1970), and whether all were read."""

    reasons: Mapping[tuple[str, str], int]
    newest: float
    all: bool


def look(settings: Settings) -> Letters:
    """Count those that are neither replayed nor discarded, each record once. Blocks for READ_SECONDS and an answer at most; raises DeadLettersError."""
    ledger = Ledger()
    deadline = time.monotonic() + READ_SECONDS
    complete = True
    try:
        for record in read_records(settings, READ_SECONDS):
            enter(ledger, record)
            if time.monotonic() > deadline:
                complete = False
                break
    except CodecError:
        complete = False
    letters = [entry.letter for entry in ledger if entry.is_open]
    reasons = Counter((letter["stage"], letter["reason"]) for letter in letters)
    return Letters(reasons, max((letter["failed_at"] for letter in letters), default=0) / 1000, complete)


def judge(letters: Letters, now: float) -> Check:
    """Whether records were given up."""
    count = sum(letters.reasons.values())
    if not count:
        return ok("dead letters", "none" if letters.all else "none that can be read")
    most = sorted(letters.reasons.items(), key=lambda each: -each[1])
    reasons = ", ".join(f"{number:,} {reason} ({stage})" for (stage, reason), number in most)
    at_least = "" if letters.all else "at least "
    said = f"{at_least}{count:,}: {reasons}; the newest {duration(max(0.0, now - letters.newest))} ago"
    return warning(
        "dead letters",
        said,
        f"`headwater dead-letter list --reason {most[0][0][1]}` shows them, `replay` gives them again",
    )
