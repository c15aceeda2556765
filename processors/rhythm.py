"""How long a processor waits between two settles: less often where they would take more than a share of the time.

A settle that takes long because there is much to write will do so again. One that stood still because Kafka did says nothing of
the next: so the pause grows by a factor from settle to settle, and not at once; and after a settle that failed, nothing of which
is done, the next one comes as soon as any.

Pure: no Kafka, no clock.
"""

SHARE = 0.1  # of the time
GROWING = 2.0
SECONDS_MAX = 10.0


class Rhythm:
    """The rhythm of one processor: `pause` is how many seconds to wait until the next settle, `shortest` at least."""

    def __init__(self, shortest: float) -> None:
        self._shortest = shortest
        self.pause = shortest

    def settled(self, seconds: float, failed: bool) -> None:
        """A settle took so long."""
        wanted = 0.0 if failed else seconds / SHARE - seconds
        self.pause = max(self._shortest, min(wanted, self.pause * GROWING, SECONDS_MAX))
