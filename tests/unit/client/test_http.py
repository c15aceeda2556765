"""Requests and their retries, against a small real server that can be unwell."""

import asyncio
import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import perf_counter

import httpx
import orjson
import pytest

import headwater
from headwater.client.async_client import AsyncClient
from headwater.client.errors import ConnectError, QueueFullError
from headwater.client.event import make_event
from headwater.client.http import AsyncHttpTransport, HttpSend, HttpTransport, is_loopback
from headwater.client.queue import MemoryQueue
from headwater.client.retry import LONGEST_WAIT, retry_after
from headwater.client.writer import BatchingWriter
from headwater.query import QueryError

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Server:
    """What it answers next, the last answer for ever; and the bodies that it got."""

    url: str
    answers: list[Answer]
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def serving(*answers: Answer) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            server.headers.append(dict(self.headers))
            server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            status, headers, body = server.answers[0] if len(server.answers) == 1 else server.answers.pop(0)
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's signature
            """Nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Server(f"http://127.0.0.1:{http.server_port}", list(answers))
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def sender(url: str, retry_seconds: float = 10.0) -> HttpSend:
    return HttpSend(url, "0" * 24, "key", connections=1, retry_seconds=retry_seconds)


GOOD = (200, {}, b'{"visits": [{"success": true}, {"success": true}]}')
EVENTS = [make_event("visits", {"n": 1}), make_event("visits", {"n": 2})]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_server_that_cannot_just_now_gets_the_same_bytes_again(status: int) -> None:
    with serving((status, {}, b""), GOOD) as server:
        send = sender(server.url)
        assert send(EVENTS, threading.Event()) == []
        send.close()
    assert len(server.bodies) == 2
    assert server.bodies[0] == server.bodies[1]
    assert orjson.loads(server.bodies[0]) == {"visits": [orjson.loads(event.payload) for event in EVENTS]}


@pytest.mark.parametrize(("backfill", "said"), [(True, "true"), (False, None)])
def test_history_is_said_to_be_history(backfill: bool, said: str | None) -> None:
    with serving(GOOD) as server, headwater.connect(server.url, "0" * 24, write_key="key", backfill=backfill) as hw:
        hw.add_event("visits", {"n": 1})
        hw.flush(10)
    assert server.headers[0].get("Headwater-Backfill") == said


def test_retry_after_is_honoured() -> None:
    with serving((503, {"Retry-After": "1"}, b""), GOOD) as server:
        send = sender(server.url)
        started = perf_counter()
        assert send(EVENTS, threading.Event()) == []
        assert perf_counter() - started >= 1
        send.close()


def test_retrying_ends_and_says_why() -> None:
    with serving((503, {}, b"")) as server:
        send = sender(server.url, retry_seconds=0.3)
        failures = send(EVENTS, threading.Event())
        send.close()
    assert [(f.id, f.name, f.refused) for f in failures] == [(event.id, "Unreachable", False) for event in EVENTS]
    assert "503" in failures[0].description


def test_stopping_ends_a_wait_at_once() -> None:
    with serving((503, {"Retry-After": "60"}, b"")) as server:
        send, stop = sender(server.url, retry_seconds=300), threading.Event()
        timer = threading.Timer(0.1, stop.set)
        timer.start()
        started = perf_counter()
        assert len(send(EVENTS, stop)) == 2
        assert perf_counter() - started < 10
        timer.join()
        send.close()


def test_nobody_there_is_reported() -> None:
    with serving(GOOD) as server:
        pass
    send = sender(server.url, retry_seconds=0.2)
    assert [failure.name for failure in send(EVENTS, threading.Event())] == ["Unreachable", "Unreachable"]
    send.close()


@pytest.mark.parametrize("status", [400, 401, 404, 413])
def test_a_refused_request_is_not_tried_again(status: int) -> None:
    body = orjson.dumps({"message": "Not you.", "error_code": "InvalidApiKeyError"})
    with serving((status, {}, body)) as server:
        send = sender(server.url)
        failures = send(EVENTS, threading.Event())
        send.close()
    assert len(server.bodies) == 1
    assert {(f.name, f.description, f.refused) for f in failures} == {("InvalidApiKeyError", "Not you.", False)}


@pytest.mark.parametrize("body", [b"<html>", b'{"visits": [{"success": true}]}', b"[]", b'{"visits": 5}'])
def test_a_reply_that_is_none_counts_nothing_as_accepted(body: bytes) -> None:
    with serving((200, {}, body)) as server:
        send = sender(server.url)
        assert {failure.name for failure in send(EVENTS, threading.Event())} == {"UnexpectedReply"}
        send.close()


def test_failures_of_a_bulk_reply_find_their_events() -> None:
    error = {"name": "InvalidPropertyNameError", "description": "It has a dot."}
    body = orjson.dumps({"a": [{"success": True}, {"success": False, "error": error}], "b": [{"success": True}]})
    events = [make_event("a", {}), make_event("b", {}), make_event("a", {"x.y": 1})]
    with serving((200, {}, body)) as server:
        send = sender(server.url)
        (failure,) = send(events, threading.Event())
        send.close()
    assert (failure.id, failure.name, failure.refused) == (events[2].id, "InvalidPropertyNameError", True)


def test_bodies_to_other_machines_are_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [make_event("visits", {"text": "x" * 2_000})] * 2
    with serving(GOOD) as server:
        monkeypatch.setattr("headwater.client.http.is_loopback", lambda url: False)
        send = sender(server.url)
        assert send(events, threading.Event()) == []
        send.close()
    assert server.headers[0]["Content-Encoding"] == "gzip"
    assert len(orjson.loads(gzip.decompress(server.bodies[0]))["visits"]) == 2


def test_loopback() -> None:
    assert is_loopback("http://127.0.0.1:7000")
    assert is_loopback("http://[::1]:7000")
    assert is_loopback("http://localhost:7000")
    assert not is_loopback("https://events.example.com")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3", 3.0),
        (" 0 ", 0.0),
        ("99999", LONGEST_WAIT),
        ("Sat, 31 Jan 2026 12:00:05 GMT", 5.0),
        ("Sat, 31 Jan 2026 11:00:00 GMT", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("", 0.0),
    ],
)
def test_what_retry_after_may_say(text: str, seconds: float) -> None:
    response = httpx.Response(503, headers={"Retry-After": text})
    assert retry_after(response, datetime(2026, 1, 31, 12, tzinfo=UTC)) == seconds


def test_a_query_has_its_answer_and_its_definition() -> None:
    took = {"events_scanned": 7}
    with serving((503, {}, b""), (200, {}, orjson.dumps({"result": 5, "execution_metadata": took}))) as server:
        transport = HttpTransport(server.url, "0" * 24, "key")
        result = transport.run("count", {"event_collection": "visits"})
        transport.close()
    assert (result.value, result.definition.collection, result.metadata) == (5, "visits", took)
    assert len(server.bodies) == 2


async def test_a_query_that_is_awaited_is_tried_again_and_refused_alike() -> None:
    asked = {"event_collection": "visits"}
    with serving((503, {}, b""), (200, {}, b'{"result": 5}')) as server:
        transport = AsyncHttpTransport(server.url, "0" * 24, "key")
        assert (await transport.run("count", asked)).value == 5
        assert [orjson.loads(body) for body in server.bodies] == [asked | {"include_metadata": True}] * 2
        assert server.headers[0]["Authorization"] == "key"
        await transport.close()
    with serving((404, {}, b'{"error_code": "ResourceNotFoundError", "message": "gone"}')) as server:
        transport = AsyncHttpTransport(server.url, "0" * 24, "key")
        with pytest.raises(QueryError, match="gone") as refused:
            await transport.run("count", asked)
        await transport.close()
    assert (refused.value.status, refused.value.name) == (404, "ResourceNotFoundError")


async def test_a_full_queue_holds_up_only_the_task_that_adds() -> None:
    def client(*, wait_for_room: bool) -> AsyncClient:
        writer = BatchingWriter(
            lambda: sender(server.url), lambda: MemoryQueue(1), threads=1, batch_events=1, linger=0.0, when_full="raise",
            on_error=None,
        )  # fmt: skip
        nobody = ConnectError("nobody asks")
        return AsyncClient(writer, nobody, nobody, wait_for_room=wait_for_room)

    good = (200, {}, b'{"visits": [{"success": true}]}')
    with serving((503, {"Retry-After": "1"}, b""), (503, {"Retry-After": "1"}, b""), good) as server:
        async with client(wait_for_room=True) as hw:
            adding = asyncio.create_task(hw.add_events("visits", [{"n": number} for number in range(3)]))
            while not server.bodies:  # the first is on its way, the second fills the queue
                await asyncio.sleep(0.01)
            assert not adding.done()
            await adding
            await hw.flush(20)
            assert (hw.accepted, hw.failed) == (3, 0)
    with serving((503, {"Retry-After": "1"}, b""), good) as server:
        async with client(wait_for_room=False) as hw:
            with pytest.raises(QueueFullError):
                await hw.add_events("visits", [{"n": number} for number in range(3)])


def test_a_refused_query_raises_what_the_server_says() -> None:
    body = orjson.dumps({"message": "No such project.", "error_code": "ResourceNotFoundError"})
    with serving((404, {}, body)) as server:
        transport = HttpTransport(server.url, "0" * 24, "key")
        with pytest.raises(QueryError, match="No such project") as raised:
            transport.run("count", {"event_collection": "visits"})
        transport.close()
    assert (raised.value.name, raised.value.status) == ("ResourceNotFoundError", 404)
