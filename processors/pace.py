"""How much of the window history may use: less where sinks store late, all of it where no live event comes.

Events of history and live ones stand in the same queues before the sinks, so how long history takes to be stored is how long live
events take. Where that is too long, the share shrinks by a factor; where it is not, it grows by a step, as TCP's window does.

Pure: no Kafka, no clock.
"""

LATE_SECONDS = 0.5  # what leaves room for the rest of the way, where a live event is to be in answers within two
SHRINKING = 0.8
GROWING = 0.02
SHARE_MIN = 0.1  # history goes on, however slowly


class Pace:
    """The pace of one processor: `share` is from SHARE_MIN to 1."""

    def __init__(self) -> None:
        self.share = 1.0

    def learn(self, seconds: float, live: bool) -> None:
        """History has waited so long to be stored, or waits so long already; `live`: live events have come since the last time."""
        if not live:
            self.share = 1.0
        elif seconds > LATE_SECONDS:
            self.share = max(SHARE_MIN, self.share * SHRINKING)
        else:
            self.share = min(1.0, self.share + GROWING)
