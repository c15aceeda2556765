"""How often deletions have been done: the same whatever of their records is read, and never less than before."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from headwater.control import Deletion, Deletions

DELETIONS = [Deletion(f"d{n}", "p", "ab"[n % 2], n) for n in range(4)]


def done_of(deletions: Deletions) -> int:
    return deletions.times_done("p", ("a", "b"))


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["ask", "done"])), max_size=20))
def test_it_goes_up_with_each_deletion_done_and_follows_from_the_newest_records(steps: list[tuple[int, str]]) -> None:
    followed, newest, before, done = Deletions(), dict(enumerate(DELETIONS)), 0, 0
    asked: set[int] = set()
    for n, step in steps:
        if n not in asked:
            asked.add(n)  # its first record
        elif step == "done" and newest[n].done_at is None:
            newest[n], done = replace(newest[n], done_at=9), done + 1
        elif step == "ask" and newest[n].done_at is not None:
            newest[n] = replace(newest[n], asked=newest[n].asked + 1, done_at=None)
        followed.put(newest[n])
        assert done_of(followed) == done >= before
        before = done
    compacted = Deletions()
    for n in asked:
        compacted.put(newest[n])
    assert done_of(compacted) == compacted.times_done_in_all == done
    assert compacted.times_done("p", ("a",)) + compacted.times_done("p", ("b",)) == done
    assert compacted.times_done("other", ("a", "b")) == 0
