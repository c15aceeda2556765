"""An API that runs as a process of its own, with a project, for tests of what a real connection does."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from headwater.control import ControlWriter, Project
from headwater.kafka import create_base_topics
from headwater.local.child import Child
from headwater.local.ports import Ports
from headwater.settings import Settings
from tests.collecting import environment
from tests.local_http import HTTP
from tests.waiting import wait_until

SERVE = "from headwater.serve import run_http; from headwater.settings import load_settings; run_http('api', load_settings())"


@dataclass
class Served:
    """A running API."""

    settings: Settings
    project: Project
    child: Child

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}/3.0/projects/{self.project.id}"

    def client(self, key: str | None = None, **options: Any) -> httpx.Client:
        """A client with the read key, or another one."""
        headers = {"Authorization": key or self.project.read_key}
        return httpx.Client(base_url=self.root, headers=headers, trust_env=False, **{"timeout": 120, **options})


@contextmanager
def served(settings: Settings, folder: Path, project: Project | None = None) -> Iterator[Served]:
    """An API on a free port until the end; a project is made where none is given."""
    create_base_topics(settings)
    if project is None:
        with ControlWriter(settings) as writer:
            project = writer.create_project("test")
    ports = Ports()
    own = settings.model_copy(update={"port": ports.claim(17300)})
    log = folder / "api.log"
    child = Child([sys.executable, "-c", SERVE], environment(own), log)

    def ready() -> bool:
        assert child.exit_code() is None, log.read_text()[-3000:]
        with suppress(httpx.HTTPError):
            return HTTP.get(f"http://127.0.0.1:{own.port}/readyz", timeout=3).status_code == 200
        return False

    try:
        wait_until(ready, 60)
        yield Served(own, project, child)
    finally:
        child.stop(20.0)
        ports.close()
