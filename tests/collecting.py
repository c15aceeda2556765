"""What tests of the client share: a collector that runs as a process of its own, and the raw topic read back."""

import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from headwater.codec import codec
from headwater.control import ControlWriter, Project
from headwater.kafka import create_base_topics
from headwater.local.child import Child
from headwater.local.ports import Ports
from headwater.settings import PREFIX, Settings
from headwater.topics import raw_topic
from tests.local_http import HTTP
from tests.processing import read_topic
from tests.waiting import wait_until

SERVE = "from headwater.serve import run_http; from headwater.settings import load_settings; run_http('collector', load_settings())"


@dataclass
class Collector:
    """A collector that can be killed and started again at the same address."""

    settings: Settings
    project: Project
    log: Path
    writer: ControlWriter
    child: Child | None = None

    def with_a_new_project(self) -> "Collector":
        """This collector, seen with a project that no other test has."""
        return replace(self, project=self.writer.create_project("test"))

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
            return HTTP.get(f"{self.url}/readyz", timeout=3).status_code == 200
        except httpx.HTTPError:
            return False


@contextmanager
def running_collector(settings: Settings, folder: Path) -> Iterator[Collector]:
    """A collector with a project of its own, on a free port."""
    create_base_topics(settings)
    with ControlWriter(settings) as writer, closing(Ports()) as ports:
        own = settings.model_copy(update={"port": ports.claim(17100)})
        collector = Collector(own, writer.create_project("test"), folder / "collector.log", writer)
        try:
            collector.start()
            yield collector
        finally:
            collector.kill()


def environment(settings: Settings) -> dict[str, str]:
    """The process environment with these settings in it."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    for name in settings.model_fields_set:
        value: Any = getattr(settings, name)
        plain[PREFIX + name.upper()] = value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
    return plain


def raw_records(settings: Settings, project_id: str, topic: str | None = None) -> list[dict[str, Any]]:
    """The project's records in the raw topic, or another one of its records, decoded; in the order of each partition."""
    records = [codec("raw_event").decode(value) for _, value, _ in read_topic(settings, topic or raw_topic(settings))]
    return [record for record in records if record["project_id"] == project_id]
