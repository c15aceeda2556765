"""confluent-kafka without a framework: blocks of records in, one produce each, a flush and a commit every half second."""

import sys
import time
import uuid

from confluent_kafka import Consumer, Message, Producer

from benchmarks.peers.work import work
from headwater.kafka import client_config, durable_producer_config
from headwater.settings import Settings, load_settings
from headwater.topics import raw_topic

BLOCK = 5_000
COMMIT_SECONDS = 0.5


def run(settings: Settings, topic: str) -> None:
    """Read the raw topic for ever."""
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


if __name__ == "__main__":
    run(load_settings(), sys.argv[1])
