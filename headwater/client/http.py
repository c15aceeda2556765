"""The HTTP API as the client uses it for all but writes: whatever is asked, blocking or awaited."""

import asyncio
import ipaddress
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

import httpx
import orjson

from headwater import exact_json
from headwater.client.retry import QUERIES, TryLaterError, answered, retrying, retrying_async
from headwater.query import Result
from headwater.query.definition import parse_definition
from headwater.query.errors import QueryError

T = TypeVar("T")

QUERY_TIMEOUT = httpx.Timeout(310.0, connect=5.0)  # a query may run for 300 seconds
QUERY_RETRY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Deleted:
    """What became of a deletion.

    `done`: no answer has what was deleted any more; else it is recorded and under way, and is done whatever stops in
    between. Kafka keeps copies until the times in `copies_in_kafka`, by topic; they come into no answer.
    """

    id: str
    done: bool
    copies_in_kafka: Mapping[str, datetime]


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request under a project's path, its body as JSON, and how its reply is read where it is a success.

    master: the project's master key is needed. repeatable: sent twice it does the same as once.
    """

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    body: Any = None
    master: bool = False
    repeatable: bool = True

    @property
    def content(self) -> bytes | None:
        """The body's bytes."""
        return None if self.body is None else orjson.dumps(self.body)

    @property
    def retry_seconds(self) -> float:
        """How long it is tried again."""
        return QUERY_RETRY_SECONDS if self.repeatable else 0.0


def question(analysis: str, params: Mapping[str, Any]) -> Call[Result]:
    """The call that asks an analysis; `params` are Keen's. Raises QueryError for a wrong definition."""
    definition = parse_definition(analysis, params, now=time.time_ns() // 1_000_000)

    def read(response: httpx.Response) -> Result:
        reply = exact_json.loads(response.content)
        metadata = reply.pop("execution_metadata", None)
        return Result(reply if analysis == "funnel" else reply["result"], definition, metadata=metadata)

    return Call("POST", f"/queries/{analysis}", read, {"include_metadata": True, **params})


class HttpTransport:
    """Asks a project's routes with one key."""

    def __init__(self, url: str, project_id: str, key: str) -> None:
        self._project = f"{url}/3.0/projects/{project_id}"
        self._http = httpx.Client(
            headers={"Authorization": key, "Content-Type": "application/json"},
            timeout=QUERY_TIMEOUT,
            trust_env=not is_loopback(url),
        )

    def run(self, analysis: str, params: Mapping[str, Any]) -> Result:
        """The answer of an analysis; `params` are Keen's. Blocks; raises QueryError, for a wrong definition before asking."""
        return self.do(question(analysis, params))

    def do(self, call: Call[T]) -> T:
        """What a call gives. Blocks; raises QueryError."""
        url, content = self._project + call.path, call.content
        with _refusals(url):
            response = retrying(call.retry_seconds, threading.Event())(
                lambda: answered(self._http.request(call.method, url, content=content), QUERIES)
            )
        return call.read(_successful(response))

    def save(self, path: str, target: Path) -> None:
        """Write what is at a path into a file as it comes. Blocks; raises QueryError and OSError."""
        with _refusals(path), self._http.stream("GET", self._project + path) as response:
            if response.status_code != httpx.codes.OK:
                response.read()
                raise refusal(response)
            with target.open("wb") as file:
                for part in response.iter_bytes():
                    file.write(part)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class AsyncHttpTransport:
    """Asks a project's routes with one key, without blocking. For one event loop."""

    def __init__(self, url: str, project_id: str, key: str) -> None:
        self._project = f"{url}/3.0/projects/{project_id}"
        self._http = httpx.AsyncClient(
            headers={"Authorization": key, "Content-Type": "application/json"},
            timeout=QUERY_TIMEOUT,
            trust_env=not is_loopback(url),
        )

    async def run(self, analysis: str, params: Mapping[str, Any]) -> Result:
        """As HttpTransport.run. A task that is cancelled closes its connection, which ends the query in the API."""
        return await self.do(question(analysis, params))

    async def do(self, call: Call[T]) -> T:
        """As HttpTransport.do."""
        url, content = self._project + call.path, call.content

        async def ask() -> httpx.Response:
            return answered(await self._http.request(call.method, url, content=content), QUERIES)

        with _refusals(url):
            response: httpx.Response = await retrying_async(call.retry_seconds)(ask)
        return call.read(_successful(response))

    async def save(self, path: str, target: Path) -> None:
        """As HttpTransport.save."""
        with _refusals(path):
            async with self._http.stream("GET", self._project + path) as response:
                if response.status_code != httpx.codes.OK:
                    await response.aread()
                    raise refusal(response)
                with await asyncio.to_thread(target.open, "wb") as file:
                    async for part in response.aiter_bytes():
                        await asyncio.to_thread(file.write, part)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


@contextmanager
def _refusals(url: str) -> Iterator[None]:
    """What ends a query's retries, as a QueryError."""
    try:
        yield
    except TryLaterError as error:
        raise refusal(error.response) from None
    except httpx.TransportError as error:
        raise QueryError("Unreachable", f"{url}: {_told(error)}.", 503) from error


def _successful(response: httpx.Response) -> httpx.Response:
    if response.status_code not in (200, 201, 204):
        raise refusal(response)
    return response


def refusal(response: httpx.Response) -> QueryError:
    """What a response that is no success says, in Keen's form where it has it."""
    try:
        body = orjson.loads(response.content)
        name, message = body["error_code"], body["message"]
    except (ValueError, KeyError, TypeError):
        name, message = f"HTTP {response.status_code}", response.text[:200] or response.reason_phrase
    return QueryError(str(name), str(message), response.status_code)


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine, where compression costs more than it saves."""
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__
