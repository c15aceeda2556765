"""Partitions of which nothing is stored though records wait."""

from hypothesis import given
from hypothesis import strategies as st

from sinks.lag import STILL_SECONDS, Still

A, B = ("a", 0), ("b", 1)


def test_what_moves_or_has_nothing_to_store_does_not_stand_still() -> None:
    still = Still()
    for second in range(0, 300, 5):
        assert not still.look({A: second, B: 7}, {A: 1_000, B: 7}, second)


def test_what_stands_still_is_told_until_it_moves() -> None:
    still = Still()
    assert not still.look({A: 5, B: 0}, {A: 6, B: 9}, 0)
    assert not still.look({A: 5, B: 1}, {A: 8, B: 9}, STILL_SECONDS - 1)
    assert still.look({A: 5, B: 1}, {A: 8, B: 9}, STILL_SECONDS) == {A}
    assert still.look({A: 6, B: 1}, {A: 8, B: 9}, 2 * STILL_SECONDS - 1) == {B}
    assert not still.look({A: 8}, {A: 8}, 3 * STILL_SECONDS), "B is another member's now"
    assert not still.look({A: 8, B: 1}, {A: 8, B: 9}, 3 * STILL_SECONDS + 1), "and is looked at anew"


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 40)), max_size=30))
def test_it_is_as_a_model_that_remembers_everything(looks: list[tuple[int, int, int]]) -> None:
    still, now, history = Still(), 0, list[tuple[int, int, int]]()
    for stored, more, later in looks:
        now += later
        history.append((now, stored, stored + more))
        first = now
        for at, offset, end in reversed(history):  # since when has it been just so?
            if offset != stored or end <= offset:
                break
            first = at
        told = more > 0 and now - first >= STILL_SECONDS
        assert still.look({A: stored}, {A: stored + more}, now) == ({A} if told else set())
