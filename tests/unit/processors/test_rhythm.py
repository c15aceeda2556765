"""The pause between two settles, by what the settles before it took."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.rhythm import SECONDS_MAX, SHARE, Rhythm

SHORTEST = 0.5


@given(st.lists(st.tuples(st.floats(0, 1000), st.booleans())))
def test_the_pause_keeps_its_bounds(settles: list[tuple[float, bool]]) -> None:
    rhythm = Rhythm(SHORTEST)
    for seconds, failed in settles:
        rhythm.settled(seconds, failed)
        assert SHORTEST <= rhythm.pause <= SECONDS_MAX


@pytest.mark.parametrize("seconds", [0.01, 0.3, 1.0])
def test_settles_that_are_always_slow_take_their_share_of_the_time(seconds: float) -> None:
    rhythm = Rhythm(SHORTEST)
    for _ in range(10):
        rhythm.settled(seconds, failed=False)
    assert seconds / (seconds + rhythm.pause) <= SHARE + 1e-9
    assert rhythm.pause == pytest.approx(max(SHORTEST, 9 * seconds))


def test_one_settle_that_stood_still_puts_off_the_next_by_little() -> None:
    rhythm = Rhythm(SHORTEST)
    rhythm.settled(0.01, failed=False)
    rhythm.settled(25.0, failed=False)
    assert rhythm.pause == 2 * SHORTEST
    rhythm.settled(0.01, failed=False)
    assert rhythm.pause == SHORTEST


def test_after_a_settle_that_failed_the_next_comes_as_soon_as_any() -> None:
    rhythm = Rhythm(SHORTEST)
    for _ in range(10):
        rhythm.settled(5.0, failed=False)
    assert rhythm.pause == SECONDS_MAX
    rhythm.settled(30.0, failed=True)
    assert rhythm.pause == SHORTEST
