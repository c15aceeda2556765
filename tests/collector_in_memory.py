"""A collector's routes in the test's own process: a control plane of a few projects, and records that are kept instead of published."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

import httpx
import pytest
from starlette.applications import Starlette
from structlog.testing import capture_logs

from collector.judges import Judges
from collector.judging import Part, Task
from collector.keen import KeenRoutes
from collector.records import Record
from collector.segment import SegmentRoutes
from collector.webhooks.routes import WebhookRoutes
from headwater import metrics
from headwater.codec import codec
from headwater.control import Access, Grant, ProjectSettings
from headwater.settings import load_settings
from tests.drawn_requests import HttpRequest

NOW = 1_795_360_700  # what the clock says, in seconds since 1970
COUNTERS = ("events_accepted", "events_rejected", "signatures_refused", "segment_without_event")


class Project(NamedTuple):
    """A project of these tests. Its writing key is its id, and so is its reading key, with an r behind."""

    id: str
    settings: ProjectSettings
    autofill: dict[str, Any]

    def grant(self, kind: Any) -> Grant:
        permitted: Any = frozenset({"writes"} if kind == "write" else {"queries"})
        return Grant(self.id, "key", kind, permitted, {"writes": {"autofill": self.autofill}})


class Plane:
    """A control plane of these projects. `newer` ones are known once it has caught up."""

    def __init__(self, projects: Iterable[Project]) -> None:
        self._projects = {project.id: project for project in projects}
        self.newer: dict[str, Project] = {}

    def project(self, project_id: str) -> Project | None:
        return self._projects.get(project_id)

    def key(self, raw_key: str) -> Any:
        found = self.project(raw_key.removesuffix("r"))
        kind = "read" if raw_key.endswith("r") else "write"
        return found and SimpleNamespace(active=True, project_id=found.id, grant=found.grant(kind))

    def master_keys(self, project_id: str) -> list[Any]:
        return []

    def catch_up(self) -> bool:
        self._projects |= self.newer
        return True


class Published(list[tuple[str, Record, bool]]):
    """What was published, instead of a publisher."""

    async def publish(self, project_id: str, records: Sequence[Record], *, backfill: bool = False) -> None:
        assert records
        self.extend((project_id, record, backfill) for record in records)


class Asking(Judges):
    """Judges that count the bodies that they are asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def ask(self, project_id: str | None, task: Task[Part], body: bytes) -> list[Part]:
        self.asked += 1
        return await super().ask(project_id, task, body)


class Outcome(NamedTuple):
    """An answer, the records that were published, and what was counted and logged. Of records what is the same each time."""

    status: int
    headers: dict[str, str]
    body: bytes
    published: list[Any]
    counted: dict[Any, float]
    logged: list[Any]


class Routes:
    """All routes of a collector. Every request comes in at NOW."""

    def __init__(self, projects: Iterable[Project]) -> None:
        self.published, self.judges, self.plane = Published(), Asking(), Plane(projects)
        self._runner = asyncio.Runner()
        plane: Any = self.plane
        publisher: Any = self.published
        settings, access = load_settings(), Access(plane)
        keen = KeenRoutes(settings, access, publisher, self.judges)
        others = [kind(settings, access, plane, publisher, self.judges) for kind in (SegmentRoutes, WebhookRoutes)]
        self._app = Starlette(routes=[route for each in (keen, *others) for route in each.routes()])

    @contextmanager
    def running(self) -> Iterator[None]:
        """End the judges afterwards."""
        clock = SimpleNamespace(time=lambda: NOW, time_ns=lambda: NOW * 10**9)
        with pytest.MonkeyPatch.context() as patch:
            for module in ("records", "segment", "webhooks.routes"):
                patch.setattr(f"collector.{module}.time", clock)
            try:
                yield
            finally:
                self._runner.run(self.judges.close())
                self._runner.close()

    def send(self, request: HttpRequest) -> Outcome:
        """What comes of a request."""
        self.published.clear()
        before = counters()
        with capture_logs() as logged:
            answer = self._runner.run(self._send(request))
        return Outcome(
            answer.status_code,
            dict(answer.headers),
            answer.content,
            [(project_id, *what_stays(record), backfill) for project_id, record, backfill in self.published],
            {name: more for name, value in counters().items() if (more := value - before.get(name, 0))},
            logged,
        )

    async def _send(self, request: HttpRequest) -> httpx.Response:
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://collector") as http:
            method, path, params, headers, content = request
            return await http.request(method, path, params=params, headers=headers, content=content)


def counters() -> dict[Any, float]:
    """COUNTERS, by their names and labels."""
    return {
        (sample.name, *sample.labels.items()): sample.value
        for metric in metrics.registry.collect()
        if metric.name.removeprefix("headwater_collector_") in COUNTERS
        for sample in metric.samples
        if sample.name.endswith("_total")
    }


def what_stays(record: Record) -> tuple[bytes, Any]:
    """A record without an id that was made for it."""
    key, value = record
    if value.startswith(b"{"):
        return record
    event = codec("raw_event").decode(value)
    if event["id_given"]:
        return key, event
    return b"" if event["id"].encode() in key else key, event | {"id": None}
