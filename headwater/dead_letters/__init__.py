"""Dead letters: what is kept of a record that was given up, what became of it, and giving it to its service again."""

from headwater.dead_letters.ledger import Entry, Ledger, Wanted
from headwater.dead_letters.letter import GivenUp, dead_letter
from headwater.dead_letters.reading import DeadLettersError, read_dead_letters, read_ledger
from headwater.dead_letters.settling import Settled, Settler

__all__ = [
    "DeadLettersError",
    "Entry",
    "GivenUp",
    "Ledger",
    "Settled",
    "Settler",
    "Wanted",
    "dead_letter",
    "read_dead_letters",
    "read_ledger",
]
