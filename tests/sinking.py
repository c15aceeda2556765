"""What tests of the sink share: records of collection topics, a sink that runs, rows read back."""

import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import clickhouse_connect
import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from headwater.codec import codec
from headwater.control import ControlWriter, DeletionWriter
from headwater.identity import new_event_id
from headwater.kafka import (
    assign,
    client_config,
    create_base_topics,
    create_topics,
    durable_producer_config,
    new_topic,
    what_comes,
)
from headwater.settings import PREFIX, Settings
from headwater.topics import EVENTS, collection_topic, dead_letters_topic
from sinks.clickhouse import ClickHouse
from sinks.consumer import Sink
from sinks.datums import Collection
from sinks.deletions import Deleter, DeletionKeeper
from sinks.store import Store
from sinks.tables import table
from tests.waiting import wait_until


def new_collection(name: str = "events") -> Collection:
    """A collection of a project that no other test has."""
    return Collection(secrets.token_hex(12), name)


def event(collection: Collection, properties: dict[str, Any] | str, **changes: Any) -> dict[str, Any]:
    """An event of the collection, now, with properties as an object or as JSON text."""
    now = time.time_ns() // 1_000_000
    return {
        "project_id": collection.project_id,
        "collection": collection.name,
        "id": new_event_id(),
        "timestamp": now,
        "received_at": now,
        "processed_at": now,
        "properties": properties if isinstance(properties, str) else orjson.dumps(properties).decode(),
    } | changes


def encoded(collection: Collection, properties: dict[str, Any] | str, **changes: Any) -> bytes:
    """A record of the event."""
    return codec("event").encode(event(collection, properties, **changes))


def topic_of(settings: Settings, collection: Collection) -> str:
    """The collection's topic."""
    return collection_topic(settings.topic_prefix, collection.project_id, collection.name)


def create_collections(settings: Settings, *collections: Collection) -> None:
    """Make the topics, as a processor does."""
    topics = [new_topic(settings, topic_of(settings, collection), EVENTS) for collection in collections]
    create_topics(settings, topics)


def produce(settings: Settings, collection: Collection, values: Iterable[bytes | None]) -> None:
    """Write records to the collection's topic, which is made where it does not exist."""
    create_collections(settings, collection)
    producer = Producer(durable_producer_config(settings))
    producer.list_topics(timeout=10)  # connected, it has its producer id at once and not half a second later
    for value in values:
        while True:
            try:
                producer.produce(topic_of(settings, collection), value, key=new_event_id())
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(60) == 0


@contextmanager
def deletion_writer(settings: Settings) -> Iterator[DeletionWriter]:
    """A writer of deletions, with a control plane of its own."""
    with ControlWriter(settings) as writer:
        yield DeletionWriter(settings, writer)


@contextmanager
def new_store(settings: Settings) -> Iterator[Store]:
    """What a sink stores with."""
    with deletion_writer(settings) as writer, closing(ClickHouse(settings.clickhouse)) as clickhouse:
        yield Store(settings, clickhouse, DeletionKeeper(writer, clickhouse))


@contextmanager
def running_sink(settings: Settings) -> Iterator[Sink]:
    """A sink in this process, which has joined its group and does deletions."""
    create_base_topics(settings)
    stop = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            sink.run(stop)
        except BaseException as error:
            failures.append(error)

    with deletion_writer(settings) as writer, closing(ClickHouse(settings.clickhouse)) as clickhouse:
        sink = Sink(settings, Store(settings, clickhouse, DeletionKeeper(writer, clickhouse)))
        thread = threading.Thread(target=run, name="sink")
        deleter = Deleter(writer, clickhouse, lambda: sink.leads)
        deleting = threading.Thread(target=deleter.run, args=(stop,), name="deleter")
        thread.start()
        deleting.start()
        try:
            wait_until(lambda: sink.joined or failures, 30)
            yield sink
        finally:
            stop.set()
            thread.join(30)
            deleting.join(30)
    assert not thread.is_alive()
    assert not failures, failures


def start_sink(settings: Settings, log: Path, before: str = "") -> "subprocess.Popen[bytes]":
    """A sink in a process of its own; `before` is Python that runs first."""
    wanted = settings.model_dump(exclude_none=True, exclude_defaults=True)
    secret = {"secret": settings.required_secret()}
    environment = {PREFIX + name.upper(): str(value) for name, value in (wanted | secret).items()}
    program = f"{before}\nfrom headwater.settings import load_settings; from sinks.app import run; run(load_settings())"
    with log.open("ab") as out:
        return subprocess.Popen([sys.executable, "-c", program], env=os.environ | environment, stderr=out, stdout=out)


class Tables:
    """Reads what the sink wrote."""

    def __init__(self, settings: Settings) -> None:
        self._client = clickhouse_connect.get_client(dsn=settings.clickhouse, autogenerate_session_id=False)

    def rows(
        self, collection: Collection, what: str = "count()", final: bool = True, order: str = ""
    ) -> list[tuple[Any, ...]]:
        """The answer to a SELECT of `what` over the collection's table; no rows where there is no table yet."""
        try:
            sql = f"SELECT {what} FROM {table(collection)} {'FINAL' if final else ''} {order}"
            return [tuple(row) for row in self._client.query(sql).result_rows]
        except clickhouse_connect.driver.exceptions.DatabaseError as error:
            if error.code in (60, 81):
                return []
            raise

    def count(self, collection: Collection, final: bool = True) -> int:
        """The collection's events."""
        rows = self.rows(collection, final=final)
        return int(rows[0][0]) if rows else 0

    def properties(self, collection: Collection) -> list[Any]:
        """Every event's properties, decoded from the JSON text that ClickHouse gives, in the order of timestamps."""
        rows = self.rows(collection, "toJSONString(properties)", order="ORDER BY timestamp, id")
        return [orjson.loads(row[0]) for row in rows]

    def value(self, sql: str) -> Any:
        """The one value that a SELECT gives."""
        return self._client.query(sql).result_rows[0][0]

    def command(self, sql: str) -> None:
        """Run a statement."""
        self._client.command(sql)

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()


def read(settings: Settings, collection: Collection, count: int) -> list[Message]:
    """So many records of the collection's topic."""
    consumer = Consumer(client_config(settings) | {"group.id": "none", "enable.auto.commit": False})
    try:
        topic = topic_of(settings, collection)
        assign(consumer, [TopicPartition(topic, n, 0) for n in range(settings.collection_partitions)])
        records: list[Message] = []
        while len(records) < count:
            records += what_comes(consumer, count - len(records), 0.2)
        return records
    finally:
        consumer.close()


def dead_letters(settings: Settings) -> list[dict[str, Any]]:
    """Every dead letter of the deployment, as it is in the topic."""
    name = dead_letters_topic(settings)
    consumer = Consumer(client_config(settings) | {"group.id": "none", "enable.auto.commit": False})
    try:
        place = TopicPartition(name, 0, 0)
        _, end = consumer.get_watermark_offsets(place, timeout=10)
        assign(consumer, [place])
        found: list[dict[str, Any]] = []
        while len(found) < end:
            for message in what_comes(consumer, end - len(found), 0.2):
                assert message.error() is None
                found.append(codec("dead_letter").decode(message.value() or b""))
        return found
    finally:
        consumer.close()


def committed(settings: Settings, collection: Collection) -> int:
    """How many of the collection's records the sink's group has committed; 0 while the broker is still looking its group up."""
    consumer = Consumer(client_config(settings) | {"group.id": f"{settings.topic_prefix}.sink"})
    try:
        places = [TopicPartition(topic_of(settings, collection), n) for n in range(settings.collection_partitions)]
        return sum(max(place.offset, 0) for place in consumer.committed(places, timeout=10))
    except KafkaException as error:
        if error.args[0].code() != KafkaError.NOT_COORDINATOR:
            raise
        return 0
    finally:
        consumer.close()
