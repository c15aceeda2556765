"""What tests of processors need: raw records in, worker processes, and what came out of them."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from headwater import dead_letters
from headwater.aggregates import Aggregates, parse_key
from headwater.codec import codec
from headwater.control import ControlWriter
from headwater.kafka import (
    client_config,
    create_base_topics,
    durable_producer_config,
    partition_reader_config,
    sink_group,
    what_comes,
)
from headwater.local.ports import Ports
from headwater.settings import PREFIX, Settings
from headwater.topics import collection_topic, collections_pattern, raw_topic, state_topic
from processors.catalogue import Catalogue
from tests.local_http import HTTP
from tests.waiting import wait_until

BREAK_ADDON = """
from dataclasses import replace
from processors.addons import ADDONS
def broken(text):
    raise OSError("the add-on's database is gone")
ADDONS["keen:url_parser"] = replace(ADDONS["keen:url_parser"], load=lambda settings: broken)
"""
RUN = "from headwater.settings import load_settings; from processors.app import run; run(load_settings())"
START_LIMIT = 60.0
HEALTH_PORT = 22200
PORTS = Ports()  # held until the test session ends


def new_project(settings: Settings) -> str:
    """A project in a new deployment; its id."""
    create_base_topics(settings)
    return ControlWriter(settings).create_project("test").id


def raw_record(project_id: str, collection: str, **fields: Any) -> bytes:
    """A record as the collector writes it. Properties are JSON text."""
    return codec("raw_event").encode({"project_id": project_id, "collection": collection, "properties": "{}"} | fields)


class RawTopic:
    """Writes to the raw topic, or another one of its records."""

    def __init__(self, settings: Settings, topic: str | None = None) -> None:
        self._producer = Producer(durable_producer_config(settings))
        self._producer.list_topics(timeout=10)  # connected, it has its producer id at once and not half a second later
        self._topic = topic or raw_topic(settings)
        self.failed = 0

    def send(self, value: bytes | None, key: bytes | None = None, partition: int = -1, timestamp: int = 0) -> None:
        """Queue a record."""
        while True:
            try:
                self._producer.produce(
                    self._topic, value, key, partition=partition, timestamp=timestamp, on_delivery=self._delivered
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                self._producer.poll(0)
                return

    def flush(self) -> None:
        """Wait until all is written."""
        assert self._producer.flush(60) == 0
        assert not self.failed

    def _delivered(self, error: object, _message: object) -> None:
        self.failed += error is not None


class ProcessorProcess:
    """A processor as an operating-system process."""

    def __init__(self, settings: Settings, name: str, logs: Path, before: str = "") -> None:
        """`before` is Python that is run before it starts."""
        self.log = logs / f"{name}.log"
        self.port = PORTS.claim(HEALTH_PORT)
        environment = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        for field, value in settings.model_dump(exclude_unset=True).items():
            environment[PREFIX + field.upper()] = (
                value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
            )
        environment |= {f"{PREFIX}WORKER_NAME": name, f"{PREFIX}HEALTH_PORT": str(self.port)}
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", before + RUN], env=environment, stdout=out, stderr=out
            )

    @property
    def ready(self) -> bool:
        """What /readyz says."""
        return self._get("/readyz").status_code == 200 if self.running else False

    @property
    def alive(self) -> bool:
        """What /livez says."""
        return self._get("/livez").status_code == 200

    @property
    def unready(self) -> str:
        """What /readyz says in words."""
        return self._get("/readyz").text

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self.process.poll() is None

    def metric(self, name: str) -> float:
        """The value of a metric; a sample without labels or with them, as /metrics has it."""
        for line in self._get("/metrics").text.splitlines():
            if line.startswith(name + " "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def wait_ready(self) -> None:
        """Until it has its partitions."""
        wait_until(self._ready_or_dead, START_LIMIT)

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.process.wait(30)

    def kill(self) -> None:
        """SIGKILL, whatever it is doing."""
        self.process.kill()
        self.process.wait(10)

    def _ready_or_dead(self) -> bool:
        assert self.running, self.log.read_text()[-4000:]
        return self.ready

    def _get(self, path: str) -> httpx.Response:
        try:
            return HTTP.get(f"http://127.0.0.1:{self.port}{path}", timeout=2)
        except httpx.HTTPError:
            return httpx.Response(503)


@contextlib.contextmanager
def processor(settings: Settings, name: str = "processor-1") -> Iterator[ProcessorProcess]:
    """A ready processor, that ends cleanly on leaving."""
    process = ProcessorProcess(settings, name, settings.data_dir)
    try:
        process.wait_ready()
        yield process
        assert process.end() == 0, process.log.read_text()[-4000:]
    finally:
        if process.running:
            process.kill()


def read_topic(settings: Settings, topic: str) -> list[tuple[bytes, bytes, int]]:
    """Every committed record of a topic: key, value, offset."""
    consumer = Consumer(partition_reader_config(settings, topic) | {"fetch.wait.max.ms": 10})
    try:
        partitions = consumer.list_topics(topic, 10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        records, at_end = [], 0
        while at_end < len(partitions):
            for message in what_comes(consumer, 10_000, 0.1):
                if message.error():
                    at_end += 1
                else:
                    records.append((message.key(), message.value(), message.offset()))
    finally:
        consumer.close()
    return records


def read_events(settings: Settings, project_id: str, collection: str) -> list[dict[str, Any]]:
    """The events in a collection's topic, decoded, repeated ones too; none where there is no topic."""
    topic = collection_topic(settings.topic_prefix, project_id, collection)
    if topic not in AdminClient(client_config(settings)).list_topics(timeout=10).topics:
        return []
    return [codec("event").decode(value) for _, value, _ in read_topic(settings, topic)]


def read_dead_letters(settings: Settings) -> list[dict[str, Any]]:
    """The dead letters, decoded, repeated ones too."""
    return list(dead_letters.read_dead_letters(settings))


class State:
    """The state topic, folded by key from its beginning."""

    def __init__(self, settings: Settings) -> None:
        self.records = read_topic(settings, state_topic(settings))
        newest = {key: value for key, value, _ in self.records}
        self.values: Mapping[bytes, bytes] = {key: value for key, value in newest.items() if value is not None}

    @property
    def watermarks(self) -> dict[int, int]:
        """The watermark of each partition that has one."""
        return self._watermarks("watermark")

    @property
    def processed(self) -> int:
        """Offsets of the raw topic and of the backfill topic that are settled, over all partitions."""
        return self.processed_live + self.processed_history

    @property
    def processed_live(self) -> int:
        """Those of the raw topic."""
        return sum(offset + 1 for offset in self._watermarks("watermark").values())

    @property
    def processed_history(self) -> int:
        """Those of the backfill topic."""
        return sum(offset + 1 for offset in self._watermarks("backfill").values())

    def _watermarks(self, kind: str) -> dict[int, int]:
        return {
            key.partition: codec("watermark").decode(value)["offset"]
            for key, value in ((parse_key(k), v) for k, v in self.values.items())
            if key.kind == kind
        }

    def aggregates(self, project_id: str, collection: str) -> list[Aggregates]:
        """A collection's aggregates by partition."""
        return [Aggregates.decode(value) for value in self._of("aggregates", project_id, collection)]

    def events(self, project_id: str, collection: str) -> int:
        """A collection's total."""
        return sum(part.events for part in self.aggregates(project_id, collection))

    def catalogues(self, project_id: str, collection: str) -> list[Catalogue]:
        """A collection's catalogues by partition."""
        return [Catalogue.decode(value) for value in self._of("catalogue", project_id, collection)]

    def _of(self, kind: str, project_id: str, collection: str) -> Iterator[bytes]:
        for key, value in self.values.items():
            parsed = parse_key(key)
            if (parsed.kind, parsed.project_id, parsed.collection) == (kind, project_id, collection):
                yield value


@contextlib.contextmanager
def storing(settings: Settings) -> Iterator[None]:
    """A member of the sinks' group that commits all that comes: what processors see of sinks that store everything."""
    consumer = Consumer(
        client_config(settings)
        | {"group.id": sink_group(settings), "auto.offset.reset": "earliest", "topic.metadata.refresh.interval.ms": 500}
    )
    consumer.subscribe([collections_pattern(settings.topic_prefix)])
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            what_comes(consumer, 5_000, 0.1)
            with contextlib.suppress(KafkaException):  # again, then, as sinks do; where there is nothing new, too
                consumer.commit(asynchronous=True)  # one that is waited for may never return when its broker was killed
        consumer.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)  # closing, too, may wait for a commit that is never answered


def wait_processed(settings: Settings, records: int, limit: float = 60.0) -> State:
    """Until this many raw records are settled; the state then."""

    def state() -> State | None:
        read = State(settings)
        return read if read.processed >= records else None

    return wait_until(state, limit, 0.5)  # type: ignore[return-value]  # it is true once returned
