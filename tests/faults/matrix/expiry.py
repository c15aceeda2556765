"""Records that Kafka deletes before they are read: what retention does to who is away for too long."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from headwater.codec import codec
from headwater.kafka import assign, client_config, partition_reader_config, sink_group, what_comes
from headwater.topics import collection_topic, raw_topic
from tests.faults.matrix.ledger import COLLECTIONS
from tests.faults.matrix.scene import Scene
from tests.faults.matrix.stack import FaultError, Process, Stack, metric
from tests.processing import State, read_events

AWAY_SECONDS = 3.0
TOLD_SECONDS = 30.0
LOST = "headwater_offsets_lost_total"


@contextmanager
def raw_records_expire(scene: Scene) -> Iterator[None]:
    """No processor is there until Kafka deletes raw records that none has read."""
    stack = scene.stack
    with away(stack, stack.workers("processor")):
        watermarks = State(stack.settings).watermarks
        topic = raw_topic(stack.settings)
        ends = _ends(stack, topic)
        put_out = {
            event["id"]
            for project in scene.projects
            for collection in COLLECTIONS
            for event in read_events(stack.settings, project.id, collection)
        }
        for partition, end in ends.items():
            begin = scene.marks.ends[topic, partition]
            for offset, value in _read(stack, TopicPartition(topic, partition, begin), end):
                record = codec("raw_event").decode(value)
                key = record["project_id"], record["collection"]
                if offset <= watermarks.get(partition, -1):
                    scene.known.deleted.setdefault(key, Counter())[record["id"]] += 1
                elif record["id"] in put_out:
                    scene.known.deleted.setdefault(key, Counter())[record["id"]] += 1
                    scene.known.uncounted.add(record["id"])
                else:
                    scene.known.unprocessed.add(record["id"])
        if not scene.known.unprocessed:
            raise FaultError("every raw record had been processed: there was nothing to lose")
        _delete(stack, topic, ends)
        yield


@contextmanager
def events_expire(scene: Scene) -> Iterator[None]:
    """No sink is there until Kafka deletes events that none has stored."""
    stack = scene.stack
    with away(stack, stack.workers("sink")):
        for project in scene.projects:
            for collection in COLLECTIONS:
                topic = collection_topic(stack.settings.topic_prefix, project.id, collection)
                ends = _ends(stack, topic)
                asked = [TopicPartition(topic, partition) for partition in ends]
                with closing(
                    Consumer(client_config(stack.settings) | {"group.id": sink_group(stack.settings)})
                ) as group:
                    stored = {place.partition: max(place.offset, 0) for place in group.committed(asked, timeout=10)}
                for partition, end in ends.items():
                    for _, value in _read(stack, TopicPartition(topic, partition, stored[partition]), end):
                        scene.known.unstored.add(codec("event").decode(value)["id"])
                _delete(stack, topic, ends)
        if not scene.known.unstored:
            raise FaultError("every event had been stored: there was nothing to lose")
        yield


def loss_is_told(scene: Scene) -> list[str]:
    """What is wrong with how the loss was told: by an error in a log, and by the metric, exactly."""
    known = scene.known
    lost = len(known.unprocessed) + len(known.uncounted) + len(known.unstored)
    workers = scene.stack.workers("processor" if known.unprocessed else "sink")
    deadline, told = time.monotonic() + TOLD_SECONDS, 0.0
    while time.monotonic() < deadline:
        told = sum(metric(f"http://127.0.0.1:{each.environment['HEADWATER_HEALTH_PORT']}", LOST) for each in workers)
        if told >= lost:
            break
        time.sleep(0.2)
    wrong = [] if told == lost else [f"{LOST} says {told:g}, and {lost} records were deleted unread"]
    if not any('"level": "error"' in each.log.read_text() for each in workers):
        wrong.append("no log has an error")
    return wrong


@contextmanager
def away(stack: Stack, processes: list[Process]) -> Iterator[None]:
    """These are told to end, and are not there for a while; then they start again."""
    for process in processes:
        process.signal(0)
        if not process.terminate():
            raise FaultError(f"{process.name} did not end")
    time.sleep(AWAY_SECONDS)  # that time passes without them is the fault
    try:
        yield
    finally:
        for process in processes:
            process.start()


def _ends(stack: Stack, topic: str) -> dict[int, int]:
    with closing(Consumer(partition_reader_config(stack.settings, topic))) as consumer:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        return {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in partitions}


def _read(stack: Stack, place: TopicPartition, end: int) -> list[tuple[int, bytes]]:
    """A partition's records from a place to an end, with their offsets."""
    found: list[tuple[int, bytes]] = []
    if place.offset >= end:
        return found
    config = partition_reader_config(stack.settings, place.topic) | {"auto.offset.reset": "error"}
    with closing(Consumer(config)) as consumer:
        assign(consumer, [place])
        at_end = False
        while not at_end:
            for message in what_comes(consumer, 10_000, 0.1):
                if message.error():
                    at_end = True
                elif (offset := message.offset() or 0) < end:
                    found.append((offset, message.value() or b""))
    return found


def _delete(stack: Stack, topic: str, ends: dict[int, int]) -> None:
    admin = AdminClient(client_config(stack.settings))
    asked = [TopicPartition(topic, partition, end) for partition, end in ends.items() if end]
    if asked:
        for future in admin.delete_records(asked).values():
            future.result(30)
