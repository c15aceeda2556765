"""Delimited text: what stands between its columns, what it is in, what is no value; and what is refused rather than taken for something else."""

import os
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from headwater.load.delimited import Dialect
from headwater.load.mapping import Columns
from headwater.load.row import Row
from headwater.load.rows import read_blocks
from headwater.load.source import FormatError, Source, files_in, partitions


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


def test_columns_with_dots_are_within_objects(tmp_path: Path) -> None:
    content = b"keen.id,user,user.id,total,odd.one\nx,,7,1,2\ny,ann,,2,\nz,bob,8,3,\n"
    found = rows(tmp_path / "f", content, columns=Columns(["odd.one=odd"]), needed=["user.id"])
    assert [row.properties for row in found] == [
        {"keen": {"id": "x"}, "user": {"id": 7}, "total": 1, "odd.one": 2},
        {"keen": {"id": "y"}, "user": "ann", "total": 2},
        None,  # who is both a text and an object
    ]
    assert "'user' cannot hold 'user.id'" in found[2].problem


def test_names_against_the_rules_are_put_right_where_that_is_asked(tmp_path: Path) -> None:
    content = b"$city,0.5,b\nOslo,1,2\n"
    with pytest.raises(FormatError, match="--fix-names"):
        rows(tmp_path / "f", content)
    columns = Columns((), fix_names=True)
    [row] = rows(tmp_path / "f", content, columns=columns)
    assert row.properties is not None
    assert columns.mapped(row.properties) == {"_city": "Oslo", "0_5": 1, "b": 2}
    with pytest.raises(FormatError, match="blank"):
        rows(tmp_path / "f", b"a,\n1,2\n", columns=columns)


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
        (b'"a"b,c\n1,2\n', "its header is not CSV"),
        ('{"a": 1}\n'.encode("utf-16"), "NUL"),
        (b"PK\x03\x04rest", "ZIP"),
        (b"BZh91AY", "bzip2"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"Obj\x01\x04", "Avro"),
        (b"ORC\x08\x03", "ORC"),
    ],
)
def test_what_would_become_something_else_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(FormatError, match=re.escape(says)):
        rows(tmp_path / "f", content)


def test_json_in_another_encoding_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="UTF-8"):
        rows(tmp_path / "f", '{"a": 1, "b": 2}\n'.encode("utf-16"), Dialect(encoding="utf-16"))
    with pytest.raises(FormatError, match="--delimiter ','"):
        rows(tmp_path / "f", b"a,b\n1,2\n", Dialect(";"))
    assert events(tmp_path / "f", b"ORCID,PK\n1,2\n") == [{"ORCID": 1, "PK": 2}]
    row, _ = rows(tmp_path / "f", "3,4\n".encode("utf-16-le"), Dialect(header=("a", "b")))
    assert "NUL" in row.problem


def test_a_row_with_a_stray_quote_is_refused_alone(tmp_path: Path) -> None:
    found = rows(tmp_path / "f", b'a,b\n1,"say \\"hi\\""\n2,"x"y\n3,fine\n')
    assert [(row.line, row.properties) for row in found] == [(2, None), (3, None), (4, {"a": 3, "b": "fine"})]
    assert "a quote is written twice" in found[0].problem


@pytest.mark.parametrize(
    "content",
    [
        b'a,b\n1,"He said \\"hi\\"\nbut, then"\n2,x\n',
        b'a,b,c\n1,"say \\"hi\\" and\n",3\n2,"x",4\n3,"y",5\n',
    ],
)
def test_a_stray_quote_that_may_go_on_in_other_lines_ends_the_file(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(FormatError, match="line 2 is not CSV"):
        rows(tmp_path / "f", content)


def test_what_only_looks_like_something_else(tmp_path: Path) -> None:
    assert events(tmp_path / "f", b'"[id]","n"\n1,2\n') == [{"[id]": 1, "n": 2}]
    assert events(tmp_path / "f", b"ORC\tn\n1\t2\n", Dialect("\t")) == [{"ORC": 1, "n": 2}]
    with pytest.raises(FormatError, match="empty"):
        rows(tmp_path / "f", "\n".encode("utf-16"), Dialect(encoding="utf-16"))


def test_a_column_of_numbers_after_many_texts_is_text(tmp_path: Path) -> None:
    content = b"kind,n\n" + b"A,1\n" * 1_500 + b"7,2\n"
    notes: list[str] = []
    assert events(tmp_path / "f", content, note=notes.append)[-1] == {"kind": "7", "n": 2}
    assert notes == []


def test_columns_that_are_asked_for_must_be_there(tmp_path: Path) -> None:
    content = b"ssn,at\n1,2\n"
    for options in (
        {"columns": Columns(["SSN="])},
        {"needed": ["time"]},
        {"dialect": Dialect(texts=frozenset({"SSN"}))},
        {"columns": Columns(["ssn.last="])},  # there is nothing within a cell
    ):
        with pytest.raises(FormatError, match=r"no column '(SSN|time|ssn.last)'; its columns are 'ssn', 'at'"):
            rows(tmp_path / "f", content, **options)
    assert events(tmp_path / "f", content, columns=Columns(["ssn="]), needed=["at"]) == [{"ssn": 1, "at": 2}]


@pytest.mark.parametrize(
    "wrong",
    [
        {"delimiter": ""},
        {"delimiter": "::"},
        {"delimiter": '"'},
        {"encoding": "utf-9"},
        {"encoding": "hex"},
        {"encoding": "locale"},
    ],
)
def test_what_is_no_way_to_write_text(wrong: dict[str, str]) -> None:
    with pytest.raises(FormatError, match=next(iter(wrong))):
        Dialect(**wrong)  # type: ignore[arg-type]


def test_folders_say_what_their_names_say(tmp_path: Path) -> None:
    names = (
        "year=2026/month=03/c%20d=a%2Fb/x.csv",
        "year=2027/month=11/x.csv",
        "year=2027/month=11/again/x.csv",
        "year=__HIVE_DEFAULT_PARTITION__/x.csv",
        "plain/_x.csv",
        "_temporary/0/x.csv",
        "_SUCCESS",
        "y.tsv",
        ".x.csv.crc",
    )
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"a\n1\n")
    found, others = files_in(tmp_path)
    made = partitions(found, tmp_path)
    assert [each.properties for each in made] == [
        {},
        {"year": 2026, "month": "03", "c d": "a/b"},
        {"year": 2027, "month": "11"},  # of one type with the others
        {"year": 2027, "month": "11"},
        {},
    ]
    assert [path.name for path in others] == ["_SUCCESS", "y.tsv"]
    identities = {Source(path, each).identity for path, each in zip(found, made, strict=True)}
    assert len(identities) == 3  # the same bytes are other events where folders say other things, or say nothing
    (tmp_path / "a.b=1").mkdir()
    (tmp_path / "a.b=1" / "x.csv").write_bytes(b"a\n1\n")
    with pytest.raises(FormatError, match="dot"):
        partitions(files_in(tmp_path)[0], tmp_path)


def test_a_dialect_is_described_alike_in_every_process() -> None:
    script = (
        "from headwater.load.delimited import Dialect\n"
        "print(Dialect(nulls=frozenset(['NA', 'null', '-', '']), texts=frozenset('abc'), encoding='UTF8').described())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1
    assert Dialect(nulls=frozenset({""}), encoding="UTF8").described() == Dialect().described()
