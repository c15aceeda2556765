"""What tests of looking around share: collections as the processors' state topic has them."""

import time
from typing import Any

from confluent_kafka import Producer

from headwater.aggregates import DAY, Aggregates, table_key
from headwater.kafka import durable_producer_config
from headwater.topics import state_topic
from processors.catalogue import Catalogue
from processors.shapes import BITS
from tests.asking import Api
from tests.waiting import wait_until_async

NOW = time.time_ns() // 1_000_000


async def counted(api: Api, collection: str, paths: dict[str, list[int]], timestamps: list[int]) -> None:
    """Put into the state topic what a processor would, over two partitions, and wait until the API lists it."""
    producer = Producer(durable_producer_config(api.settings))
    figures = Aggregates()
    figures.add(timestamps, [NOW] * len(timestamps), [10] * len(timestamps), offset=1, now=NOW)
    for partition, (aggregates, found) in enumerate([(figures, paths), (Aggregates(), {})]):
        for kind, value in (("aggregates", aggregates.encode()), ("catalogue", Catalogue(1, found).encode())):
            key = table_key(partition, kind, api.project.id, collection)  # type: ignore[arg-type]  # a kind
            producer.produce(state_topic(api.settings), value, key, partition=partition)
    assert producer.flush(10) == 0

    async def listed() -> bool:
        collections = (await get(api, "/events", api.project.read_key, include_schema="false"))[1]
        return collection in [one["name"] for one in collections]

    await wait_until_async(listed)


async def get(api: Api, path: str, key: str, **parameters: str) -> tuple[int, Any]:
    """The status and the body of a GET under the project's path."""
    answer = await api.http.get(api.root + path, params=parameters, headers={"Authorization": key})
    return answer.status_code, answer.json()


def seen(*kinds: type, last: int = NOW, events: int = 3) -> list[int]:
    """What a catalogue has of a property with values of these types."""
    return [sum({BITS[kind] for kind in kinds}), NOW - DAY, last, events]
