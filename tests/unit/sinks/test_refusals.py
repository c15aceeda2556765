"""Halving down to the rows at fault, against a server that is a set of bad rows."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.errors import MEMORY_LIMIT_EXCEEDED, StoreError
from sinks.refusals import insert_but_refused

FAULT = 117  # INCORRECT_DATA
BUSY = 252  # TOO_MANY_PARTS


def rows(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def nothing(_datums: Sequence[bytes]) -> None:
    """A trial that takes everything."""


@given(st.integers(1, 300), st.data())
def test_the_good_rows_are_inserted_once_and_the_bad_ones_named(count: int, data: st.DataObject) -> None:
    bad = {b"%d" % number for number in data.draw(st.sets(st.integers(0, count - 1), max_size=10))}
    inserted: list[bytes] = []
    attempts = 0

    def refuse(datums: Sequence[bytes]) -> None:
        nonlocal attempts
        attempts += 1
        if bad & set(datums):
            raise StoreError("cannot parse", FAULT)

    def insert(datums: Sequence[bytes]) -> None:
        refuse(datums)
        inserted.extend(datums)

    datums = rows(count)
    refused = list(insert_but_refused(datums, insert, lambda one: refuse(one)))
    assert {row for row, _ in refused} == bad
    assert inserted == [row for row in datums if row not in bad]
    assert attempts <= 1 + len(bad) * (2 * math.ceil(math.log2(count)) + 2)


def test_an_error_that_is_no_rows_fault_is_raised_at_once() -> None:
    attempts: list[int] = []

    def insert(datums: Sequence[bytes]) -> None:
        attempts.append(len(datums))
        raise StoreError("too many parts", BUSY)

    with pytest.raises(StoreError, match="too many parts"):
        list(insert_but_refused(rows(8), insert, nothing))
    assert attempts == [8]


def test_no_answer_is_no_rows_fault() -> None:
    def insert(_datums: Sequence[bytes]) -> None:
        raise StoreError("connection refused")

    with pytest.raises(StoreError, match="connection refused"):
        list(insert_but_refused(rows(1), insert, nothing))


def test_a_row_that_only_the_table_refuses_is_not_given_up() -> None:
    def insert(_datums: Sequence[bytes]) -> None:
        raise StoreError("the column is an Int64", FAULT)

    with pytest.raises(StoreError, match="Int64"):
        list(insert_but_refused(rows(4), insert, nothing))


def test_a_row_is_not_given_up_when_its_trial_gets_no_answer() -> None:
    def insert(_datums: Sequence[bytes]) -> None:
        raise StoreError("cannot parse", FAULT)

    def trial(_datums: Sequence[bytes]) -> None:
        raise StoreError("connection reset")

    with pytest.raises(StoreError, match="connection reset"):
        list(insert_but_refused(rows(1), insert, trial))


def test_a_batch_too_large_for_the_servers_memory_goes_in_halves() -> None:
    inserted: list[list[bytes]] = []

    def insert(datums: Sequence[bytes]) -> None:
        if len(datums) > 2:
            raise StoreError("memory limit exceeded", MEMORY_LIMIT_EXCEEDED)
        inserted.append(list(datums))

    assert list(insert_but_refused(rows(8), insert, nothing)) == []
    assert [row for part in inserted for row in part] == rows(8)


def test_a_single_row_is_not_given_up_for_memory() -> None:
    def insert(_datums: Sequence[bytes]) -> None:
        raise StoreError("memory limit exceeded", MEMORY_LIMIT_EXCEEDED)

    with pytest.raises(StoreError, match="memory limit"):
        list(insert_but_refused(rows(4), insert, nothing))
