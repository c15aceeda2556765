"""Headwater with one rule taken out, so that the referee has something to find: `python -m tests.faults.matrix.broken_sink worker sink`.

Each function changes the product's own classes in its own process, before the command line runs as ever.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import Message

from headwater.cli import main


def commit_before_insert() -> None:
    """A sink whose offsets may be committed as soon as records are read, not when they are stored."""
    from sinks.batches import Batches

    add = Batches.add

    def add_and_settle(self: Batches, topic: str, partition: int, records: Sequence[Message], now: float) -> None:
        add(self, topic, partition, records, now)
        self._committable[topic, partition] = (records[-1].offset() or 0) + 1

    Batches.add = add_and_settle  # type: ignore[method-assign]
    Batches._advance = lambda self, partition: None  # type: ignore[method-assign]


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
