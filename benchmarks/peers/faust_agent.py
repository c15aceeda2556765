"""Faust as its documentation shows it: an agent that takes one event after another and sends each on."""

import logging
import sys
import uuid
from typing import Any

import faust

from benchmarks.peers.work import work
from headwater.settings import Settings, load_settings
from headwater.topics import raw_topic


def run(settings: Settings, topic: str) -> None:
    """Read the raw topic for ever."""
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
    run(load_settings(), sys.argv[1])
