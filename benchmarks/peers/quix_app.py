"""Quix Streams as its documentation shows it: a StreamingDataFrame over the raw topic, whose rows go to another topic.

All its settings are its own defaults (commits every five seconds, at least once, its producer idempotent), but for where it
begins, and the producer's compression and linger, which are those of the processor and of the other peers.
"""

import sys
import uuid
from operator import itemgetter
from typing import Any

from quixstreams import Application, message_context
from quixstreams.models.serializers import BytesSerializer

from benchmarks.peers.work import work
from headwater.settings import Settings, load_settings
from headwater.topics import raw_topic


def run(settings: Settings, topic: str) -> None:
    """Read the raw topic for ever."""
    event_of = work(settings)
    app = Application(
        broker_address=settings.kafka,
        consumer_group=f"quix-{uuid.uuid4()}",
        auto_offset_reset="earliest",
        auto_create_topics=False,
        state_dir=settings.data_dir / "quix",
        producer_extra_config={"acks": "all", "compression.type": "lz4", "linger.ms": 5},
        loglevel="ERROR",
    )
    raw = app.topic(raw_topic(settings), value_deserializer="bytes")
    out = app.topic(topic, key_serializer="bytes", value_serializer=_OfEvent())

    def event(value: bytes, _key: object, timestamp: int, _headers: object) -> tuple[bytes, bytes]:
        context = message_context()
        return event_of(value, context.partition, context.offset, timestamp)

    app.dataframe(raw).apply(event, metadata=True).to_topic(out, key=itemgetter(0))
    app.run()


class _OfEvent(BytesSerializer):
    """The record of what `work` returns: id, record."""

    def __call__(self, value: tuple[bytes, bytes], ctx: Any) -> bytes:
        return value[1]


if __name__ == "__main__":
    run(load_settings(), sys.argv[1])
