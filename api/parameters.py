"""A request's parameters and key, in every form that Keen's clients send them."""

from typing import Any

import orjson
from starlette.requests import Request

from headwater.control import Access, AccessError, Grant, Need
from headwater.query import QueryError


async def granted(request: Request, access: Access, *needs: Need) -> Grant:
    """What the key of a request permits in the project of its path, one of `needs` among it.

    Raises QueryError: 404, 401, 403, 503.
    """
    try:
        return await access.check(request.path_params["project_id"], raw_key(request), *needs)
    except AccessError as error:
        raise QueryError(error.name, error.message, error.status) from None


def unfiltered(grant: Grant) -> None:
    """Raises QueryError (403) for a key with filters, where what it asks for is of all events and cannot be filtered."""
    if grant.filters:
        raise QueryError(
            "InvalidApiKeyError", "The key given is restricted by filters, and what it asks for is of all events.", 403
        )


def raw_key(request: Request) -> str | None:
    """The key of a request: the whole Authorization header, else the parameter api_key."""
    return request.headers.get("authorization") or request.query_params.get("api_key") or None


async def query_parameters(request: Request, max_bytes: int) -> dict[str, Any]:
    """The parameters of a query: those of the URL, and over them the members of the body, JSON whatever its type says.

    Raises QueryError: 400 where the body is no JSON object, 413 where it has more than `max_bytes`.
    """
    parameters: dict[str, Any] = dict(request.query_params)
    if request.method == "POST":
        parameters |= await body_object(request, max_bytes)
    return parameters


async def body_object(request: Request, max_bytes: int) -> dict[str, Any]:
    """The members of a request's body, JSON whatever its type says; none where the body is empty. Raises as above."""
    body = await _body(request, max_bytes)
    return _object(body) if body.strip() else {}


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
        raise QueryError("InvalidBodyError", "The body must be a JSON object.")
    return value
