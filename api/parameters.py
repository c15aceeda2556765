"""A request's parameters and key, in every form that Keen's clients send them."""

from typing import Any

import orjson
from starlette.requests import Request

from headwater.query import QueryError


def raw_key(request: Request) -> str | None:
    """The key of a request: the whole Authorization header, else the parameter api_key."""
    return request.headers.get("authorization") or request.query_params.get("api_key") or None


async def query_parameters(request: Request, max_bytes: int) -> dict[str, Any]:
    """The parameters of a query: those of the URL, and over them the members of the body, JSON whatever its type says.

    Raises QueryError: 400 where the body is no JSON object, 413 where it has more than `max_bytes`.
    """
    parameters: dict[str, Any] = dict(request.query_params)
    if request.method == "POST":
        body = await _body(request, max_bytes)
        if body.strip():
            parameters |= _object(body)
    return parameters


async def _body(request: Request, max_bytes: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise QueryError("InvalidBodyError", f"The body has more than {max_bytes:,} bytes.", 413)
        chunks.append(chunk)
    return b"".join(chunks)


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise QueryError("InvalidBodyError", f"The body is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise QueryError("InvalidBodyError", "The body must be a JSON object with the query's parameters.")
    return value
