"""The processors' table on a real RocksDB."""

import time
from pathlib import Path
from unittest.mock import patch

import faust
import pytest

from headwater.settings import load_settings
from processors.id_window import INDEX, IdWindow
from processors.table import StateError, StateLostError, StateTable


@pytest.fixture
def table(tmp_path: Path) -> StateTable:
    app = faust.App("test", broker="kafka://none", datadir=str(tmp_path), store="rocksdb://")
    return StateTable.declared(app, load_settings())


def test_chunks_have_their_index_and_take_it_with_them(table: StateTable) -> None:
    settings, now = load_settings(id_window_max_ids=3_000), 1_769_904_000_000
    window, other = IdWindow(settings, table, 2), IdWindow(settings, table, 3)
    ids = [number.to_bytes(16) for number in range(5_000)]
    for first in range(0, 5_000, 1_000):
        window.add(ids[first : first + 1_000])
        table.apply(2, window.changes(now).items(), first)
        window.trim()
    assert [window.has(one, now) for one in ids] == [False] * 2_000 + [True] * 3_000
    assert not other.has(ids[-1], now)
    kept = list(table.under(2, b"2/ids/"))
    assert [key for key, _ in kept] == sorted(key for key, _ in kept)
    assert len(list(table.under(2, INDEX))) == 3_000
    table.apply(3, kept, 4_000)  # as who recovers
    assert [other.has(one, now) for one in ids] == [False] * 2_000 + [True] * 3_000
    table.apply(3, [(key, None) for key, _ in kept], 5_000)
    assert list(table.under(3, b"3")) == list(table.under(3, INDEX)) == []


def test_a_table_knows_its_offset_and_its_age_until_it_is_forgotten(table: StateTable) -> None:
    assert (table.offset(0), table.age(0)) == (-1, 0.0)
    table.apply(0, [(b"0/watermark", b"x")], 7)
    assert (table.offset(0), table.read(0, b"0/watermark")) == (7, b"x")
    later = time.time() + 3_600
    with patch("processors.table.time.time", return_value=later):
        assert 3_590 < table.age(0) < 3_700
    table.forget(0)
    assert (table.offset(0), table.age(0), table.read(0, b"0/watermark")) == (-1, 0.0, None)


def damage(table: StateTable, names: str) -> None:
    """Overwrite the middle of these files of partition 0."""
    files = list(table.data.partition_path(0).glob(names))
    assert files
    for path in files:
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(size // 3)
            file.write(bytes(size // 3))


@pytest.mark.parametrize("names", ["MANIFEST-*", "CURRENT"])
def test_a_database_that_cannot_be_opened_is_made_anew(table: StateTable, names: str) -> None:
    table.apply(0, [(b"0/watermark", b"x" * 1_000)], 7)
    database = table.data._dbs[0]
    database.flush()
    database.close()
    del table.data._dbs[0]
    damage(table, names)
    assert (table.offset(0), table.read(0, b"0/watermark")) == (-1, None)
    table.apply(0, [(b"0/watermark", b"y")], 8)
    assert (table.offset(0), table.read(0, b"0/watermark")) == (8, b"y")


def test_a_database_that_is_found_damaged_is_let_go_and_said_to_be_lost(table: StateTable) -> None:
    table.apply(0, [(b"%d" % number, b"x" * 1_000) for number in range(1_000)], 7)
    database = table.data._dbs[0]
    database.flush()
    database.close()
    del table.data._dbs[0]
    damage(table, "*.sst")
    with pytest.raises(StateLostError):
        list(table.under(0, b""))
    assert table.offset(0) == -1
    table.apply(0, [(b"1", b"y")], 8)
    assert table.read(0, b"1") == b"y"


def test_an_error_that_says_nothing_of_damage_costs_nothing(table: StateTable) -> None:
    table.apply(0, [(b"1", b"x")], 7)
    whole = table.data._dbs[0]

    class Failing:
        def get(self, _key: bytes) -> bytes:
            raise Exception("IO error: no space")

    table.data._dbs[0] = Failing()
    with pytest.raises(StateError, match="no space"):
        table.read(0, b"1")
    table.data._dbs[0] = whole
    assert table.read(0, b"1") == b"x"
