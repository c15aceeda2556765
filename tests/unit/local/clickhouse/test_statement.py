"""What statements are recognised as, and what the engine gets for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.local.clickhouse.errors import EngineError
from headwater.local.clickhouse.statement import Kind, recognise
from headwater.local.clickhouse.tokens import literal, quoted_name


def into(text: str) -> str:
    return recognise(text.encode()).into_file("/p", "TSV").decode()


def out(fmt: str) -> str:
    return f"\nINTO OUTFILE '/p' TRUNCATE COMPRESSION 'none' FORMAT {fmt} "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1", f"SELECT 1{out('TSV')}"),
        ("SELECT 1 ;; -- end", f"SELECT 1{out('TSV')}"),
        ("select 1 format JSON;", f"select 1 {out('JSON')}"),
        ("SELECT 1 -- FORMAT CSV", f"SELECT 1{out('TSV')}"),
        ("SELECT ' FORMAT CSV'", f"SELECT ' FORMAT CSV'{out('TSV')}"),
        ("SELECT 1 AS format", f"SELECT 1 AS format{out('TSV')}"),
        ("SELECT format FROM t", f"SELECT format FROM t{out('TSV')}"),
        ("SELECT format('{}', 1) FORMAT CSV", f"SELECT format('{{}}', 1) {out('CSV')}"),
        ("SELECT 1 FORMAT JSON SETTINGS max_threads=1", f"SELECT 1 {out('JSON')} SETTINGS max_threads=1"),
        ("SELECT 1 SETTINGS max_threads=1 FORMAT JSON", f"SELECT 1 SETTINGS max_threads=1 {out('JSON')}"),
        ("SHOW TABLES SETTINGS max_threads=1", f"SHOW TABLES {out('TSV')}SETTINGS max_threads=1"),
        ("SHOW TABLES FORMAT CSV SETTINGS max_threads=1", f"SHOW TABLES {out('CSV')} SETTINGS max_threads=1"),
        ("(SELECT 1) UNION ALL (SELECT 2)", f"(SELECT 1) UNION ALL (SELECT 2){out('TSV')}"),
        ("/* a */ WITH 1 AS x SELECT x", f"/* a */ WITH 1 AS x SELECT x{out('TSV')}"),
        ("SELECT * FROM (SELECT 1 FORMAT CSV)", f"SELECT * FROM (SELECT 1 FORMAT CSV){out('TSV')}"),
    ],
)
def test_queries_get_a_file_for_their_result(text: str, expected: str) -> None:
    assert into(text) == expected


@pytest.mark.parametrize(
    ("text", "statement", "data"),
    [
        ("INSERT INTO t VALUES (1)", "INSERT INTO t \nFROM INFILE '/p' COMPRESSION 'none'  FORMAT Values", " (1)"),
        ("insert into t(a) values(1)", "insert into t(a) \nFROM INFILE '/p' COMPRESSION 'none'  FORMAT Values", "(1)"),
        ("INSERT INTO t FORMAT CSV\n1;2", "INSERT INTO t \nFROM INFILE '/p' COMPRESSION 'none'  FORMAT CSV", "1;2"),
        ("INSERT INTO t FORMAT CSV\r\n\n1", "INSERT INTO t \nFROM INFILE '/p' COMPRESSION 'none'  FORMAT CSV", "\n1"),
        ("INSERT INTO t FORMAT CSV 1", "INSERT INTO t \nFROM INFILE '/p' COMPRESSION 'none'  FORMAT CSV", "1"),
        (
            "INSERT INTO TABLE `a b`.`c` (`x`, y) SETTINGS async_insert=0 FORMAT Native\n",
            "INSERT INTO TABLE `a b`.`c` (`x`, y) \nFROM INFILE '/p' COMPRESSION 'none' SETTINGS async_insert=0  FORMAT Native",
            "",
        ),
        (
            "INSERT INTO values VALUES (1)",
            "INSERT INTO values \nFROM INFILE '/p' COMPRESSION 'none'  FORMAT Values",
            " (1)",
        ),
        (
            "INSERT INTO db.format FORMAT TSV\n1",
            "INSERT INTO db.format \nFROM INFILE '/p' COMPRESSION 'none'  FORMAT TSV",
            "1",
        ),
        (
            "INSERT INTO FUNCTION null('a UInt8') FORMAT CSV\n1",
            "INSERT INTO FUNCTION null('a UInt8') \nFROM INFILE '/p' COMPRESSION 'none'  FORMAT CSV",
            "1",
        ),
        (
            "INSERT INTO t SELECT a, format('{}', b) FROM input('a Int8, b String') WHERE a > 1 FORMAT Avro\nObj",
            "INSERT INTO t SELECT a, format('{}', b) FROM file('/p', 'Avro', 'a Int8, b String') WHERE a > 1 ",
            "Obj",
        ),
        (
            "INSERT INTO t SELECT s.format, a AS format FROM input('a Int8') s ORDER BY format DESC FORMAT CSV\n1",
            "INSERT INTO t SELECT s.format, a AS format FROM file('/p', 'CSV', 'a Int8') s ORDER BY format DESC ",
            "1",
        ),
        (
            "INSERT INTO format FORMAT CSV 1",
            "INSERT INTO format \nFROM INFILE '/p' COMPRESSION 'none'  FORMAT CSV",
            "1",
        ),
        (
            "INSERT INTO t WITH x AS (SELECT * FROM input ( )) SELECT * FROM x FORMAT Avro\n",
            "INSERT INTO t WITH x AS (SELECT * FROM file('/p', 'Avro' )) SELECT * FROM x ",
            "",
        ),
    ],
)
def test_inserts_get_a_file_for_their_data(text: str, statement: str, data: str) -> None:
    found = recognise(text.encode())
    assert found.kind is Kind.INSERT
    assert found.from_file("/p").decode() == statement
    assert text[found.data_start :] == data


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE t (format String) ENGINE = Memory",
        "INSERT INTO t SELECT * FROM s",
        "INSERT INTO t SELECT input FROM s",
        "WITH 1 AS x INSERT INTO t SELECT x",
        "SET max_threads = 1",
        "KILL QUERY WHERE 1",
        "USE x",
    ],
)
def test_other_statements_stay_as_they_are(text: str) -> None:
    found = recognise((text + " ; ").encode())
    assert (found.kind, found.text.decode().strip()) == (Kind.COMMAND, text)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", 62),
        (" -- nothing\n", 62),
        (";", 62),
        ("SELECT 1; SELECT 2", 62),
        ("SELECT 1; DROP TABLE t", 62),
        ("INSERT INTO t SELECT 1; SELECT 2", 62),
        ("SELECT 1 INTO OUTFILE '/etc/x'", 358),
        ("INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV", 78),
    ],
)
def test_what_clickhouse_refuses_over_http_is_refused(text: str, code: int) -> None:
    with pytest.raises(EngineError) as caught:
        recognise(text.encode())
    assert caught.value.code == code
    assert f"Code: {code}. DB::Exception: " in caught.value.message


@given(st.binary(max_size=100), st.text(max_size=20))
def test_the_data_of_an_insert_is_never_looked_at(data: bytes, table: str) -> None:
    head = f"INSERT INTO {quoted_name(table)} (a, b) FORMAT RowBinary\n".encode("utf-8", "replace")
    found = recognise(head + data)
    assert found.kind is Kind.INSERT
    assert (head + data)[found.data_start :] == data


@given(st.text(max_size=30))
def test_a_string_in_a_query_changes_nothing(value: str) -> None:
    text = f"SELECT {literal(value)} AS x".encode("utf-8", "replace")
    found = recognise(text + b" FORMAT CSV")
    assert (found.kind, found.format) == (Kind.QUERY, "CSV")
    assert found.into_file("/p", "TSV").startswith(text)
