"""The window of ids, through any sequence of blocks, settles, failures, crashes and hours, against a list of what was put out."""

from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.aggregates import HOUR, MINUTE
from headwater.identity import id_digest, id_salt
from processors import id_window
from processors.id_window import CHUNK_IDS, INDEX, OPEN_IDS, SPAN, is_chunk
from tests.state_in_memory import MemoryTable, window_over

WINDOW = HOUR
MAX = 40
START = 1_769_904_000_000
SMALL = {"CHUNK_IDS": 8, "OPEN_IDS": 3, "REMOVED_IDS": 5}


def digest(number: int) -> bytes:
    return number.to_bytes(16)


class Partition:
    """A partition's window as a worker drives it, its changelog, and what the window should know."""

    def __init__(self) -> None:
        self.log: list[dict[bytes, bytes | None]] = []  # a transaction each
        self.table = MemoryTable()
        self.applied = 0  # transactions that the table has
        self.window = window_over(self.table, id_window_hours=1, id_window_max_ids=MAX)
        self.now = 0
        self.settled: list[
            tuple[int, int]
        ] = []  # what was put out, repetitions left out: its id and when it was settled
        self.unsettled: list[int] = []
        self.settling: tuple[dict[bytes, bytes | None], int, int] | None = None  # changes, of how many, and when

    def block(self, ids: list[int]) -> None:
        """Check what the window says of each, and put out what it does not know."""
        put_out = []
        for number in ids:
            known = self.window.has(digest(number), self.now) or number in put_out
            if number not in put_out:
                self.judge(number, known)
            if not known:
                put_out.append(number)
        self.window.add(map(digest, put_out))
        self.unsettled += put_out

    def judge(self, number: int, known: bool) -> None:
        if number in self.unsettled:
            assert known
            return
        total = len(self.settled) + len(self.unsettled)
        ages = [(self.now - time, total - at) for at, (one, time) in enumerate(self.settled) if one == number]
        age, place = ages[-1] if ages else (10 * WINDOW, 0)
        if known:
            assert age < WINDOW + SPAN + 100  # chunks of one settle have different milliseconds
        elif ages:  # too old, or among the oldest of too many
            assert age >= WINDOW or place > MAX - SMALL["CHUNK_IDS"]

    def settle(self) -> None:
        if self.settling is None:
            self.settling = self.window.changes(self.now), len(self.unsettled), self.now

    def commit(self, *, answered: bool) -> None:
        if self.settling is None:
            return
        (changes, count, time), self.settling = self.settling, None
        self.log.append(changes)
        self.settled += [(number, time) for number in self.unsettled[:count]]
        self.unsettled = self.unsettled[count:]
        if answered:
            self.table.apply(changes)
            self.applied += 1
            self.window.trim()
        else:
            self.take(elsewhere=False)

    def undo(self) -> None:
        self.settling = None
        self.unsettled = []
        self.window.undo()

    def take(self, *, elsewhere: bool) -> None:
        """Recover, from the state that is here or from nothing, in one go or bit by bit."""
        if elsewhere:
            self.table, self.applied = MemoryTable(), 0
        missing = self.log[self.applied :]
        if self.now % 2:
            missing = [{key: value for changes in missing for key, value in changes.items()}]
        for changes in missing:
            self.table.apply(changes)
        self.applied = len(self.log)
        self.settling, self.unsettled = None, []
        self.window = window_over(self.table, id_window_hours=1, id_window_max_ids=MAX)

    def check(self) -> None:
        """The index is of the chunks that are there, and these are no more than they may be."""
        held: dict[bytes, None] = {}
        total = 0
        for key, value in self.table.under(0, b"0/ids/"):
            assert is_chunk(key)
            ids = id_window._ids(value)
            held |= dict.fromkeys(INDEX + ids[at : at + 16] for at in range(0, len(ids), 16))
            total += len(ids) // 16
        assert held.keys() == {key for key in self.table.values if key.startswith(INDEX)}
        assert total <= MAX


steps = st.lists(
    st.one_of(
        st.tuples(st.just("block"), st.lists(st.integers(0, 60), min_size=1, max_size=12)),
        st.tuples(st.just("wait"), st.sampled_from([1, 2, 999, MINUTE, 10 * MINUTE, WINDOW, 3 * WINDOW])),
        st.tuples(
            st.sampled_from(
                ["settle", "settle, commit", "settle, commit", "commit", "answer lost", "undo", "take", "elsewhere"]
            ),
            st.none(),
        ),
    ),
    min_size=10,
    max_size=50,
)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_an_id_is_known_for_as_long_as_the_window_is_and_after_any_crash(steps: list[tuple[str, object]]) -> None:
    with patch.multiple(id_window, **SMALL):
        partition = Partition()
        for actions, argument in steps:
            for action in actions.split(", "):
                match action, argument:
                    case "block", list(ids):
                        partition.block(ids)
                    case "wait", int(milliseconds):
                        partition.now += milliseconds
                    case "settle", _:
                        partition.settle()
                    case "commit" | "answer lost", _:
                        partition.commit(answered=action == "commit")
                    case "undo", _:
                        partition.undo()
                    case "take" | "elsewhere", _:
                        partition.take(elsewhere=action == "elsewhere")
            partition.check()


def settle(table: MemoryTable, window: id_window.IdWindow, now: int) -> dict[bytes, bytes | None]:
    changes = window.changes(now)
    table.apply(changes)
    window.trim()
    return changes


def test_few_ids_at_a_time_make_few_chunks_and_many_make_as_many_as_needed() -> None:
    table = MemoryTable()
    window = window_over(table)
    for number in range(100):
        window.add([digest(number)])
        assert len(settle(table, window, START + 500 * number)) == 1
    assert len(list(table.under(0, b"0/ids/"))) == 1
    window.add([digest(100)])
    settle(table, window, START + SPAN)
    assert len(list(table.under(0, b"0/ids/"))) == 2
    window.add(map(digest, range(101, 101 + OPEN_IDS + 3 * CHUNK_IDS)))
    settle(table, window, START + SPAN + 1)
    sizes = [len(id_window._ids(value)) // 16 for _, value in table.under(0, b"0/ids/")]
    assert sizes == [100, CHUNK_IDS, CHUNK_IDS, CHUNK_IDS, OPEN_IDS + 1]
    assert all(window.has(digest(number), START + SPAN + 2) for number in range(101 + OPEN_IDS + 3 * CHUNK_IDS))


def test_what_has_passed_goes_in_steps_and_is_not_known_meanwhile() -> None:
    table = MemoryTable()
    window = window_over(table, id_window_hours=24)
    window.add(map(digest, range(50_000)))
    settle(table, window, START)
    later = START + 24 * HOUR + SPAN
    assert window.has(digest(7), later - 1)
    assert not window.has(digest(7), later)
    window.add([digest(7)])  # and put out again before its old chunk is gone
    assert 0 < len(settle(table, window, later + 100)) < 10
    while any(value is None for value in settle(table, window, later + 100).values()):
        pass
    assert window.has(digest(7), later)
    assert len(table.values) == 2


def test_an_id_is_one_collections() -> None:
    ids = {id_digest(id_salt(*key), b"7") for key in (("a", "b"), ("a", "c"), ("ab", ""), ("b", "b"))}
    assert len(ids) == 4
    assert all(len(one) == 16 for one in ids)


@pytest.mark.parametrize("key", [b"3/watermark", b"3/aggregates/p/ids/1", b"3/user/ids/x"])
def test_other_keys_are_no_chunks(key: bytes) -> None:
    assert not is_chunk(key)
