"""How a load's requests go out, and what is made of their answers, against a small real server."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
import pytest

from headwater.client.bulk import HttpSend
from headwater.client.event import make_event
from headwater.load.delivery import Delivery
from headwater.load.rows import Lines
from headwater.load.sending import Failure, Request
from tests.answering_server import Server, serving

COLLECTION = "visits of a/b?"
LINES = Lines(7, [b'{"a":1}\r', b"", b'{"a":2}'], [b"key-7", b"key-8", b"key-9"])


def request() -> Request:
    return Request(line=9, rows=2, lines=LINES)


def reply(*answers: Any) -> bytes:
    return orjson.dumps({COLLECTION: answers})


GOOD = {"success": True}
BAD = {"success": False, "error": {"name": "InvalidEventError", "description": "The line is not JSON."}}


@contextmanager
def delivery(server: Server, **fields: str | None) -> Iterator[Delivery]:
    send = HttpSend(server.url, "0" * 24, "key", connections=1, retry_seconds=0.3)
    options = {"timestamp": "2026-01-31", "timestamp_field": None, "id_field": None} | fields
    deliver = Delivery(send, COLLECTION, **options)  # type: ignore[arg-type]
    yield deliver
    deliver.close()


def asked(server: Server) -> tuple[str, dict[str, str]]:
    parts = urlsplit(server.paths[0])
    return parts.path, dict(parse_qsl(parts.query))


def test_lines_go_as_they_stand_there_each_behind_its_key() -> None:
    with serving((200, {}, reply(GOOD, GOOD))) as server, delivery(server) as deliver:
        assert deliver(request(), threading.Event()) == []
    assert server.bodies == [b'key-7\t{"a":1}\r\nkey-8\t\nkey-9\t{"a":2}']
    assert server.headers[0]["Content-Type"] == "application/x-ndjson"
    path = f"/3.0/projects/{'0' * 24}/events/visits%20of%20a%2Fb%3F"
    assert asked(server) == (path, {"keyed": "true", "timestamp": "2026-01-31"})


def test_fields_are_named_to_the_collector() -> None:
    with (
        serving((200, {}, reply(GOOD, GOOD))) as server,
        delivery(server, id_field="a&b", timestamp_field="é") as deliver,
    ):
        assert deliver(request(), threading.Event()) == []
    assert server.bodies == [b'{"a":1}\r\n\n{"a":2}']
    assert asked(server)[1] == {"id_field": "a&b", "timestamp_field": "é"}


def test_a_refusal_is_that_of_its_line() -> None:
    with serving((200, {}, reply(GOOD, BAD))) as server, delivery(server) as deliver:
        assert deliver(request(), threading.Event()) == [Failure(9, "InvalidEventError", "The line is not JSON.", True)]


@pytest.mark.parametrize(
    ("status", "body", "name"),
    [
        (200, reply(GOOD), "UnexpectedReply"),
        (200, b"<html>", "UnexpectedReply"),
        (401, orjson.dumps({"message": "Not you.", "error_code": "InvalidApiKeyError"}), "InvalidApiKeyError"),
        (503, b"", "Unreachable"),
    ],
)
def test_what_is_no_answer_about_lines_ends_the_load(status: int, body: bytes, name: str) -> None:
    with serving((status, {}, body)) as server, delivery(server) as deliver:
        failures = deliver(request(), threading.Event())
    assert failures
    assert {(failure.name, failure.refused) for failure in failures} == {(name, False)}


def test_events_that_were_made_of_rows_go_in_bulk_and_failures_are_those_of_their_rows() -> None:
    events = [make_event(COLLECTION, {"n": n}, "2026-01-31", "one id") for n in (1, 2)]
    with serving((200, {}, reply(BAD, GOOD))) as server, delivery(server) as deliver:
        failures = deliver(Request(line=5, rows=3, rejected=1, events=events, numbers=[3, 5]), threading.Event())
    assert [(failure.line, failure.refused) for failure in failures] == [(3, True)]
    assert asked(server) == (f"/3.0/projects/{'0' * 24}/events", {})
