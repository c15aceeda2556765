"""The client that does not block: what `headwater.connect_async()` returns."""

import asyncio
import atexit
from collections.abc import Coroutine, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from headwater.client.client import EXIT_SECONDS
from headwater.client.errors import ConnectError, QueueFullError, there
from headwater.client.event import make_event
from headwater.client.http import AsyncHttpTransport
from headwater.client.questions import Questions, Time
from headwater.client.writer import Writer
from headwater.query import Result

ROOM_SECONDS = 0.05  # how often a full queue is looked at again


class AsyncClient(Questions[Coroutine[Any, Any, Result]]):
    """Events in, answers out, for one project, without blocking the event loop. Close it, or use it in an `async with`.

        async with headwater.connect_async() as hw:
            await hw.add_event("purchases", {"item": "book", "price": 12.5})
            orders, revenue = await asyncio.gather(hw.count("purchases"), hw.sum("purchases", target_property="price"))

    The questions are those of `connect()`'s client, awaited: `(await hw.count("purchases")).value`. A task that is cancelled ends
    its query. Events are sent in the background, by threads. For one event loop.
    """

    def __init__(
        self, writer: Writer | ConnectError, transport: AsyncHttpTransport | ConnectError, *, wait_for_room: bool
    ) -> None:
        """`writer` raises QueueFullError when it is full: this waits then, or lets it through. An error in a part's place says
        why it is missing, and is raised by the calls that need it."""
        self._writer = writer
        self._transport = transport
        self._wait_for_room = wait_for_room
        atexit.register(self._close_writer, EXIT_SECONDS)

    @property
    def accepted(self) -> int:
        """Events that were answered with success so far."""
        return 0 if isinstance(self._writer, ConnectError) else self._writer.accepted

    @property
    def failed(self) -> int:
        """Events that were not accepted so far; each was reported to `on_error`, or logged where there is none."""
        return 0 if isinstance(self._writer, ConnectError) else self._writer.failed

    async def add_event(
        self,
        collection: str,
        properties: Mapping[str, Any],
        timestamp: Time | None = None,
        id: str | None = None,  # noqa: A002 - as Client.add_event
    ) -> None:
        """Send an event in the background, as `Client.add_event`. While the queue is full other tasks run."""
        event = make_event(collection, properties, timestamp, id)
        writer = there(self._writer)
        while True:
            try:
                return writer.add(event)
            except QueueFullError:
                if not self._wait_for_room:
                    raise
                await asyncio.sleep(ROOM_SECONDS)

    async def add_events(self, collection: str, events: Iterable[Mapping[str, Any]]) -> None:
        """Send events of one collection in the background, as `Client.add_events`."""
        for properties in events:
            await self.add_event(collection, properties)

    async def flush(self, timeout: float | None = None) -> None:
        """Wait until every event added so far is answered. Raises TimeoutError when that takes longer than `timeout` seconds."""
        if not isinstance(self._writer, ConnectError):
            await asyncio.to_thread(self._writer.flush, timeout)

    async def close(self, timeout: float | None = None) -> None:
        """Send what is queued, then let go of everything. Events unanswered after `timeout` seconds are reported as failed."""
        atexit.unregister(self._close_writer)
        await asyncio.to_thread(self._close_writer, timeout)
        if not isinstance(self._transport, ConnectError):
            await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(None if error is None else EXIT_SECONDS)

    def _answer(self, analysis: str, params: Mapping[str, Any]) -> Coroutine[Any, Any, Result]:
        return there(self._transport).run(analysis, params)

    def _close_writer(self, timeout: float | None) -> None:
        if not isinstance(self._writer, ConnectError):
            self._writer.close(timeout)
