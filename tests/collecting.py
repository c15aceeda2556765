"""What tests of the client share: a collector that runs as a process of its own, and the raw topic read back."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import Consumer, TopicPartition

from headwater.codec import codec
from headwater.control import ControlWriter, Project
from headwater.kafka import client_config, create_base_topics
from headwater.local.child import Child
from headwater.local.ports import Ports
from headwater.settings import PREFIX, Settings
from headwater.topics import raw_topic
from tests.waiting import wait_until

SERVE = "from headwater.serve import run_http; from headwater.settings import load_settings; run_http('collector', load_settings())"


@dataclass
class Collector:
    """A collector that can be killed and started again at the same address."""

    settings: Settings
    project: Project
    log: Path
    child: Child | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    def start(self) -> None:
        """Start it and wait until it takes events."""
        self.launch()
        wait_until(self._ready, 30)

    def launch(self) -> None:
        """Start it."""
        self.child = Child([sys.executable, "-c", SERVE], environment(self.settings), self.log)

    def kill(self) -> None:
        """SIGKILL, as a machine that goes away."""
        if self.child:
            self.child.kill()
            self.child = None

    def _ready(self) -> bool:
        assert self.child
        assert self.child.exit_code() is None, self.log.read_text()[-3000:]
        try:
            return httpx.get(f"{self.url}/readyz", timeout=3).status_code == 200
        except httpx.HTTPError:
            return False


def new_project(settings: Settings) -> Project:
    """A project that no other test has."""
    with ControlWriter(settings) as writer:
        return writer.create_project("test")


@contextmanager
def running_collector(settings: Settings, folder: Path) -> Iterator[Collector]:
    """A collector with a project of its own, on a free port."""
    create_base_topics(settings)
    project = new_project(settings)
    ports = Ports()
    own = settings.model_copy(update={"port": ports.claim(17100)})
    collector = Collector(own, project, folder / "collector.log")
    try:
        collector.start()
        yield collector
    finally:
        collector.kill()
        ports.close()


def environment(settings: Settings) -> dict[str, str]:
    """The process environment with these settings in it."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    for name in settings.model_fields_set:
        value: Any = getattr(settings, name)
        plain[PREFIX + name.upper()] = value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
    return plain


def raw_records(settings: Settings, project_id: str) -> list[dict[str, Any]]:
    """The project's records in the raw topic, decoded; in the order of each partition."""
    consumer = Consumer(client_config(settings) | {"group.id": "reader", "enable.auto.commit": False})
    topic = raw_topic(settings)
    try:
        records = []
        for number in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
            partition = TopicPartition(topic, number, 0)
            end = consumer.get_watermark_offsets(partition, timeout=10)[1]
            consumer.assign([partition])
            position = 0
            while position < end:
                message = consumer.poll(10)
                assert message is not None, f"partition {number} ends before offset {end}"
                assert message.error() is None
                value = message.value()
                assert value is not None
                records.append(codec("raw_event").decode(value))
                position = message.offset() + 1
        return [record for record in records if record["project_id"] == project_id]
    finally:
        consumer.close()
