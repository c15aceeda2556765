"""What a dialect's routes are made of: bare ASGI callables, since request and response objects cost more than the work."""

import base64
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from collector.body import Receive
from collector.errors import ApiError
from collector.request import Request, Scope

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]
Answer = tuple[int, bytes, Headers]  # status, body, headers
Handler = Callable[[Scope, Receive], Awaitable[Answer]]

JSON: Headers = ((b"content-type", b"application/json"),)
IMAGE: Headers = ((b"content-type", b"image/gif"), (b"cache-control", b"no-store"))
PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")  # 1x1, transparent
TURN = 100  # events after which other requests have their turn


def handler(store: Callable[[Request, Receive], Awaitable[Answer]]) -> Handler:
    """What `store` returns, or the ApiError that it raises in Keen's form, as the answer to a request."""

    async def handle(scope: Scope, receive: Receive) -> Answer:
        try:
            return await store(Request(scope), receive)
        except ApiError as error:
            return error.status, orjson.dumps(error.body), JSON + error.headers

    return handle


def endpoint(handle: Handler) -> Any:
    """An ASGI callable that sends the answer; an object, since Starlette takes functions for something else."""

    class Endpoint:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            status, body, headers = await handle(scope, receive)
            length = (b"content-length", b"%d" % len(body))
            await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
            await send({"type": "http.response.body", "body": body})

    return Endpoint()
