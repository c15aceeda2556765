"""Questions and their retries, against a small real server that can be unwell."""

import asyncio
from datetime import UTC, datetime

import httpx
import orjson
import pytest

from headwater.client.async_client import AsyncClient
from headwater.client.bulk import HttpSend
from headwater.client.errors import ConnectError, QueueFullError
from headwater.client.http import AsyncHttpTransport, HttpTransport, is_loopback
from headwater.client.queue import MemoryQueue
from headwater.client.retry import LONGEST_WAIT, retry_after
from headwater.client.writer import BatchingWriter
from headwater.query import QueryError
from tests.answering_server import serving


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
            lambda: HttpSend(server.url, "0" * 24, "key", connections=1, retry_seconds=10.0), lambda: MemoryQueue(1), threads=1, batch_events=1, linger=0.0, when_full="raise",
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
