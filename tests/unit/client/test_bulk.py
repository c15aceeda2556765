"""Writes and their retries, against a small real server that can be unwell."""

import base64
import gzip
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter, sleep

import orjson
import pytest
import urllib3

import headwater
from headwater.client.bulk import HttpSend
from headwater.client.event import make_event
from tests.answering_server import serving


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


@pytest.mark.parametrize(
    "page",
    [
        (404, {}, b"<html>not here</html>"),
        (302, {"Location": "/login"}, b""),
        (408, {}, b""),
        (403, {}, b'{"message": "blocked"}'),
        (200, {}, b"<html>log in</html>"),
        (200, {}, b'{"status": "ok"}'),
        (200, {}, b"[]"),
    ],
)
def test_what_is_no_answer_of_headwaters_ends_nothing_for_the_patient(
    page: tuple[int, dict[str, str], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    with serving(page, page, GOOD) as server:
        send = HttpSend(server.url, "0" * 24, "key", connections=1, retry_seconds=30, patient=True)
        assert send(EVENTS, threading.Event()) == []
        send.close()
    assert len(server.bodies) == 3
    [record] = [one for one in caplog.records if "not as Headwater does" in one.message]
    assert str(page[0]) in record.message
    with serving(page) as server:
        send = sender(server.url, retry_seconds=0.3)
        assert len(send(EVENTS, threading.Event())) == 2
        send.close()


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ((401, {}, b'{"message": "No such key.", "error_code": "UnauthorizedError"}'), "UnauthorizedError"),
        ((413, {}, b"<html>too large</html>"), "HTTP 413"),
    ],
)
def test_what_is_refused_the_patient_hear_of(answer: tuple[int, dict[str, str], bytes], name: str) -> None:
    with serving(answer) as server:
        send = HttpSend(server.url, "0" * 24, "key", connections=1, retry_seconds=30, patient=True)
        assert [failure.name for failure in send(EVENTS, threading.Event())] == [name] * 2
        send.close()


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
        monkeypatch.setattr("headwater.client.bulk.is_loopback", lambda url: False)
        send = sender(server.url)
        assert send(events, threading.Event()) == []
        send.close()
    assert server.headers[0]["Content-Encoding"] == "gzip"
    assert len(orjson.loads(gzip.decompress(server.bodies[0]))["visits"]) == 2


PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def through_a_proxy(monkeypatch: pytest.MonkeyPatch, proxy: str, no_proxy: str) -> list[str]:
    """What is wrong with events for another machine, that are sent with this environment."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.setenv("NO_PROXY", no_proxy)
    send = HttpSend("http://events.invalid:7000", "0" * 24, "key", connections=1, retry_seconds=0.0)
    found = [failure.name for failure in send(EVENTS, threading.Event())]
    send.close()
    return found


def test_a_proxy_that_the_environment_names_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(GOOD) as server:
        proxy = server.url.replace("://", "://me:p%40ss@")
        assert through_a_proxy(monkeypatch, proxy, "") == []
    assert server.paths == [f"http://events.invalid:7000/3.0/projects/{'0' * 24}/events"]
    assert server.headers[0]["proxy-authorization"] == "Basic " + base64.b64encode(b"me:p@ss").decode()
    assert server.headers[0]["Host"] == "events.invalid:7000"


def test_a_proxy_needs_no_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(GOOD) as server:
        assert through_a_proxy(monkeypatch, server.url.removeprefix("http://"), "") == []


def test_a_proxy_is_not_asked_for_hosts_that_are_reached_without(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(GOOD) as server:
        assert through_a_proxy(monkeypatch, server.url, "events.invalid") == ["Unreachable", "Unreachable"]
    assert server.paths == []


def test_a_redirection_is_no_success_and_is_not_followed() -> None:
    with serving(GOOD) as other, serving((302, {"Location": other.url}, b"")) as server:
        send = sender(server.url)
        assert {failure.name for failure in send(EVENTS, threading.Event())} == {"HTTP 302"}
        send.close()
    assert other.bodies == []


def test_a_connection_that_the_server_closed_meanwhile_loses_nothing() -> None:
    with serving((200, {"Connection": "close"}, GOOD[2])) as server:
        send = sender(server.url)
        for _ in range(3):
            assert send(EVENTS, threading.Event()) == []
        send.close()
    assert len(server.bodies) == 3


def test_a_header_in_any_letters_is_no_failure() -> None:
    with serving((200, {"Via": "1.1 caf\xe9"}, GOOD[2])) as server:
        send = sender(server.url)
        assert send(EVENTS, threading.Event()) == []
        send.close()


def test_a_large_body_may_take_longer_than_its_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent slowly is sent: the limit is for each piece, not for the whole."""
    monkeypatch.setattr("headwater.client.bulk.TIMEOUT", urllib3.Timeout(connect=1.0, read=30.0))
    large = [make_event("visits", {"text": "x" * 4_000_000})] * 2
    with slow_server() as url:
        send = sender(url, retry_seconds=0.0)
        began = perf_counter()
        assert send(large, threading.Event()) == []
        assert perf_counter() - began > 1.5
        send.close()


@contextmanager
def slow_server() -> Iterator[str]:
    """Reads one request at 4 MB/s, by a small window, and answers it well."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                head, _, body = connection.recv(65_536).partition(b"\r\n\r\n")
                left = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]) - len(body)
                while left > 0:
                    left -= len(connection.recv(65_536))
                    sleep(65_536 / 4_000_000)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(GOOD[2]), GOOD[2]))

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


def test_a_connection_that_was_idle_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.client.bulk.IDLE_SECONDS", 0.0)
    with serving(GOOD) as server:
        send = sender(server.url)
        for _ in range(2):
            assert send(EVENTS, threading.Event()) == []
            assert send._pool.num_connections == 1
        first = send._pool
        assert send(EVENTS, threading.Event()) == []
        assert send._pool is not first
        send.close()


@pytest.mark.parametrize("url", ["http://", "ftp://127.0.0.1:1", "http://127.0.0.1:99999"])
def test_an_address_that_is_none_is_told(url: str) -> None:
    send = sender(url, retry_seconds=0.0)
    assert {failure.name for failure in send(EVENTS, threading.Event())} == {"Unreachable"}
    send.close()
