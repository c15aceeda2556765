"""Headwater with one rule taken out, so that the referee has something to find: `python -m tests.faults.matrix.broken_sink worker sink`.

Each function changes the product's own classes in its own process, before the command line runs as ever.
"""

from collections.abc import Mapping
from typing import Any

from headwater.cli import main


def commit_before_insert() -> None:
    """A sink whose offsets may be committed as soon as a batch is given out, not when it is stored."""
    from sinks.batches import Batch, Batches

    take = Batches.take

    def take_and_settle(self: Batches, now: float, everything: bool = False) -> Batch | None:
        batch = take(self, now, everything)
        if batch is not None:
            for partition, piece in batch.pieces.items():
                piece.settled = True
                self._advance((batch.topic, partition))
        return batch

    Batches.take = take_and_settle  # type: ignore[method-assign]


def ignore_watermark() -> None:
    """A processor that goes on at its group's offset, which is a settle behind, as if no watermark were there for live events."""
    from processors.blocks import BlockConsumer
    from processors.state import PartitionState

    commit, watermark = BlockConsumer.commit_group, PartitionState.watermark
    behind: dict[int, int] = {}

    async def commit_what_was_settled_before(self: BlockConsumer, offsets: Mapping[int, int]) -> bool:
        before = {partition: behind[partition] for partition in offsets.keys() & behind.keys()}
        behind.update(offsets)
        return not before or await commit(self, before)

    def no_watermark(self: PartitionState, kind: Any = "watermark") -> int:
        return -1 if kind == "watermark" else watermark(self, kind)

    BlockConsumer.commit_group = commit_what_was_settled_before  # type: ignore[method-assign]
    PartitionState.watermark = no_watermark  # type: ignore[method-assign]


def run() -> None:
    """The command line."""
    main()
