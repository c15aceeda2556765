"""What tests of queries share: events put into ClickHouse as the sink does it."""

import secrets
from collections.abc import Iterable
from contextlib import closing
from typing import Any

import orjson
from fastavro.schema import to_parsing_canonical_form

from headwater.codec import HEADER_LENGTH, codec
from headwater.container import container
from headwater.identity import new_event_id
from sinks.clickhouse import ClickHouse
from sinks.datums import Collection
from sinks.insert import SETTINGS, insert_statement
from sinks.tables import Tables


def new_project_id() -> str:
    """The id of a project that no other test has."""
    return secrets.token_hex(12)


def event(properties: dict[str, Any], timestamp: int, **changes: Any) -> dict[str, Any]:
    """An event at `timestamp` (milliseconds since 1970 UTC)."""
    return {
        "id": new_event_id(),
        "timestamp": timestamp,
        "received_at": timestamp + 5,
        "processed_at": timestamp + 10,
        "properties": properties,
    } | changes


def store(url: str, project_id: str, collection: str, events: Iterable[dict[str, Any]]) -> None:
    """Insert events by the sink's own statements; one call makes one part a month."""
    schema = codec("event")
    where = {"project_id": project_id, "collection": collection}
    datums = [
        schema.encode(one | where | {"properties": orjson.dumps(one["properties"]).decode()})[HEADER_LENGTH:]
        for one in events
    ]
    with closing(ClickHouse(url)) as clickhouse:
        table = Collection(project_id, collection)
        Tables(clickhouse).ensure(table)
        clickhouse.command(
            insert_statement(table), container(to_parsing_canonical_form(schema.schema), datums), SETTINGS
        )


def store_many(url: str, project_id: str, collection: str, start: int, count: int) -> None:
    """So many events of 130 bytes, a millisecond apart, into a collection that has a table; made by the engine itself."""
    with closing(ClickHouse(url)) as clickhouse:
        clickhouse.command(
            f"INSERT INTO `headwater_{project_id}`.`{collection}` SELECT generateUUIDv4(),"
            f" fromUnixTimestamp64Milli(toInt64({start} + number)), now64(3), now64(3),"
            " concat('{\"n\": ', toString(number), ', \"text\": \"', repeat('x', 100), '\"}')::JSON"
            f" FROM numbers({count})"
        )
