"""What is in an output topic, so that peers are compared only when they have done the same work."""

from collections.abc import Mapping
from hashlib import blake2b

from confluent_kafka import Consumer, TopicPartition

from benchmarks.stack import BenchmarkError
from headwater.codec import codec
from headwater.kafka import partition_reader_config
from headwater.settings import Settings

BATCH = 5_000
SECONDS = 10.0

Outputs = dict[bytes, bytes]
"""By an event's key, a digest of its record without `processed_at`."""


def outputs(settings: Settings, topic: str) -> Outputs:
    """All events in a topic. Raises BenchmarkError where one is there twice, or under a key that is not its id."""
    decode = codec("event").decode
    consumer = Consumer(partition_reader_config(settings, topic))
    found: Outputs = {}
    try:
        partitions = [TopicPartition(topic, number, 0) for number in range(settings.collection_partitions)]
        consumer.assign(partitions)
        left = sum(consumer.get_watermark_offsets(partition)[1] for partition in partitions)
        while left:
            messages = [m for m in consumer.consume(BATCH, SECONDS) if m.error() is None]
            if not messages:
                raise BenchmarkError(f"{topic}: {left} records cannot be read")
            left -= len(messages)
            for message in messages:
                key, value = message.key() or b"", message.value() or b""
                event = decode(value)
                del event["processed_at"]
                if event["id"].encode() != key:
                    raise BenchmarkError(f"{topic}: the event {event['id']} has the key {key!r}")
                if key in found:
                    raise BenchmarkError(f"{topic}: the event {event['id']} is there twice")
                found[key] = blake2b(repr(event).encode(), digest_size=16).digest()
    finally:
        consumer.close()
    return found


def check_equal(case: str, theirs: Mapping[bytes, bytes], ours: Mapping[bytes, bytes], *, part: bool = False) -> None:
    """Raises BenchmarkError unless a peer has put out the same events as the processor, or with `part` some of them."""
    different = next((id_ for id_, digest in theirs.items() if ours.get(id_) != digest), None)
    if different is not None:
        raise BenchmarkError(f"{case}: the event {different.decode()} is not as the processor puts it out")
    if not theirs or (len(theirs) != len(ours) and not part):
        raise BenchmarkError(f"{case}: {len(theirs)} events were put out, and {len(ours)} by the processor")
