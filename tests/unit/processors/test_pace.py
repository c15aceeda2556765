"""The pace of history, against a model of sinks that store so many events a second, live ones among them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.pace import LATE_SECONDS, SHARE_MIN, Pace

WINDOW = 2_500
EMPTY_SECONDS = 0.3  # what storing takes however little there is


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans())))
def test_the_share_keeps_its_bounds(learned: list[tuple[float, bool]]) -> None:
    pace = Pace()
    for seconds, live in learned:
        pace.learn(seconds, live)
        assert SHARE_MIN <= pace.share <= 1
        assert live or pace.share == 1


@pytest.mark.parametrize(("stored", "live"), [(20_000, 1_000), (6_000, 1_000), (8_000, 5_000), (2_500, 1_000)])
def test_live_events_are_late_only_while_the_share_is_found(stored: int, live: int) -> None:
    pace = Pace()
    took, shares = [], []
    for _ in range(200):
        # Live events take their part of what sinks store; what is under way of history waits for the rest.
        seconds = EMPTY_SECONDS + WINDOW * pace.share / (stored - live)
        pace.learn(seconds, live=True)
        took.append(seconds)
        shares.append(pace.share)
    assert max(took[10:]) <= 1.1 * LATE_SECONDS
    if stored == 20_000:
        assert min(shares) == 1, "where sinks are quick, nothing is held back"
    else:
        ideal = min(1, (LATE_SECONDS - EMPTY_SECONDS) * (stored - live) / WINDOW)
        assert sum(shares[10:]) / len(shares[10:]) >= 0.7 * ideal, "what capacity is left is used"


def test_sinks_that_are_late_for_other_reasons_leave_history_a_little() -> None:
    pace = Pace()
    for _ in range(100):
        pace.learn(5.0, live=True)
    assert pace.share == SHARE_MIN
    for _ in range(100):
        pace.learn(0.1, live=True)
    assert pace.share == 1
