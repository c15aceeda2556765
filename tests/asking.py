"""What tests of the API share: the service over a real Kafka and engine, with one project and a client for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from api.app import create_app
from headwater.control import ControlWriter, Project
from headwater.serve import HttpServices
from headwater.settings import Settings

READY_SECONDS = 60.0


@dataclass
class Api:
    """A running API with one project and a client for it."""

    http: httpx.AsyncClient
    project: Project
    settings: Settings

    @property
    def root(self) -> str:
        """The project's path."""
        return f"/3.0/projects/{self.project.id}"

    async def ask(self, analysis: str, **parameters: Any) -> Any:
        """The result of a POST with the read key."""
        answer = await self.http.post(
            f"{self.root}/queries/{analysis}", json=parameters, headers={"Authorization": self.project.read_key}
        )
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]


@asynccontextmanager
async def running_api(settings: Settings, project: Project | None = None) -> AsyncIterator[Api]:
    """The API in this process, which has read what it needs of Kafka, for a project that it makes where none is given."""
    if project is None:
        with ControlWriter(settings) as writer:
            project = writer.create_project("test")
    services = HttpServices([create_app(settings)])
    async with (
        services.running(),
        httpx.AsyncClient(transport=httpx.ASGITransport(services), base_url="http://api") as http,  # type: ignore[arg-type]  # the same callable, typed by hand
    ):
        async with asyncio.timeout(READY_SECONDS):
            while "have not been read" in (await http.get("/readyz")).text:  # until then it answers 503
                await asyncio.sleep(0.02)
        yield Api(http, project, settings)


def error_of(answer: httpx.Response, status: int, name: str) -> str:
    """The message of an error, checked to have Keen's form."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["error_code"] == name
    message: str = body["message"]
    assert message
    return message
