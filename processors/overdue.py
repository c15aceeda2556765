"""Blocks that were fetched but never came, where no later one shows it. Pure: the clock is the caller's.

Faust drops what is queued in a rebalance. The next block shows the gap; where none follows, only time does.
"""

from collections.abc import Mapping

LOST_SECONDS = 10.0  # how long a block that was fetched may take to come


class Overdue:
    """Remembers since when blocks of a partition have been due, and from where."""

    def __init__(self) -> None:
        self._due: dict[int, tuple[float, int]] = {}

    def look(self, behind: Mapping[int, int], now: float) -> list[int]:
        """The partitions to read again, given those of which more is fetched than has come, with the offset that must come next."""
        due, lost = {}, []
        for partition, offset in behind.items():
            since, at = self._due.get(partition, (now, offset))
            if at != offset:
                since = now
            elif now - since > LOST_SECONDS:
                lost.append(partition)
                continue
            due[partition] = since, offset
        self._due = due
        return lost
