"""Rows of Parquet as properties."""

import datetime as dt
import io
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow
import pytest
from pyarrow import parquet

from headwater.load.mapping import Columns
from headwater.load.parquet import parquet_rows
from headwater.load.rows import read_blocks
from headwater.load.source import FormatError, Source, files_in


def test_every_type_is_as_json_has_it(tmp_path: Path) -> None:
    noon = dt.datetime(2026, 1, 31, 12, 0, 0, 250_000)
    paris = dt.timezone(dt.timedelta(hours=1))
    columns: dict[str, tuple[Any, Any]] = {
        "integer": (2**63 - 1, 2**63 - 1),
        "float": (0.1, 0.1),
        "text": ("2026-01-31", "2026-01-31"),
        "flag": (True, True),
        "naive": (noon, "2026-01-31T12:00:00.250000+00:00"),
        "zoned": (noon.replace(tzinfo=paris), "2026-01-31T12:00:00.250000+01:00"),
        "day": (noon.date(), "2026-01-31"),
        "clock": (dt.time(1, 2, 3), "01:02:03"),
        "span": (dt.timedelta(seconds=1.5), 1.5),
        "price": (Decimal("9.50"), 9.5),
        "whole": (Decimal("12345678901234567.00"), 12345678901234567),
        "bytes": ("é".encode(), "é"),
        "nested": ({"list": [{"at": noon.date()}, None]}, {"list": [{"at": "2026-01-31"}, None]}),
    }
    path = tmp_path / "file"
    rows = {name: [given, None] for name, (given, _) in columns.items()} | {"nothing": [None, None]}
    parquet.write_table(pyarrow.table(rows | {"number": [float("nan"), 1.0]}), path)
    found = [*chain.from_iterable(read_blocks(Source(path)))]
    assert [(row.line, row.problem) for row in found] == [(1, ""), (2, "")]
    assert found[0].properties == {name: wanted for name, (_, wanted) in columns.items()}
    assert found[1].properties == {"number": 1.0}
    assert len({row.key for row in found}) == 2


def test_a_row_with_bytes_that_are_no_text_is_refused_alone() -> None:
    file = io.BytesIO()
    parquet.write_table(pyarrow.table({"a": [b"\xff", b"fine"]}), file)
    file.seek(0)
    rows = list(parquet_rows(file, Columns(())))
    assert [(number, properties) for number, properties, _ in rows] == [(1, None), (2, {"a": "fine"})]
    assert "UTF-8" in rows[0][2]


def test_nanoseconds_are_cut_and_what_python_has_no_time_for_is_refused_alone() -> None:
    at = 1_769_860_800_000_000_789  # nanoseconds since 1970
    moments = pyarrow.array([at, None], pyarrow.timestamp("ns", "UTC"))
    columns = {
        "at": moments,
        "clock": pyarrow.array([3_723_000_000_001, None], pyarrow.time64("ns")),
        "span": pyarrow.array([1_500_000_001, None], pyarrow.duration("ns")),
        "inner": pyarrow.StructArray.from_arrays([moments], ["at"]),
        "list": pyarrow.array([[at], None], pyarrow.list_(pyarrow.timestamp("ns"))),
        "late": pyarrow.array([None, 253_402_300_800_000_000], pyarrow.timestamp("us")),  # the year 10000
    }
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), file)
    file.seek(0)
    first, second = parquet_rows(file, Columns(()))
    noon = "2026-01-31T12:00:00+00:00"
    wanted = {"at": noon, "clock": "01:02:03", "span": 1.5, "inner": {"at": noon}, "list": [noon]}
    assert first == (1, wanted, "")
    assert second[:2] == (2, None)
    assert second[2]


def test_a_broken_file_is_said() -> None:
    with pytest.raises(FormatError, match="row 1 is not readable Parquet"):
        list(parquet_rows(io.BytesIO(b"PAR1 and nothing else"), Columns(())))


def test_the_files_in_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no file that ends in"):
        files_in(tmp_path)
    for name in ("b.CSV", "a.json.gz", "x/c.parquet", ".d.csv", "x/.y/e.csv", "notes.txt", "f.gz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [str(path.relative_to(tmp_path)) for path in files_in(tmp_path)[0]] == ["a.json.gz", "b.CSV", "x/c.parquet"]


def written(table: pyarrow.Table) -> io.BytesIO:
    file = io.BytesIO()
    parquet.write_table(table, file)
    file.seek(0)
    return file


def test_a_column_that_is_left_out_is_not_read_and_one_that_is_asked_for_must_be_there() -> None:
    table = pyarrow.table({"shape": [b"\xff\xfe"], "at": [1], "n": [2]})
    assert [row for _, row, _ in parquet_rows(written(table), Columns(["shape=", "at="]), ["at"])] == [
        {"at": 1, "n": 2}
    ]
    for columns, needed in ((Columns(["SHAPE="]), []), (Columns(()), ["time"])):
        with pytest.raises(FormatError, match="no column"):
            [*parquet_rows(written(table), columns, needed)]
    assert [*parquet_rows(written(table), Columns(["shape="]), ["day"], {"day": 1})]
    with pytest.raises(FormatError, match="twice"):
        [
            *parquet_rows(
                written(pyarrow.Table.from_arrays([pyarrow.array([1]), pyarrow.array([2])], ["a", "a"])), Columns(())
            )
        ]


def test_columns_with_dots_are_within_objects() -> None:
    table = pyarrow.table({"user.id": [1, None, 2], "user": [None, "ann", "bob"], "n": [1, 2, 3]})
    first, second, third = parquet_rows(written(table), Columns(()), ["user.id"])
    assert first[1] == {"user": {"id": 1}, "n": 1}
    assert second[1] == {"user": "ann", "n": 2}
    assert third[1] is None
    assert "two columns would be the property 'user'" in third[2]


def test_what_pandas_spark_and_duckdb_write() -> None:
    uuid = UUID("3f2b8c1a-0000-4000-8000-0123456789ab")
    table = pyarrow.table(
        {
            "price": pyarrow.array([12.99, None], pyarrow.float32()),
            "half": pyarrow.array([0.5, None], pyarrow.float16()),
            "tags": pyarrow.array([[("a", 1), ("b", None)], []], pyarrow.map_(pyarrow.string(), pyarrow.int64())),
            "odd": pyarrow.array([[("a.b", 1)], None], pyarrow.map_(pyarrow.string(), pyarrow.int64())),
            "pairs": pyarrow.array([[(1, 2)], None], pyarrow.map_(pyarrow.int64(), pyarrow.int64())),
            "id": pyarrow.array([uuid.bytes, None], pyarrow.uuid()),
        }
    )
    (_, first, _), (_, second, _) = parquet_rows(written(table), Columns(()))
    assert first == {
        "price": 12.99,
        "half": 0.5,
        "tags": {"a": 1, "b": None},
        "odd": [["a.b", 1]],
        "pairs": [[1, 2]],
        "id": str(uuid),
    }
    assert second == {"tags": []}


def test_times_of_96_bits_of_other_centuries_are_what_they_were() -> None:
    file = io.BytesIO()
    times = pyarrow.array([dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31)], pyarrow.timestamp("us"))
    parquet.write_table(pyarrow.table({"at": times}), file, use_deprecated_int96_timestamps=True)
    found = [row for _, row, _ in parquet_rows(io.BytesIO(file.getvalue()), Columns(()))]
    assert found == [{"at": "0001-01-01T00:00:00+00:00"}, {"at": "9999-12-31T00:00:00+00:00"}]
