"""The HTTP API as the client uses it: bulk writes with an answer per event, queries, live figures."""

import gzip
import ipaddress
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import orjson

from headwater.client.errors import FailedEvent
from headwater.client.event import Event, bulk_body
from headwater.client.retry import QUERIES, WRITES, TryLaterError, answered, retrying, retrying_async
from headwater.query import Result
from headwater.query.definition import Query, parse_definition
from headwater.query.errors import QueryError

_LONG_INTEGER = re.compile(rb"[0-9]{19}")

GZIP_FROM = 2_000  # bytes; smaller bodies are not worth it
WRITE_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
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


class HttpSend:
    """Posts batches to a project's bulk route."""

    def __init__(self, url: str, project_id: str, write_key: str, *, connections: int, retry_seconds: float) -> None:
        self._path = f"{url}/3.0/projects/{project_id}/events"
        self._retry_seconds = retry_seconds
        self._gzip = not is_loopback(url)
        self._http = httpx.Client(
            headers={"Authorization": write_key, "Content-Type": "application/json"},
            timeout=WRITE_TIMEOUT,
            trust_env=not is_loopback(url),  # a proxy does not lead to this machine
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        )

    def __call__(self, events: list[Event], stop: threading.Event) -> list[FailedEvent]:
        """Deliver the events; the same bytes at every attempt. Blocks through its retries; returns what was not accepted."""
        body, collections = bulk_body(events)
        headers = {}
        if self._gzip and len(body) >= GZIP_FROM:
            body = gzip.compress(body, compresslevel=1)
            headers["Content-Encoding"] = "gzip"
        try:
            response = retrying(self._retry_seconds, stop)(
                lambda: answered(self._http.post(self._path, content=body, headers=headers), WRITES)
            )
        except (TryLaterError, httpx.TransportError) as error:
            return [_failed(event, "Unreachable", f"Not accepted: {_told(error)}.", refused=False) for event in events]
        if response.status_code != 200:
            why = refusal(response)
            return [_failed(event, why.name, why.message, refused=False) for event in events]
        return list(_failures(response, collections))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class HttpTransport:
    """Asks a project's query routes."""

    def __init__(self, url: str, project_id: str, read_key: str) -> None:
        self._project = f"{url}/3.0/projects/{project_id}"
        self._http = httpx.Client(
            headers={"Authorization": read_key}, timeout=QUERY_TIMEOUT, trust_env=not is_loopback(url)
        )

    def run(self, analysis: str, params: Mapping[str, Any]) -> Result:
        """The answer of an analysis; `params` are Keen's. Blocks; raises QueryError, for a wrong definition before asking."""
        definition = parse_definition(analysis, params, now=time.time_ns() // 1_000_000)
        return _result(self._ask("POST", f"/queries/{analysis}", _body(params)), definition)

    def live(self) -> Any:
        """The live figures of the project's collections. Blocks; raises QueryError."""
        return self._ask("GET", "/live", None)

    def collections(self, schema: bool = True) -> Any:
        """The project's collections, as Keen's GET events has them. Blocks; raises QueryError."""
        return self._ask("GET", f"/events?include_schema={str(schema).lower()}", None)

    def collection(self, name: str) -> Any:
        """A collection with its properties. Blocks; raises QueryError, 404 where there is none."""
        return self._ask("GET", f"/events/{quote(name, safe='')}", None)

    def latest(self, name: str) -> Any:
        """The last 10 events of a collection. Blocks; raises QueryError."""
        return self._ask("GET", f"/latest?{urlencode({'event_collection': name})}", None)["result"]

    def trend(self, name: str | None) -> Any:
        """Events of the last 30 days by day, of a collection or of all. Blocks; raises QueryError."""
        asked = "" if name is None else f"?{urlencode({'event_collection': name})}"
        return self._ask("GET", f"/trend{asked}", None)["result"]

    def delete(self, name: str, parameters: Mapping[str, Any], property_name: str | None = None) -> Deleted:
        """Delete a collection, those of its events that `parameters` choose, or one property. Blocks; raises QueryError."""
        path = f"/events/{quote(name, safe='')}"
        if property_name is not None:
            path += f"/properties/{quote(property_name, safe='')}"
        asked = {
            key: value if isinstance(value, str) else orjson.dumps(value).decode() for key, value in parameters.items()
        }
        response = self._response("DELETE", f"{path}?{urlencode(asked)}" if asked else path, None)
        copies = orjson.loads(response.headers["Headwater-Copies-In-Kafka"])
        return Deleted(
            response.headers["Headwater-Deletion"],
            response.status_code == httpx.codes.NO_CONTENT,
            {topic: datetime.fromisoformat(until) for topic, until in copies.items()},
        )

    def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        return _exact(self._response(method, path, body).content)

    def _response(self, method: str, path: str, body: bytes | None) -> httpx.Response:
        headers = {"Content-Type": "application/json"} if body else {}
        url = self._project + path
        with _refusals(url):
            response = retrying(QUERY_RETRY_SECONDS, threading.Event())(
                lambda: answered(self._http.request(method, url, content=body, headers=headers), QUERIES)
            )
        return _successful(response)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class AsyncHttpTransport:
    """Asks a project's query routes without blocking. For one event loop."""

    def __init__(self, url: str, project_id: str, read_key: str) -> None:
        self._queries = f"{url}/3.0/projects/{project_id}/queries"
        self._http = httpx.AsyncClient(
            headers={"Authorization": read_key, "Content-Type": "application/json"},
            timeout=QUERY_TIMEOUT,
            trust_env=not is_loopback(url),
        )

    async def run(self, analysis: str, params: Mapping[str, Any]) -> Result:
        """As HttpTransport.run. A task that is cancelled closes its connection, which ends the query in the API."""
        definition = parse_definition(analysis, params, now=time.time_ns() // 1_000_000)
        url, body = f"{self._queries}/{analysis}", _body(params)

        async def ask() -> httpx.Response:
            return answered(await self._http.post(url, content=body), QUERIES)

        with _refusals(url):
            response: httpx.Response = await retrying_async(QUERY_RETRY_SECONDS)(ask)
        return _result(_exact(_successful(response).content), definition)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def _body(params: Mapping[str, Any]) -> bytes:
    return orjson.dumps({"include_metadata": True, **params})


def _result(reply: Any, definition: Query) -> Result:
    metadata = reply.pop("execution_metadata", None)
    return Result(reply if definition.analysis == "funnel" else reply["result"], definition, metadata=metadata)


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
    if response.status_code not in (200, 204):
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


def _exact(text: bytes) -> Any:
    """The JSON value of an answer. A sum may need more than the 64 bits in which orjson keeps integers exact."""
    return json.loads(text) if _LONG_INTEGER.search(text) else orjson.loads(text)


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine, where compression costs more than it saves."""
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _failures(response: httpx.Response, collections: dict[str, list[Event]]) -> Iterator[FailedEvent]:
    """The events that a bulk reply does not call a success."""
    try:
        reply = orjson.loads(response.content)
        results = {name: list(reply[name]) for name in collections}
    except (ValueError, KeyError, TypeError):
        results = {}
    for name, events in collections.items():
        answers = results.get(name, [])
        if len(answers) != len(events):
            for event in events:
                yield _failed(
                    event, "UnexpectedReply", "The reply does not have a result for each event.", refused=False
                )
            continue
        for event, answer in zip(events, answers, strict=True):
            if not answer.get("success"):
                error = answer.get("error") or {}
                yield _failed(event, str(error.get("name", "Error")), str(error.get("description", "")), refused=True)


def _failed(event: Event, name: str, description: str, *, refused: bool) -> FailedEvent:
    return FailedEvent(event.collection, event.id, name, description, refused, event.payload)


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__
