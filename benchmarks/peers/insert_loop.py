"""What the sink is compared with: the loop that most would write, which makes a dict of each record and inserts rows by clickhouse-connect.

`python -m benchmarks.peers.insert_loop TOPIC TABLE`. It keeps its batches as clickhouse-connect's documentation advises (few and
large), commits behind each insert, and has the settings of the sink, so that the same rows come out.
"""

import sys
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import clickhouse_connect
import orjson
from confluent_kafka import Consumer

from headwater.codec import codec
from headwater.kafka import client_config
from headwater.settings import Settings, load_settings
from sinks.insert import SETTINGS
from sinks.tables import COLUMNS

BLOCK = 5_000
BATCH_SECONDS = 1.0

Row = tuple[UUID, datetime, datetime, datetime, dict[str, Any]]


def run(settings: Settings, topic: str, table: str) -> None:
    """Read the topic for ever."""
    decode = codec("event").decode
    client = clickhouse_connect.get_client(dsn=settings.clickhouse, autogenerate_session_id=False)
    consumer = Consumer(
        client_config(settings)
        | {"group.id": f"loop-{topic}", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    )
    consumer.subscribe([topic])
    names = [name for name, _ in COLUMNS]
    rows: list[Row] = []
    inserted = time.monotonic()
    while True:
        messages = consumer.consume(BLOCK, 0.1)
        rows += [_row(decode(message.value() or b"")) for message in messages if message.error() is None]
        if len(rows) >= settings.sink_flush_records or (rows and time.monotonic() - inserted > BATCH_SECONDS):
            client.insert(table, rows, column_names=names, settings=SETTINGS)
            consumer.commit(asynchronous=False)
            rows = []
            inserted = time.monotonic()


def _row(event: dict[str, Any]) -> Row:
    return (
        UUID(event["id"]),
        *(_time(event[name]) for name in ("timestamp", "received_at", "processed_at")),
        orjson.loads(event["properties"]),
    )


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1_000, UTC)


if __name__ == "__main__":
    run(load_settings(), *sys.argv[1:])
