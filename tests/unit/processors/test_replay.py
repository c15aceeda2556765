"""Which events of a replay were dropped as sent again when they were processed: against a model."""

from hypothesis import given
from hypothesis import strategies as st

from headwater.aggregates import HOUR
from processors.id_window import SPAN
from processors.replay import SeenIds

HOURS = 2
KEPT = HOURS * HOUR + SPAN


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.integers(0, KEPT))))
def test_an_id_repeats_while_its_first_event_is_in_the_window(events: list[tuple[bytes, int]]) -> None:
    seen, first, now = SeenIds(HOURS, 100), dict[bytes, int](), 0
    for digest, later in events:
        now += later
        known = digest in first and now < first[digest] + KEPT
        assert seen.repeats(digest, now) is known
        if not known:
            first[digest] = now


def test_of_more_ids_than_a_window_takes_the_oldest_go() -> None:
    seen = SeenIds(HOURS, 2)
    assert not any(seen.repeats(digest, 1) for digest in (b"a", b"b", b"c"))
    assert seen.repeats(b"c", 1)
    assert not seen.repeats(b"a", 1)


def test_where_what_came_before_is_gone_nobody_knows_for_as_long_as_an_id_is_kept() -> None:
    seen = SeenIds(HOURS, 100)
    assert seen.unsure_until == 0
    seen.begins_cut(5)
    seen.begins_cut(2)
    assert seen.unsure_until == 5 + KEPT
