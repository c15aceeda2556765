"""Bodies that take long are judged in another process: which ones, and in what form they are handed over and answered."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol, TypeVar

from collector.errors import ApiError

# What is more is judged in another process: so much could keep others waiting for some milliseconds.
EVENT_AT_ONCE_BYTES = 32_000  # of one event or message
BROKEN_AT_ONCE_BYTES = 8_000  # of what is no JSON as a whole
QUICK_BYTES = 1_500_000  # a thousand events and more, as clients send them
QUICK_VALUES = 80_000
SURELY_QUICK_BYTES = 100_000

PART_EVENTS = 500  # of many, in one part of an answer: as many as the collector may unpack at a time
BATCH_EVENTS_MAX = 100_000  # of one request; what is more cannot be an event of a hundred bytes each

Part = TypeVar("Part", covariant=True)


class Task(Protocol[Part]):
    """What a body is to be judged as. It is pickled, so it and its parts are made of values and of what modules define."""

    def judge(self, body: bytes) -> Iterable[Part]:
        """The parts of the answer. Pure, and so the same in whatever process: what is to be counted is in the parts.

        Raises ApiError where all of the body is refused.
        """


class Done(NamedTuple):
    """The end of an answer about a task: how many seconds of a processor it took, and what the body was refused with."""

    seconds: float
    refusal: ApiError | None


def reads_quickly(body: bytes) -> bool:
    """Whether the JSON of many events is read within a few milliseconds: it is the values that take time, more than their bytes."""
    if len(body) <= SURELY_QUICK_BYTES:
        return True
    if len(body) > QUICK_BYTES:
        return False
    return body.count(b",") + body.count(b"[") + body.count(b"{") <= QUICK_VALUES
