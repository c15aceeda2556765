"""What the HTTP server answers where a service fails."""

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from headwater.serve import HttpServices


async def fail(_request: Request) -> None:
    raise RuntimeError("a secret of the service's")


@pytest.mark.parametrize(
    ("path", "members"),
    [
        ("/3.0/projects/p/events", {"message", "error_code"}),
        ("/v1/track", {"message", "error_code", "success", "code", "error"}),
    ],
)
async def test_a_failure_is_told_in_the_dialects_form_and_not_why(path: str, members: set[str]) -> None:
    application = Starlette(routes=[Route(path, fail, methods=["POST"])])
    application.state.name = "failing"
    transport = httpx.ASGITransport(HttpServices([application]))
    async with httpx.AsyncClient(transport=transport, base_url="http://headwater") as http:
        answer = await http.post(path)
    assert (answer.status_code, answer.json().keys()) == (500, members)
    assert "secret" not in answer.text
