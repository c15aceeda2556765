"""What a worker holds of a partition that it has taken."""

from dataclasses import dataclass

from processors.fence import FencedWriter
from processors.partition import Progress
from processors.state import PartitionState


@dataclass(slots=True, eq=False)
class Owned:
    """A partition that this worker has taken, of the raw topic and of the backfill topic: they share its state."""

    progress: Progress  # in the raw topic
    history: Progress  # in the backfill topic
    state: PartitionState
    writer: FencedWriter

    def begin_settle(self) -> tuple[int | None, int | None]:
        """For both topics what Progress.begin_settle says."""
        return self.progress.begin_settle(), self.history.begin_settle()

    def settle_done(self) -> None:
        """What the last `begin_settle` returned is durable."""
        for progress in (self.progress, self.history):
            if progress.cut is not None:
                progress.settle_done()
