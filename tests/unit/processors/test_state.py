"""The state of a partition over its table."""

from headwater.aggregates import parse_key
from processors.state import WEIGHT_MAX, PartitionState
from tests.state_in_memory import MemoryTable, state_over

PROJECT = "a1" * 12


def count(state: PartitionState, collection: str, events: int, offset: int) -> None:
    aggregates, _ = state.change(PROJECT, collection)
    aggregates.add([0] * events, [0] * events, [1] * events, offset, 0)


def test_changes_hold_what_changed_and_the_watermark() -> None:
    table = MemoryTable()
    state = state_over(table, 5)
    assert state.watermark() == -1
    count(state, "a/b", 2, 1)
    count(state, "c", 1, 2)
    changes = state.changes(2, 0)
    assert {parse_key(key)[:2] + parse_key(key)[3:] for key in changes} == {
        (5, "watermark", ""),
        (5, "aggregates", "a/b"),
        (5, "catalogue", "a/b"),
        (5, "aggregates", "c"),
        (5, "catalogue", "c"),
    }
    table.apply(changes)
    count(state, "c", 3, 5)
    later = state.changes(5, 0)
    assert {parse_key(key).collection for key in later} == {"", "c"}
    table.apply(later)
    fresh = state_over(table, 5)
    assert fresh.watermark() == 5
    assert [fresh.change(PROJECT, name)[0].events for name in ("a/b", "c")] == [2, 4]


def test_undone_changes_are_gone() -> None:
    table = MemoryTable()
    state = state_over(table, 0)
    count(state, "a", 1, 0)
    table.apply(state.changes(0, 0))
    count(state, "a", 5, 5)
    state.undo()
    assert state.change(PROJECT, "a")[0].events == 1


def test_memory_is_bounded_and_nothing_unwritten_is_let_go() -> None:
    table = MemoryTable()
    state = state_over(table, 0)
    wide = {f"p{number}": [1, 0, 0, 1] for number in range(WEIGHT_MAX // 4)}
    for number in range(10):
        count(state, f"c{number}", 1, number)
        state.change(PROJECT, f"c{number}")[1].paths |= wide
    table.apply(state.changes(9, 0))
    count(state, "c0", 1, 10)  # changed again before the settle of the others was done
    state.trim()
    assert len(state._catalogues) <= 5
    assert state.change(PROJECT, "c0")[0].events == 2
    assert all(state.change(PROJECT, f"c{number}")[0].events == 1 for number in range(1, 10))
    assert state.change(PROJECT, "c3")[1].paths.keys() == wide.keys()
