"""Where an event is: from its raw record to the answers that it is in, or why it is in none."""

from headwater.trace.found import Found, Verdict, verdict
from headwater.trace.search import trace

__all__ = ["Found", "Verdict", "trace", "verdict"]
