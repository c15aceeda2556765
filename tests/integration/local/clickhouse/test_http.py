"""ClickHouse's HTTP interface as a plain HTTP client sees it."""

import base64
import gzip
import json
import subprocess
import zlib
from collections.abc import Iterator

import httpx
import lz4.frame
import pytest
import zstandard

from tests.integration.local.clickhouse.conftest import PASSWORD, EngineServer

ENCODE = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "lz4": lz4.frame.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
DECODE = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "lz4": lz4.frame.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}


def ask(http: httpx.Client, text: str, **params: str) -> str:
    answer = http.post("/", content=text, params=params)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_probes_need_no_password(server: EngineServer) -> None:
    for path in ("/ping", "/", "/replicas_status"):
        answer = httpx.get(server.url + path)
        assert (answer.status_code, answer.text) == (200, "Ok.\n")
    assert httpx.get(server.url + "/nothing").status_code == 404


def test_the_first_log_line_names_it_what_it_is(server: EngineServer) -> None:
    assert "embedded engine (chDB), not a production server" in server.log().splitlines()[0]


def test_the_query_is_in_the_url_or_the_body_or_both(http: httpx.Client) -> None:
    assert http.get("/", params={"query": "SELECT 1"}).text == "1\n"
    assert ask(http, "SELECT 1") == "1\n"
    assert ask(http, "+ 1", query="SELECT 1") == "2\n"


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Basic " + base64.b64encode(f"default:{PASSWORD}".encode()).decode()},
        {"X-ClickHouse-User": "default", "X-ClickHouse-Key": "URL"},
        {},
    ],
)
def test_credentials_in_every_way(server: EngineServer, headers: dict[str, str]) -> None:
    params = {"query": "SELECT 1"}
    if not headers.get("Authorization"):
        headers, params = {}, params | {"user": "default", "password": PASSWORD}
    assert httpx.get(server.url, params=params, headers=headers).text == "1\n"


@pytest.mark.parametrize(
    "params", [{}, {"user": "default", "password": "x"}, {"user": "x", "password": PASSWORD}, {"user": "ü"}]
)
def test_wrong_credentials_are_refused(server: EngineServer, params: dict[str, str]) -> None:
    answer = httpx.post(server.url, params=params, content="SELECT 1")
    assert answer.status_code == 403
    assert answer.headers["X-ClickHouse-Exception-Code"] == "516"
    assert "Authentication failed" in answer.text
    assert "SELECT" not in answer.text


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("SELEC 1", 400, 62),
        ("SELECT 1; SELECT 2", 400, 62),
        ("SELECT * FROM nothing", 404, 60),
        ("SELECT * FROM nothing.t", 404, 81),
        ("SELECT nothing", 404, 47),
        ("SELECT toUInt8('x')", 400, 6),
        ("SELECT throwIf(1)", 500, 395),
        ("SELECT 1 FORMAT Nothing", 404, 73),
        ("SELECT 1 SETTINGS nothing = 1", 404, 115),
        ("SELECT {x:UInt8}", 500, 456),
        ("SELECT 1 INTO OUTFILE '/tmp/x'", 500, 358),
        ("SELECT 'open", 400, 62),
    ],
)
def test_errors_have_clickhouses_status_and_code(http: httpx.Client, query: str, status: int, code: int) -> None:
    answer = http.post("/", content=query)
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (status, str(code))
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")
    assert "spool" not in answer.text


def test_an_unknown_database_or_setting_in_the_url_is_refused(http: httpx.Client) -> None:
    assert (
        http.post("/", content="SELECT 1", params={"database": "nothing"}).headers["X-ClickHouse-Exception-Code"]
        == "81"
    )
    assert http.post("/", content="SELECT 1", params={"nothing": "1"}).headers["X-ClickHouse-Exception-Code"] == "115"


def test_parameters_never_become_sql(http: httpx.Client) -> None:
    hostile = "a'; DROP TABLE t -- `\\"
    answer = ask(
        http,
        "SELECT {x:String} AS x, {n:UInt8} + 1 AS n FORMAT JSONCompact",
        param_x=hostile.replace("\\", "\\\\"),
        param_n="5",
    )
    assert json.loads(answer)["data"] == [[hostile, 6]]


def test_settings_of_the_url_hold_for_one_request(http: httpx.Client) -> None:
    query = "SELECT getSetting('max_block_size')"
    default = ask(http, query)
    assert ask(http, query, max_block_size="123") == "123\n"
    assert ask(http, query) == default
    ask(http, "SET max_block_size = 7")
    assert ask(http, query) == default
    assert ask(http, query + " SETTINGS max_block_size = 9") == "9\n"
    assert ask(http, query) == default


def test_the_database_of_the_url_holds_for_one_request(http: httpx.Client, database: str) -> None:
    assert ask(http, "SELECT currentDatabase()", database=database) == f"{database}\n"
    assert ask(http, "SELECT currentDatabase()") == "default\n"
    assert (
        http.post("/", content="SELECT currentDatabase()", headers={"X-ClickHouse-Database": database}).text
        == f"{database}\n"
    )


def test_headers_tell_what_happened(http: httpx.Client) -> None:
    answer = http.post(
        "/", content="SELECT number FROM numbers(1000) WHERE number % 100 = 0 FORMAT JSON", params={"query_id": "abc"}
    )
    assert answer.headers["X-ClickHouse-Query-Id"] == "abc"
    assert answer.headers["X-ClickHouse-Format"] == "JSON"
    assert answer.headers["X-ClickHouse-Timezone"]
    assert "embedded engine" in answer.headers["X-ClickHouse-Server-Display-Name"]
    assert answer.headers["Content-Type"] == "application/json; charset=UTF-8"
    summary = json.loads(answer.headers["X-ClickHouse-Summary"])
    assert (summary["read_rows"], summary["read_bytes"], summary["result_rows"]) == ("1000", "8000", "10")
    assert int(summary["elapsed_ns"]) > 0


def test_the_default_format_can_be_chosen(http: httpx.Client) -> None:
    assert ask(http, "SELECT 1 AS x", default_format="JSONEachRow") == '{"x":1}\n'
    assert http.post("/", content="SELECT 1 AS x", headers={"X-ClickHouse-Format": "CSVWithNames"}).text == '"x"\n1\n'


@pytest.mark.parametrize(
    "query",
    [
        "SHOW TABLES",
        "DESCRIBE TABLE system.one",
        "EXISTS system.one",
        "EXPLAIN SELECT 1",
        "SHOW DATABASES",
    ],
)
def test_statements_about_tables_take_a_format(http: httpx.Client, query: str) -> None:
    for text in (query + " FORMAT JSON", query + " SETTINGS max_threads = 1 FORMAT JSON"):
        assert "meta" in json.loads(ask(http, text))


def test_get_may_only_read(http: httpx.Client, database: str) -> None:
    answer = http.get("/", params={"query": f"CREATE TABLE {database}.t (a UInt8) ENGINE = Memory"})
    assert answer.headers["X-ClickHouse-Exception-Code"] == "164"
    assert "use method POST" in answer.text.replace("You should use", "use")
    assert ask(http, f"SHOW TABLES FROM {database}") == ""


@pytest.mark.parametrize("encoding", sorted(ENCODE))
@pytest.mark.parametrize("rows", [10, 2_000_000])
@pytest.mark.parametrize("wait", ["0", "1"])
def test_answers_are_compressed_on_request(http: httpx.Client, encoding: str, rows: int, wait: str) -> None:
    params = {"enable_http_compression": "1", "wait_end_of_query": wait}
    with http.stream(
        "POST", "/", content=f"SELECT number FROM numbers({rows})", params=params, headers={"Accept-Encoding": encoding}
    ) as answer:
        assert answer.headers["Content-Encoding"] == encoding
        assert ("X-ClickHouse-Summary" in answer.headers) is (rows == 10 or wait == "1")
        lines = DECODE[encoding](b"".join(answer.iter_raw())).splitlines()
    assert (len(lines), lines[-1]) == (rows, str(rows - 1).encode())


@pytest.mark.parametrize("encoding", sorted(ENCODE))
def test_bodies_are_decompressed(http: httpx.Client, database: str, encoding: str) -> None:
    ask(http, f"CREATE TABLE {database}.t (a UInt64) ENGINE = MergeTree ORDER BY a")
    data = "\n".join(map(str, range(200_000))).encode()
    headers = {"Content-Encoding": encoding}
    answer = http.post(
        "/", params={"query": f"INSERT INTO {database}.t FORMAT TSV"}, content=ENCODE[encoding](data), headers=headers
    )
    assert answer.status_code == 200, answer.text
    whole = f"INSERT INTO {database}.t FORMAT TSV\n".encode() + data
    assert http.post("/", content=ENCODE[encoding](whole), headers=headers).status_code == 200
    assert ask(http, f"SELECT count(), sum(a) FROM {database}.t") == f"400000\t{2 * sum(range(200_000))}\n"
    broken = http.post(
        "/",
        params={"query": f"INSERT INTO {database}.t FORMAT TSV"},
        content=ENCODE[encoding](data)[:-9],
        headers=headers,
    )
    assert broken.headers["X-ClickHouse-Exception-Code"] == "271"
    assert ask(http, f"SELECT count() FROM {database}.t") == "400000\n"


def test_an_unknown_encoding_is_named(http: httpx.Client) -> None:
    answer = http.post("/", content=b"x", headers={"Content-Encoding": "snappy"})
    assert answer.headers["X-ClickHouse-Exception-Code"] == "89"
    assert "'snappy'" in answer.text


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("VALUES (1, 'a;b'), (1 + 1, 'it''s')", [(1, "a;b"), (2, "it's")]),
        ("(b, a) VALUES ('(--', 3)", [(3, "(--")]),
        ('FORMAT JSONEachRow\n{"a": 1, "b": "x\\ny"}\n{"a": 2}', [(1, "x\ny"), (2, "")]),
        ("FORMAT CSV 1,a\n2,b", [(1, "a"), (2, "b")]),
        ('SETTINGS input_format_skip_unknown_fields = 1 FORMAT JSONEachRow\n{"a": 1, "z": 1}', [(1, "")]),
        ("SELECT number, toString(number) FROM numbers(2)", [(0, "0"), (1, "1")]),
        ("SELECT a * 2, b FROM input('a UInt64, b String') FORMAT CSV\n4,x", [(8, "x")]),
    ],
)
@pytest.mark.parametrize("split", [False, True])
def test_inserts_as_text(
    http: httpx.Client, database: str, text: str, rows: list[tuple[int, str]], split: bool
) -> None:
    ask(http, f"CREATE TABLE {database}.t (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
    insert = f"INSERT INTO {database}.t {text}"
    if split and "\n" in text:
        query, _, data = insert.partition("\n")
        answer = http.post("/", params={"query": query}, content=data)
    else:
        answer = http.post("/", content=insert)
    assert answer.status_code == 200, answer.text
    assert json.loads(answer.headers["X-ClickHouse-Summary"])["written_rows"] == str(len(rows))
    found = json.loads(ask(http, f"SELECT * FROM {database}.t ORDER BY a FORMAT JSONCompact"))["data"]
    assert [tuple(row) for row in found] == rows


@pytest.mark.parametrize(
    "fmt", ["Native", "RowBinary", "Parquet", "JSONEachRow", "CSV", "Values", "Avro", "ArrowStream", "MsgPack"]
)
def test_what_is_read_in_a_format_can_be_inserted_in_it(http: httpx.Client, database: str, fmt: str) -> None:
    ask(http, f"CREATE TABLE {database}.t (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
    source = "SELECT number AS a, concat(char(number % 256), ';\\n--', toString(number)) AS b FROM numbers(2000)"
    if fmt in ("JSONEachRow", "Avro", "Parquet"):
        source = source.replace("char(number % 256)", "'x'")  # these are for text
    data = http.post("/", content=f"{source} FORMAT {fmt}").content
    answer = http.post("/", params={"query": f"INSERT INTO {database}.t FORMAT {fmt}"}, content=data)
    assert answer.status_code == 200, answer.text
    answer = http.post("/", content=f"INSERT INTO {database}.t FORMAT {fmt}\n".encode() + data)
    assert answer.status_code == 200, answer.text
    counts = ask(
        http,
        f"SELECT count(), (SELECT count() FROM ({source}) WHERE (a, b) NOT IN (SELECT a, b FROM {database}.t)) FROM {database}.t",
    )
    assert counts == "4000\t0\n"


def test_an_insert_with_a_bad_row_says_where_and_inserts_nothing(http: httpx.Client, database: str) -> None:
    ask(http, f"CREATE TABLE {database}.t (a UInt64) ENGINE = MergeTree ORDER BY a")
    answer = http.post("/", params={"query": f"INSERT INTO {database}.t FORMAT CSV"}, content="1\nx\n")
    assert answer.status_code == 400
    assert "row 2" in answer.text
    assert "spool" not in answer.text
    assert ask(http, f"SELECT count() FROM {database}.t") == "0\n"


def test_chunked_bodies(http: httpx.Client, database: str) -> None:
    ask(http, f"CREATE TABLE {database}.t (a UInt64) ENGINE = MergeTree ORDER BY a")

    def rows() -> Iterator[bytes]:
        for start in range(0, 10_000, 100):
            yield "".join(f"{n}\n" for n in range(start, start + 100)).encode()

    assert http.post("/", params={"query": f"INSERT INTO {database}.t FORMAT TSV"}, content=rows()).status_code == 200
    assert ask(http, f"SELECT count() FROM {database}.t") == "10000\n"


def test_a_client_that_leaves_in_the_middle_of_a_body_inserts_nothing(
    server: EngineServer, http: httpx.Client, database: str
) -> None:
    ask(http, f"CREATE TABLE {database}.t (a UInt64) ENGINE = MergeTree ORDER BY a")

    def rows() -> Iterator[bytes]:
        yield b"1\n" * 1000
        raise InterruptedError

    with server.http() as leaving, pytest.raises(InterruptedError):
        leaving.post("/", params={"query": f"INSERT INTO {database}.t FORMAT TSV"}, content=rows())
    assert ask(http, f"SELECT count() FROM {database}.t") == "0\n"


def test_a_long_statement_works_and_a_too_long_one_is_refused(http: httpx.Client) -> None:
    numbers = ",".join(map(str, range(30_000)))
    assert ask(http, f"SELECT count() FROM numbers(100000) WHERE number IN ({numbers})") == "30000\n"
    answer = http.post("/", content="SELECT '" + "x" * (2 << 20) + "'")
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (413, "229")


def test_curl_works(server: EngineServer, database: str) -> None:
    def curl(*arguments: str, stdin: str = "") -> str:
        command = ["curl", "-sS", "--fail-with-body", "-u", f"default:{PASSWORD}", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout

    curl(f"{server.url}/", "-d", f"CREATE TABLE {database}.t (a UInt64) ENGINE = MergeTree ORDER BY a")
    data = "\n".join(map(str, range(500_000)))  # long enough that curl asks first (Expect: 100-continue)
    curl(f"{server.url}/?query=INSERT%20INTO%20{database}.t%20FORMAT%20TSV", "--data-binary", "@-", stdin=data)
    assert curl(f"{server.url}/?query=SELECT%20sum(a)%20FROM%20{database}.t") == f"{sum(range(500_000))}\n"


def test_an_error_in_the_middle_of_an_answer_is_seen(http: httpx.Client) -> None:
    query = "SELECT number, throwIf(number = 2000000) FROM numbers(3000000) SETTINGS max_block_size = 10000, max_threads = 1"
    kept: list[bytes] = []
    with http.stream("POST", "/", content=query) as answer:
        assert answer.status_code == 200
        tag = answer.headers["X-ClickHouse-Exception-Tag"]
        with pytest.raises(httpx.RemoteProtocolError):
            kept.extend(answer.iter_raw())
    got = b"".join(kept)
    assert b"__exception__\r\n" + tag.encode() + b"\r\nCode: 395. DB::Exception: " in got[-2000:]
    waited = http.post("/", content=query, params={"wait_end_of_query": "1"})
    assert (waited.status_code, waited.headers["X-ClickHouse-Exception-Code"]) == (500, "395")
    assert waited.text.startswith("Code: 395.")


def test_connections_are_kept_after_errors(http: httpx.Client) -> None:
    for _ in range(3):
        assert http.post("/", content="SELEC").status_code == 400
        assert ask(http, "SELECT 1") == "1\n"
