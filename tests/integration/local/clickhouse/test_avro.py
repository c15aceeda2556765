"""An Avro container as the data of INSERT ... SELECT ... FROM input(): how the sink loads events."""

import io
import json
from typing import Any
from uuid import UUID

import fastavro
import httpx

SCHEMA = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Event",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "properties", "type": "string"},
        ],
    }
)
INSERT = (
    "INSERT INTO {table} SELECT toUUID(id), fromUnixTimestamp64Milli(timestamp, 'UTC'), properties::JSON "
    "FROM input('id String, timestamp Int64, properties String') FORMAT Avro"
)
NO_DATES = {"input_format_try_infer_dates": "0", "input_format_try_infer_datetimes": "0"}


def make_table(http: httpx.Client, database: str) -> str:
    table = f"{database}.`a b`"
    columns = "id UUID, timestamp DateTime64(3, 'UTC'), properties JSON"
    http.post(
        "/", content=f"CREATE TABLE {table} ({columns}) ENGINE = ReplacingMergeTree ORDER BY (timestamp, id)"
    ).raise_for_status()
    return table


def container(events: list[dict[str, Any]], codec: str = "null") -> bytes:
    out = io.BytesIO()
    fastavro.writer(out, SCHEMA, events, codec=codec)
    return out.getvalue()


def event(number: int, properties: dict[str, Any]) -> dict[str, Any]:
    return {"id": str(UUID(int=number)), "timestamp": 1_700_000_000_000 + number, "properties": json.dumps(properties)}


def test_events_arrive_and_a_replay_folds(http: httpx.Client, database: str) -> None:
    table = make_table(http, database)
    properties = [{"n": n, "day": "2024-01-01T00:00:00Z", "s": "; -- \n' ü"} for n in range(5000)]
    body = container([event(n, p) for n, p in enumerate(properties)])
    for _ in range(2):
        answer = http.post("/", params=NO_DATES | {"query": INSERT.format(table=table)}, content=body)
        assert answer.status_code == 200, answer.text
        summary = json.loads(answer.headers["X-ClickHouse-Summary"])
        assert (summary["written_rows"], summary["read_rows"]) == ("5000", "5000")
    query = f"SELECT count(), sum(properties.n.:Int64), any(properties.day), any(properties.s) FROM {table} FINAL FORMAT JSONCompact"
    found = http.post("/", content=query).json()["data"][0]
    assert [int(found[0]), int(found[1]), *found[2:]] == [
        5000,
        sum(range(5000)),
        properties[0]["day"],
        properties[0]["s"],
    ]


def test_statement_and_container_in_one_body(http: httpx.Client, database: str) -> None:
    table = make_table(http, database)
    body = INSERT.format(table=table).encode() + b"\n" + container([event(1, {})], codec="deflate")
    assert http.post("/", content=body, params=NO_DATES).status_code == 200
    assert http.post("/", content=f"SELECT count() FROM {table}").text == "1\n"


def test_a_row_that_cannot_be_converted_names_the_reason(http: httpx.Client, database: str) -> None:
    table = make_table(http, database)
    bad = event(2, {}) | {"properties": '{"a": 1e999}'}
    answer = http.post("/", params={"query": INSERT.format(table=table)}, content=container([event(1, {}), bad]))
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (400, "117")
    assert http.post("/", content=f"SELECT count() FROM {table}").text == "0\n"


def test_a_container_that_was_cut_is_refused_whole(http: httpx.Client, database: str) -> None:
    table = make_table(http, database)
    body = container([event(n, {"n": n}) for n in range(100)])
    answer = http.post("/", params={"query": INSERT.format(table=table)}, content=body[:-40])
    assert answer.status_code >= 400
    assert http.post("/", content=f"SELECT count() FROM {table}").text == "0\n"
