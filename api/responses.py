"""Answers and refusals as JSON."""

from collections.abc import AsyncIterator
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from headwater import exact_json
from headwater.query import QueryError


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A value as JSON."""
    return Response(exact_json.dumps(value), status, headers, "application/json")


def parts_response(parts: list[bytes]) -> Response:
    """JSON text that is there in parts, sent part by part."""

    async def each() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    length = {"Content-Length": str(sum(map(len, parts)))}
    return StreamingResponse(each(), headers=length, media_type="application/json")


def error_response(error: QueryError) -> Response:
    """A refusal in the form of Keen's errors: both members are always there."""
    headers = {"Retry-After": "1"} if error.status in (429, 503) else None
    return json_response({"message": error.message, "error_code": error.name}, error.status, headers)


async def refused(request: Request, error: Exception) -> Response:
    """The answer to a QueryError."""
    assert isinstance(error, QueryError)
    return error_response(error)


async def no_route(request: Request, error: Exception) -> Response:
    """404 and 405 in the form of all errors."""
    assert isinstance(error, HTTPException)
    name = "MethodNotAllowedError" if error.status_code == 405 else "ResourceNotFoundError"
    path = request.url.path
    message = (
        f"{request.method} is not offered at {path}." if error.status_code == 405 else f"There is nothing at {path}."
    )
    headers = dict(error.headers) if error.headers else None
    return json_response({"message": message, "error_code": name}, error.status_code, headers)
