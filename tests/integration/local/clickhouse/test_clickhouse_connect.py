"""The unmodified clickhouse-connect client."""

from datetime import UTC, datetime
from uuid import UUID

import pandas as pd
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError
from clickhouse_connect.driver.external import ExternalData

from tests.integration.local.clickhouse.conftest import EngineServer

ROWS = [
    [
        UUID(int=1),
        datetime(2024, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
        {"a": 1, "b": {"c": "x; --\n'"}},
        [1.5, None],
        "ü\x00",
    ],
    [UUID(int=2), datetime(1900, 1, 1, tzinfo=UTC), {"a": "one"}, [], ""],
]


@pytest.fixture(params=["lz4", False])
def client(server: EngineServer, database: str, request: pytest.FixtureRequest) -> Client:
    return server.connect(database=database, compress=request.param)


def make_table(client: Client) -> None:
    client.command(
        "CREATE TABLE t (id UUID, time DateTime64(3, 'UTC'), properties JSON, list Array(Nullable(Float64)), text String) "
        "ENGINE = ReplacingMergeTree ORDER BY (time, id)"
    )


def test_insert_and_query(client: Client) -> None:
    make_table(client)
    summary = client.insert("t", ROWS, column_names=["id", "time", "properties", "list", "text"])
    assert summary.written_rows == 2
    result = client.query("SELECT * FROM t FINAL ORDER BY id", tz_mode="aware")
    assert [list(row) for row in result.result_rows] == ROWS
    assert int(result.summary["read_rows"]) == 2
    assert client.command("SELECT count() FROM t") == 2


def test_dataframes(client: Client) -> None:
    frame = pd.DataFrame({"n": range(100_000), "s": [f"row {n}" for n in range(100_000)]})
    client.command("CREATE TABLE t (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
    client.insert_df("t", frame)
    found = client.query_df("SELECT n, s FROM t ORDER BY n")
    assert found["n"].tolist() == frame["n"].tolist()
    assert found["s"].tolist() == frame["s"].tolist()


def test_parameters(client: Client) -> None:
    text = "a'b\\c\n\t{x:UInt8} `"
    result = client.query(
        "SELECT {s:String}, {n:UInt8} + 1, {l:Array(String)}", parameters={"s": text, "n": 5, "l": ["x", "'"]}
    )
    assert result.result_rows == [(text, 6, ["x", "'"])]


def test_long_parameters_travel_as_a_form(client: Client) -> None:
    values = [f"value {n}" for n in range(20_000)]
    assert client.query("SELECT length({l:Array(String)})", parameters={"l": values}).result_rows == [(20_000,)]


def test_errors_have_their_code(client: Client) -> None:
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE") as caught:
        client.query("SELECT * FROM nothing")
    assert caught.value.code == 60
    with pytest.raises(DatabaseError):
        client.insert("nothing", [[1]], column_names=["a"])


def test_a_wrong_password_is_refused(server: EngineServer) -> None:
    import clickhouse_connect

    with pytest.raises(DatabaseError, match="516"):
        clickhouse_connect.get_client(host="127.0.0.1", port=server.port, username="default", password="wrong")


def test_streams(client: Client) -> None:
    with client.query_row_block_stream("SELECT number, toString(number) FROM numbers(2000000)") as blocks:
        assert sum(len(block) for block in blocks) == 2_000_000


@pytest.mark.filterwarnings("ignore")
def test_an_error_in_a_stream_is_raised(client: Client) -> None:
    query = "SELECT throwIf(number = 2900000) FROM numbers(3000000) SETTINGS max_block_size = 10000"
    with (
        pytest.raises(StreamFailureError, match=r"Code: 395|throwIf"),
        client.query_row_block_stream(query) as blocks,
    ):
        for _ in blocks:
            pass


def test_sessions_keep_temporary_tables(client: Client) -> None:
    client.command("CREATE TEMPORARY TABLE mine (a UInt8)")
    client.insert("mine", [[1], [2]], column_names=["a"], column_type_names=["UInt8"])
    assert client.query("SELECT sum(a) FROM mine").result_rows == [(3,)]


def test_external_data(client: Client) -> None:
    data = ExternalData(file_name="ext.csv", data=b"1,a\n2,b\n", fmt="CSV", structure="n UInt8, s String")
    assert client.query("SELECT sum(n), max(s) FROM ext", external_data=data).result_rows == [(3, "b")]
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        client.query("SELECT * FROM ext")


def test_settings_of_client_and_query(server: EngineServer) -> None:
    client = server.connect(settings={"max_block_size": 12})
    query = "SELECT getSetting('max_block_size')"
    assert client.query(query).result_rows == [(12,)]
    assert client.query(query, settings={"max_block_size": 13}).result_rows == [(13,)]
    assert client.query(query).result_rows == [(12,)]


def test_raw_insert(client: Client) -> None:
    client.command("CREATE TABLE t (a UInt8, b String) ENGINE = MergeTree ORDER BY a")
    client.raw_insert("t", ["a", "b"], b'{"a": 1, "b": "x"}\n', fmt="JSONEachRow")
    client.raw_insert("t", ["a", "b"], iter([b"2,y\n", b"3,z\n"]), fmt="CSV")
    assert client.query("SELECT count(), max(b) FROM t").result_rows == [(3, "z")]
    assert client.raw_query("SELECT 1 FORMAT CSV") == b"1\n"
