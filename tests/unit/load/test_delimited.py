"""Delimited text: what stands between its columns, what it is in, what is no value; and what is refused rather than taken for something else."""

import re
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from headwater.load.delimited import Dialect
from headwater.load.mapping import Columns
from headwater.load.row import Row
from headwater.load.rows import read_blocks
from headwater.load.source import FormatError, Source, files_in, partition_of


def rows(path: Path, content: bytes, dialect: Dialect | None = None, **options: Any) -> list[Row]:
    path.write_bytes(content)
    return [*chain.from_iterable(read_blocks(Source(path), dialect=dialect, **options))]


def events(path: Path, content: bytes, dialect: Dialect | None = None, **options: Any) -> list[Any]:
    return [row.properties for row in rows(path, content, dialect, **options)]


@pytest.mark.parametrize(
    ("content", "dialect"),
    [
        (b"age\tjob\n30\tsmith\n", Dialect("\t")),
        (b'"age";"job"\r\n30;"smith"\r\n', Dialect(";")),
        (b"age|job\n30|smith\n", Dialect("|")),
        (b"30,smith\n", Dialect(header=("age", "job"))),
        (b" age , job\n30,smith\n", Dialect()),
        ("age,job\n30,smith\n".encode("utf-16"), Dialect(encoding="utf-16")),
        ("\ufeffage,job\n30,smith\n".encode(), Dialect(encoding="UTF8")),
    ],
)
def test_how_a_file_is_written(tmp_path: Path, content: bytes, dialect: Dialect) -> None:
    assert events(tmp_path / "f", content, dialect) == [{"age": 30, "job": "smith"}]


def test_other_encodings(tmp_path: Path) -> None:
    content = "price,what\n£2,café\n".encode("latin-1")
    [row] = rows(tmp_path / "f", content)
    assert row.properties is None
    assert "--encoding" in row.problem
    assert events(tmp_path / "f", content, Dialect(encoding="latin-1")) == [{"price": "£2", "what": "café"}]
    with pytest.raises(FormatError, match=r"it is not ascii"):
        rows(tmp_path / "f", content, Dialect(encoding="ascii"))


def test_without_a_header_the_first_line_is_a_row(tmp_path: Path) -> None:
    found = rows(tmp_path / "f", b"196\t242\n186\t302\n", Dialect("\t", header=("user", "film")))
    assert [(row.line, row.properties) for row in found] == [
        (1, {"user": 196, "film": 242}),
        (2, {"user": 186, "film": 302}),
    ]


def test_what_stands_for_no_value_leaves_numbers_numbers(tmp_path: Path) -> None:
    notes: list[str] = []
    content = b"delay,code\n5,6140.05\nNA,SYS016\n-3,NA\n"
    assert events(tmp_path / "f", content, note=notes.append)[0] == {"delay": "5", "code": "6140.05"}
    assert [note.partition(";")[0] for note in notes] == [
        "'delay' is text, because of 'NA' in line 3",
        "'code' is text, because of 'SYS016' in line 3, 'NA' in line 4",
    ]
    notes.clear()
    dialect = Dialect(nulls=frozenset({"NA"}), texts=frozenset({"code"}))
    assert events(tmp_path / "f", content, dialect, note=notes.append) == [
        {"delay": 5, "code": "6140.05"},
        {"code": "SYS016"},
        {"delay": -3},
    ]
    assert notes == []


def test_a_column_of_many_texts_is_text_without_a_word(tmp_path: Path) -> None:
    notes: list[str] = []
    content = b"a,b\n" + b"".join(b"%d,x\n" % n for n in range(9)) + b"p,x\nq,x\nr,x\ns,x\n"
    assert events(tmp_path / "f", content, note=notes.append)[0] == {"a": "0", "b": "x"}
    assert notes == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"196\t242\t3\n186\t302\t3\n", "--delimiter tab"),
        (b'age;"job"\n30;"smith"\n', "--delimiter ';'"),
        (b"sep=;\nage;job\n", "--delimiter ';'"),
        (b"a|b\n", "--delimiter '|'"),
        (b"<posts>\n  <row/>\n", "XML"),
        ("age,job\n".encode("utf-16-le"), "NUL"),
        ("größe,job\n".encode("latin-1"), "--encoding"),
        (b'a,b\n1,"x\n2,y\n3,z\n', "line 2 is not CSV"),
        (b'a,b\n1,"say \\"hi\\""\n', "a quote is written twice"),
        (b"PK\x03\x04rest", "ZIP"),
        (b"BZh91AY", "bzip2"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"Obj\x01\x04", "Avro"),
        (b"ORC\x0a", "ORC"),
    ],
)
def test_what_would_become_something_else_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(FormatError, match=re.escape(says)):
        rows(tmp_path / "f", content)


def test_columns_that_are_asked_for_must_be_there(tmp_path: Path) -> None:
    content = b"ssn,at\n1,2\n"
    for options in (
        {"columns": Columns(["SSN="])},
        {"needed": ["time"]},
        {"dialect": Dialect(texts=frozenset({"SSN"}))},
    ):
        with pytest.raises(FormatError, match=r"no column '(SSN|time)'; its columns are 'ssn', 'at'"):
            rows(tmp_path / "f", content, **options)
    assert events(tmp_path / "f", content, columns=Columns(["ssn="]), needed=["at"]) == [{"ssn": 1, "at": 2}]


@pytest.mark.parametrize("wrong", [{"delimiter": ""}, {"delimiter": "::"}, {"delimiter": '"'}, {"encoding": "utf-9"}])
def test_what_is_no_way_to_write_text(wrong: dict[str, str]) -> None:
    with pytest.raises(FormatError, match=next(iter(wrong))):
        Dialect(**wrong)  # type: ignore[arg-type]


def test_folders_say_what_their_names_say(tmp_path: Path) -> None:
    names = (
        "year=2026/month=03/c%20d=a%2Fb/x.csv",
        "year=__HIVE_DEFAULT_PARTITION__/x.csv",
        "plain/x.csv",
        "_temporary/0/x.csv",
        "y.tsv",
        ".x.csv.crc",
    )
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"a\n1\n")
    found, others = files_in(tmp_path)
    assert [partition_of(path, tmp_path) for path in found] == [{}, {"year": 2026, "month": "03", "c d": "a/b"}, {}]
    assert [path.name for path in others] == ["y.tsv"]
    plain, other = (Source(found[place], partition_of(found[place], tmp_path)) for place in (0, 1))
    assert plain.identity != other.identity  # the same bytes are other events there
    assert events(found[1], b"a\n1\n", needed=[]) == [{"a": 1}]
