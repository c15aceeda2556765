"""`python -m benchmarks.bare_collector`: the least that a collector can be, on the same server.

It parses the body, writes every event as JSON into the raw topic, waits for all acknowledgements (acks=all), and
answers in the collector's shapes. No keys, no rules, no ids, no Avro, no errors.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
import uvloop
from confluent_kafka import Producer
from granian.constants import Interfaces
from granian.server.embed import Server

from headwater.kafka import durable_producer_config
from headwater.settings import load_settings
from headwater.topics import raw_topic

POLL_SECONDS = 0.001
Message = MutableMapping[str, Any]


class BareCollector:
    """An ASGI application."""

    def __init__(self) -> None:
        settings = load_settings()
        self._topic = raw_topic(settings)
        self._producer = Producer(durable_producer_config(settings) | {"queue.buffering.max.messages": 1_000_000})
        self._waiting = 0

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Answer one request."""
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        status, answer = 200, b"ok"
        if scope["method"] == "POST":
            parsed = orjson.loads(body)
            if scope["path"].endswith("/events"):
                events = [event for collection in parsed.values() for event in collection]
                answer = orjson.dumps({name: [{"success": True}] * len(e) for name, e in parsed.items()})
            else:
                events, status, answer = [parsed], 201, b'{"created":true}'
            await self._publish([orjson.dumps(event) for event in events])
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _publish(self, values: list[bytes]) -> None:
        left = len(values)
        done = asyncio.get_running_loop().create_future()

        def delivered(error: object, _message: object) -> None:
            nonlocal left
            assert error is None
            left -= 1
            if not left:
                done.set_result(None)

        for value in values:
            self._producer.produce(self._topic, value, on_delivery=delivered)
        self._waiting += 1
        if self._waiting == 1:
            self._poll()
        await done
        self._waiting -= 1

    def _poll(self) -> None:
        self._producer.poll(0)
        if self._waiting:
            asyncio.get_running_loop().call_later(POLL_SECONDS, self._poll)


async def _serve() -> None:
    settings = load_settings()
    server = Server(
        BareCollector(), address=settings.host, port=settings.port, interface=Interfaces.ASGINL, log_enabled=False
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
    await server.serve()


if __name__ == "__main__":
    uvloop.run(_serve())
