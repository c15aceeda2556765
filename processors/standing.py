"""How a processor stands: whether it does its work, and if not, why not.

Pure: no Kafka, and the caller's clock (seconds). A processor that has joined its group and has its partitions may still get
nowhere: its settles fail again and again, a block comes back every time, or records wait and none is processed.
"""

from collections.abc import Iterable, Mapping

STALLED_SECONDS = 30.0  # records wait and none was processed: longer than a fetch, a block and a lost block take
LOOP_SECONDS = (
    15.0  # between two looks, of which there is one a second: the longest that producing blocks the loop is 10 s
)
DEAD_LOOP_SECONDS = 120.0
DEAD_SETTLE_SECONDS = 300.0  # a settle that ends does so in the time that flush and transaction have, a minute


class Standing:
    """What is known of this worker. Told in its event loop; asked from any thread."""

    def __init__(self, now: float) -> None:
        self._looked_at = now
        self._settling_since: float | None = None
        self._failing_since: float | None = None
        self._stuck: dict[int, tuple[float, str]] = {}  # partitions that cannot be processed: since when, and why
        self._moved: dict[int, tuple[float, int]] = {}  # partitions with records that wait: since when, and where

    def settle_begins(self, now: float) -> None:
        """A settle is under way."""
        self._settling_since = now

    def settle_ends(self, now: float, failed: bool | None) -> None:
        """It is over; None where there was nothing to write."""
        self._settling_since = None
        if failed is False:
            self._failing_since = None
        elif failed and self._failing_since is None:
            self._failing_since = now

    def stuck(self, partition: int, why: str, now: float) -> None:
        """A block of the partition cannot be processed, and will be tried again."""
        since, _ = self._stuck.get(partition, (now, ""))
        self._stuck[partition] = since, why

    def processed(self, partition: int) -> None:
        """A block of the partition was processed."""
        self._stuck.pop(partition, None)

    def gone(self, partitions: Iterable[int]) -> None:
        """This worker has these partitions no more; what failed with them is another's to do."""
        for partition in partitions:
            self._stuck.pop(partition, None)
            self._moved.pop(partition, None)

    def let_go(self) -> None:
        """This worker has no partitions at all."""
        self._stuck, self._moved, self._failing_since = {}, {}, None

    def look(self, waiting: Mapping[int, int], next_offsets: Mapping[int, int], now: float) -> None:
        """How many records wait in each partition that is owned, and the offset that comes next in it."""
        self._looked_at = now
        moved = {}
        for partition, records in waiting.items():
            if records:
                since, at = self._moved.get(partition, (now, -1))
                next_offset = next_offsets[partition]
                moved[partition] = (since, at) if at == next_offset else (now, next_offset)
        self._moved = moved

    def problems(self, now: float) -> list[str]:
        """Why this worker does not do its work; none where it does."""
        found = []
        if now - self._looked_at > LOOP_SECONDS:
            found.append(f"the worker has not answered itself for {now - self._looked_at:.0f} s")
        failing_since = self._failing_since
        if failing_since is not None:
            found.append(f"settles fail, for {now - failing_since:.0f} s: what is processed is not durable")
        for partition, (since, why) in sorted(self._stuck.copy().items()):
            found.append(f"partition {partition} is stuck, for {now - since:.0f} s: {why}")
        stalled = [p for p, (since, _) in sorted(self._moved.copy().items()) if now - since > STALLED_SECONDS]
        if stalled:
            found.append(f"records wait and none was processed for {STALLED_SECONDS:g} s: partitions {listed(stalled)}")
        return found

    def dead(self, now: float) -> list[str]:
        """Why this process should be ended: what it does not recover from by itself."""
        found = []
        if now - self._looked_at > DEAD_LOOP_SECONDS:
            found.append(f"the worker has not answered itself for {now - self._looked_at:.0f} s")
        settling_since = self._settling_since
        if settling_since is not None and now - settling_since > DEAD_SETTLE_SECONDS:
            found.append(f"a settle has not ended in {now - settling_since:.0f} s")
        return found


def listed(numbers: Iterable[int]) -> str:
    """Numbers as text."""
    return ", ".join(map(str, sorted(numbers)))
