"""Writes: many events a request, with an answer per event; in the bulk route's form, or in another that its caller makes."""

import gzip
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx
import orjson
import urllib3

from headwater.client.errors import FailedEvent
from headwater.client.event import Event, bulk_body
from headwater.client.http import is_loopback, refusal
from headwater.client.retry import WRITES, TryLaterError, answered, retrying

GZIP_FROM = 2_000  # bytes; smaller bodies are not worth it
PIECE_BYTES = 65_536  # of a body that are sent at once; what urllib3 calls connect is the limit of each, too
TIMEOUT = urllib3.Timeout(connect=10.0, read=30.0)
IDLE_SECONDS = 5.0  # a connection that was not used for so long may be forgotten on its way

log = logging.getLogger("headwater.client")


class RequestError(Exception):
    """A request was not accepted as a whole: `name` and `description` as of a FailedEvent."""

    def __init__(self, name: str, description: str) -> None:
        super().__init__(name, description)
        self.name, self.description = name, description


class Refusal(NamedTuple):
    """An event that a reply does not call a success: its place among those of its collection, and why. `refused` says that the event is at
    fault."""

    collection: str
    place: int
    name: str
    description: str
    refused: bool


class HttpSend:
    """Posts events to a project's routes for them.

    By urllib3, not httpx as all else: it takes less of the time that the application's own threads do not get.
    """

    def __init__(
        self,
        url: str,
        project_id: str,
        write_key: str,
        *,
        connections: int,
        retry_seconds: float,
        patient: bool = False,
        backfill: bool = False,
    ) -> None:
        """`patient`: what is no answer of Headwater's, as a proxy's may be, is no answer at all, and the request is made again."""
        self._patient = patient
        self._told = False
        self._here = is_loopback(url)
        self._retry_seconds = retry_seconds
        self._headers = {"Authorization": write_key}
        if backfill:
            self._headers["Headwater-Backfill"] = "true"
        self._url = f"{url}/3.0/projects/{project_id}/events"
        self._connections = connections
        self._manager: urllib3.PoolManager | None = None
        self._pool: urllib3.HTTPConnectionPool
        self._target = ""
        self._used_at = 0.0
        self._choosing = threading.Lock()

    def __call__(self, events: list[Event], stop: threading.Event) -> list[FailedEvent]:
        """Deliver the events; the same bytes at every attempt. Blocks through its retries; returns what was not accepted."""
        body, collections = bulk_body(events)
        try:
            response = self.deliver("", body, "application/json", stop)
        except RequestError as error:
            return [_failed(event, error.name, error.description, refused=False) for event in events]
        counts = {name: len(members) for name, members in collections.items()}
        return [
            _failed(collections[each.collection][each.place], each.name, each.description, refused=each.refused)
            for each in refusals(response, counts)
        ]

    def deliver(self, path: str, body: bytes, content_type: str, stop: threading.Event) -> httpx.Response:
        """The reply to a body that is posted to a path (and query) below the bulk route: one of success. Blocks through its retries, each with the
        same bytes. Raises RequestError.
        """
        headers = self._headers | {"Content-Type": content_type}
        if not self._here and len(body) >= GZIP_FROM:
            body = gzip.compress(body, compresslevel=1)
            headers["Content-Encoding"] = "gzip"
        try:
            response = retrying(self._retry_seconds, stop)(lambda: self._answer(path, body, headers))
        except (TryLaterError, urllib3.exceptions.HTTPError) as error:
            raise RequestError("Unreachable", f"Not accepted: {str(error) or type(error).__name__}.") from None
        if response.status_code != httpx.codes.OK:
            why = refusal(response)
            raise RequestError(why.name, why.message)
        return response

    def close(self) -> None:
        """Close the connections."""
        if self._manager is not None:
            self._manager.clear()

    def _answer(self, path: str, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        """The answer to one attempt. Raises TryLaterError, and urllib3's errors."""
        response = answered(self._post(path, body, headers), WRITES)
        if self._patient and not _is_headwaters(response):
            if not self._told:
                self._told = True
                log.warning(
                    "%s answered %d, and not as Headwater does: what waits is sent until it does",
                    self._url,
                    response.status_code,
                )
            raise TryLaterError(response)
        return response

    def _post(self, path: str, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        reply = self._connected().urlopen(
            "POST",
            self._target + path,
            body=[body[start : start + PIECE_BYTES] for start in range(0, len(body), PIECE_BYTES)],
            headers={**headers, "Content-Length": str(len(body))},
            redirect=False,
            retries=False,
            assert_same_host=False,
            decode_content=False,
        )
        given = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()]
        return httpx.Response(reply.status, headers=given, content=reply.data)

    def _connected(self) -> urllib3.HTTPConnectionPool:
        with self._choosing:
            now = time.monotonic()
            idle, self._used_at = now - self._used_at, now
            if self._manager is None:
                proxy = None if self._here else _proxy(self._url)  # a proxy does not lead to this machine
                # What is not encrypted, a proxy is asked for by its whole address.
                self._target = self._url if proxy and self._url.startswith("http:") else urlsplit(self._url).path
                self._manager = _manager(self._url, proxy, self._connections)
            elif idle < IDLE_SECONDS:
                return self._pool
            self._manager.clear()
            self._pool = self._manager.connection_from_url(self._url)
            return self._pool


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for a URL, as all programs read it (HTTPS_PROXY, NO_PROXY, ...)."""
    parts = urlsplit(url)
    if proxy_bypass(parts.netloc):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def _manager(url: str, proxy: str | None, connections: int) -> urllib3.PoolManager:
    # The same certificates are trusted as for queries.
    context = httpx.create_ssl_context() if url.startswith("https:") else None
    options: dict[str, Any] = {"maxsize": connections, "block": True, "timeout": TIMEOUT, "ssl_context": context}
    if proxy is None:
        return urllib3.PoolManager(1, **options)
    parts = urlsplit(proxy)
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
    headers = urllib3.make_headers(proxy_basic_auth=user) if user else None
    return urllib3.ProxyManager(proxy, 1, proxy_headers=headers, **options)


def refusals(response: httpx.Response, counts: Mapping[str, int]) -> Iterator[Refusal]:
    """What a reply does not call a success, of so many events of each collection."""
    try:
        reply = orjson.loads(response.content)
        results = {name: list(reply[name]) for name in counts}
    except (ValueError, KeyError, TypeError):
        results = {}
    for name, count in counts.items():
        answers = results.get(name, [])
        if len(answers) != count:
            for place in range(count):
                what = "The reply does not have a result for each event."
                yield Refusal(name, place, "UnexpectedReply", what, refused=False)
            continue
        for place, answer in enumerate(answers):
            if not answer.get("success"):
                error = answer.get("error") or {}
                yield Refusal(
                    name, place, str(error.get("name", "Error")), str(error.get("description", "")), refused=True
                )


def _is_headwaters(response: httpx.Response) -> bool:
    """Whether a reply has the form of an answer to a write: results by collection, or an error with its name. A proxy that calls the body
    too large says the last word on it, too."""
    if response.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
        return True
    try:
        reply = orjson.loads(response.content)
    except ValueError:
        return False
    if not isinstance(reply, dict):
        return False
    if response.status_code == httpx.codes.OK:
        return bool(reply) and all(isinstance(results, list) for results in reply.values())
    return isinstance(reply.get("error_code"), str)


def _failed(event: Event, name: str, description: str, *, refused: bool) -> FailedEvent:
    return FailedEvent(event.collection, event.id, name, description, refused, event.payload)
