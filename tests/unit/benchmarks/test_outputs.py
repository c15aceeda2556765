"""What peers put out counts only where it is what the processor puts out."""

import pytest

from benchmarks.outputs import check_equal
from benchmarks.stack import BenchmarkError

OURS = {b"one": b"1", b"two": b"2"}


def test_the_same_events_are_equal() -> None:
    check_equal("peer", dict(OURS), OURS)


def test_a_part_is_enough_only_where_that_is_asked_for() -> None:
    check_equal("peer", {b"two": b"2"}, OURS, part=True)
    with pytest.raises(BenchmarkError, match="peer: 1 events were put out, and 2"):
        check_equal("peer", {b"two": b"2"}, OURS)


@pytest.mark.parametrize("theirs", [{b"one": b"1", b"two": b"3"}, {b"one": b"1", b"two": b"2", b"three": b"3"}])
def test_another_event_is_named(theirs: dict[bytes, bytes]) -> None:
    with pytest.raises(BenchmarkError, match=r"the event (two|three) is not as the processor"):
        check_equal("peer", theirs, OURS, part=True)


def test_nothing_is_never_enough() -> None:
    with pytest.raises(BenchmarkError, match="0 events"):
        check_equal("peer", {}, OURS, part=True)
