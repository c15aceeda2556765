"""What every peer of the processor does with a record: reading, enrichment, the output record. Nothing else is per event."""

import time
from collections.abc import Callable

import orjson

from headwater.codec import codec
from headwater.container import avro_long
from headwater.settings import Settings
from headwater.topics import raw_topic
from processors import datums
from processors.enrich import Enricher
from processors.records import RawReader

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
