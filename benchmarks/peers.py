"""`python -m benchmarks.peers bare|faust TOPIC`: what the processor is compared with, each a process of its own.

Both read the same raw topic, run the same functions on each record (reading, enrichment, the output record) and write
into TOPIC. They keep no aggregates and no catalogue, and survive less than the processor does.
"""

import logging
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import faust
import orjson
from confluent_kafka import Consumer, Message, Producer

from headwater.codec import codec
from headwater.container import avro_long
from headwater.kafka import client_config, durable_producer_config
from headwater.settings import Settings, load_settings
from headwater.topics import raw_topic
from processors import datums
from processors.enrich import Enricher
from processors.records import RawReader

BLOCK = 5_000
COMMIT_SECONDS = 0.5

Work = Callable[[bytes, int, int, int], tuple[bytes, bytes]]


def work(settings: Settings) -> Work:
    """A function from a raw record (value, partition, offset, time) to key and value of the event: all that is per event."""
    read = RawReader(raw_topic(settings), settings.event_max_depth).read
    enrich = Enricher(settings).enrich
    header = codec("event").header

    def event_of(value: bytes, partition: int, offset: int, record_time: int) -> tuple[bytes, bytes]:
        key, id_, timestamp, received_at, times, addons, _, text, properties, _ = read(
            value, partition, offset, record_time
        )
        if addons is not None:
            enrich(properties, addons, timestamp, received_at, id_)
            text = orjson.dumps(properties)
        project_id, collection = key
        prefix = header + datums.text(project_id) + datums.text(collection)
        now = avro_long(time.time_ns() // 1_000_000)
        return id_, datums.event(prefix, id_, times, now, text)

    return event_of


def bare(settings: Settings, topic: str) -> None:
    """confluent-kafka: blocks of records in, one produce each, a flush and a commit every half second."""
    event_of = work(settings)
    producer = Producer(durable_producer_config(settings) | {"queue.buffering.max.messages": 1_000_000})
    consumer = Consumer(
        client_config(settings)
        | {"group.id": f"bare-{uuid.uuid4()}", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    )
    consumer.subscribe([raw_topic(settings)])
    committed = time.monotonic()
    while True:
        messages: list[Message] = consumer.consume(BLOCK, 0.1)
        for message in messages:
            if message.error() is None:
                value, partition, offset = message.value(), message.partition(), message.offset()
                assert value is not None
                assert partition is not None
                assert offset is not None
                id_, event = event_of(value, partition, offset, message.timestamp()[1])
                producer.produce(topic, event, id_)
        producer.poll(0)
        if messages and time.monotonic() - committed > COMMIT_SECONDS:
            producer.flush()
            consumer.commit(asynchronous=False)
            committed = time.monotonic()


def stock_faust(settings: Settings, topic: str) -> None:
    """Faust as its documentation shows it: an agent that takes one event after another and sends each on."""
    event_of = work(settings)
    app = faust.App(
        f"faust-{uuid.uuid4()}",
        broker=[f"kafka://{server}" for server in settings.kafka.split(",")],
        store="memory://",
        datadir=str(settings.data_dir / "faust"),
        consumer_auto_offset_reset="earliest",
        topic_partitions=settings.raw_partitions,
        topic_disable_leader=True,
        topic_replication_factor=1,
        web_enabled=False,
        producer_acks=-1,
        producer_linger_ms=5,
    )
    raw = app.topic(raw_topic(settings), key_type=bytes, value_type=bytes, value_serializer="raw")
    out = app.topic(topic, key_type=bytes, value_type=bytes, value_serializer="raw")

    @app.agent(raw)
    async def process(stream: Any) -> None:
        async for event in stream.events():
            message = event.message
            id_, value = event_of(event.value, message.partition, message.offset, int(message.timestamp * 1_000))
            await out.send(key=id_, value=value)

    logging.disable(logging.WARNING)
    faust.Worker(app, loglevel="ERROR").execute_from_commandline()


if __name__ == "__main__":
    {"bare": bare, "faust": stock_faust}[sys.argv[1]](load_settings(), sys.argv[2])
