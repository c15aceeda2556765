"""Rows of files: numbers of lines, what a CSV cell means, what is refused."""

import csv
import gzip
import io
import json
import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.identity import event_id
from headwater.load.mapping import Columns
from headwater.load.row import Row
from headwater.load.rows import _lines, read_blocks
from headwater.load.source import FormatError, Source


def rows(folder: Path, content: bytes) -> list[Row]:
    path = folder / "events"
    path.write_bytes(content)
    return [*chain.from_iterable(read_blocks(Source(path)))]


def test_ndjson_lines_keep_their_numbers(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf{"a": 1}\n\n{"b": [1, {"c": "\xc3\xa9"}]}\r\nnonsense\n[1]\n{"d": 123456789012345678901}'
    found = rows(tmp_path, content)
    assert [row.line for row in found] == [1, 3, 4, 5, 6]
    assert [row.properties for row in found[:2]] == [{"a": 1}, {"b": [1, {"c": "é"}]}]
    assert found[2].problem.startswith("is not JSON")
    assert found[3].problem == "is not a JSON object"
    assert found[4].properties is not None
    assert type(found[4].properties["d"]) is int, "a float would be taken"
    assert found[4].properties["d"] > 2**63 - 1


def test_csv_columns_whose_names_are_against_the_rules_can_be_mapped(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_bytes(b",order no.,price\n0,a-1,2.5\n")
    for columns, missing in (([], "--map ''=PROPERTY"), (["="], "--map 'order no.'=PROPERTY")):
        with pytest.raises(FormatError, match=re.escape(missing)):
            [*read_blocks(Source(path), Columns(columns))]
    columns = Columns(["=", "order no.=order.id"])
    [row] = chain.from_iterable(read_blocks(Source(path), columns))
    assert row.properties is not None
    assert columns.mapped(row.properties) == {"order": {"id": "a-1"}, "price": 2.5}


def test_csv_columns_have_one_type_each(tmp_path: Path) -> None:
    content = (
        b"zip,count,ratio,flag,mixed,word,empty\r\n"
        b"02134,1,1.5,true,1,NaN,\r\n"
        b'12345,-7,2,FALSE,true,"x, ""y""",\r\n'
        b"00001,,1e3,True,2,inf,\r\n"
    )
    assert [row.properties for row in rows(tmp_path, content)] == [
        {"zip": "02134", "count": 1, "ratio": 1.5, "flag": True, "mixed": "1", "word": "NaN"},
        {"zip": "12345", "count": -7, "ratio": 2, "flag": False, "mixed": "true", "word": 'x, "y"'},
        {"zip": "00001", "ratio": 1000.0, "flag": True, "mixed": "2", "word": "inf"},
    ]


@pytest.mark.parametrize(
    "cell", ["+1", "01", "1.", ".5", "1_000", "0x10", " 1", "1 ", "\u0661", "12345678901234567890", "1e999"]
)
def test_what_only_looks_like_a_number_stays_text(tmp_path: Path, cell: str) -> None:
    (row,) = rows(tmp_path, f"a,b\n{cell},x\n".encode())
    assert row.properties == {"a": cell, "b": "x"}


def test_csv_lines_are_counted_through_quoted_line_breaks(tmp_path: Path) -> None:
    found = rows(tmp_path, b'a,b\n"one\ntwo",1\nshort\nx,2\n')
    assert [(row.line, row.problem) for row in found] == [
        (2, ""),
        (4, "has 1 cells where the header has 2"),
        (5, ""),
    ]


@given(
    st.lists(
        st.lists(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n")), min_size=2, max_size=2
        ),
        min_size=1,
    )
)
def test_cells_come_back_as_they_were_written(tmp_path_factory: Any, cells: Sequence[Sequence[str]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([["a", "b"], *cells, ["text", "text"]])  # so that both columns are text
    found = rows(tmp_path_factory.mktemp("csv"), text.getvalue().encode())
    assert [row.properties for row in found[:-1]] == [
        {name: cell for name, cell in zip("ab", row, strict=True) if cell} for row in cells
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (b"[1, 2]", "begins with a bracket"),
        (b"a,a\n1,2\n", "twice"),
        (b"0.5,c\n1,2\n", "dot"),
        (b"No.,c\n1,2\n", "dot"),
        (b"avg. price,c\n1,2\n", "dot"),
        (b"a,\n1,2\n", "blank"),
    ],
)
def test_files_that_are_neither(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        rows(tmp_path, content)


def test_gzip_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"n": n}) + "\n" for n in range(5_000)).encode()
    assert [row.properties for row in rows(tmp_path, gzip.compress(lines))] == [{"n": n} for n in range(5_000)]
    with pytest.raises(EOFError):
        rows(tmp_path, gzip.compress(lines)[:-20])


@given(st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line), max_size=20), st.integers(1, 9))
def test_lines_are_the_same_in_pieces_of_any_size(lines: list[bytes], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headwater.load.rows.BLOCK_BYTES", size)
        found = [*chain.from_iterable(_lines(io.BytesIO(b"\n".join(lines))))]
    assert found == lines[: len(lines) if lines and lines[-1] else -1]


def test_a_files_identity_is_its_content(tmp_path: Path) -> None:
    one, two, three = tmp_path / "one", tmp_path / "two.csv", tmp_path / "three"
    one.write_bytes(b"a,b\n1,2\n")
    two.write_bytes(b"a,b\n1,2\n")
    three.write_bytes(b"a,b\n1,3\n")
    assert Source(one).identity == Source(two).identity != Source(three).identity


@given(st.binary(max_size=20), st.integers(1, 2**48 - 1), st.integers(1, 2**48 - 1))
def test_a_rows_key_is_an_id_that_is_taken_as_it_is_and_no_other_rows(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, line: int, other: int
) -> None:
    folder = tmp_path_factory.mktemp("keys")
    for name, data in (("file", content), ("copy", content), ("changed", content + b"x")):
        (folder / name).write_bytes(data)
    file, copy, changed = (Source(folder / name) for name in ("file", "copy", "changed"))
    key = file.row_key(line)
    assert event_id("any project", key) == key
    assert UUID(key).version == 8
    assert copy.row_key(line) == key
    assert changed.row_key(line) != key
    assert (file.row_key(other) == key) is (other == line)
