"""The client that does not block: what `headwater.connect_async()` returns."""

import asyncio
import atexit
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from headwater.client import calls
from headwater.client.client import WRITTEN_SECONDS
from headwater.client.context import Context
from headwater.client.ending import EXIT_SECONDS
from headwater.client.errors import ConnectError, QueueFullError, there
from headwater.client.http import AsyncHttpTransport, Call, Deleted
from headwater.client.questions import Filtering, Questions, Time, Timeframe
from headwater.client.sending import Sending
from headwater.client.writer import Writer
from headwater.query import Result

T = TypeVar("T")

ROOM_SECONDS = 0.05  # how often a full queue is looked at again


class AsyncClient(Sending, Questions[Coroutine[Any, Any, Result]]):
    """Events in, answers out, for one project, without blocking the event loop. Close it, or use it in an `async with`.

        async with headwater.connect_async() as hw:
            await hw.add_event("purchases", {"item": "book", "price": 12.5})
            orders, revenue = await asyncio.gather(hw.count("purchases"), hw.sum("purchases", target_property="price"))

    All methods are those of `connect()`'s client, awaited: `(await hw.count("purchases")).value`. A task that is cancelled ends
    its query. Events are sent in the background, by threads. For one event loop.
    """

    def __init__(
        self,
        writer: Writer | ConnectError,
        transport: AsyncHttpTransport | ConnectError,
        master: AsyncHttpTransport | ConnectError,
        *,
        wait_for_room: bool,
        context: Context | None = None,
    ) -> None:
        """`writer` raises QueueFullError when it is full: this waits then, or lets it through. `master` does what needs the master
        key. An error in a part's place says why it is missing, and is raised by the calls that need it. `context` is what every event gets."""
        super().__init__(writer, context)
        self._transport = transport
        self._master = master
        self._wait_for_room = wait_for_room
        atexit.register(self._close_writer, EXIT_SECONDS)

    async def add_event(
        self,
        collection: str,
        properties: Mapping[str, Any],
        timestamp: Time | None = None,
        id: str | None = None,  # noqa: A002 - as Client.add_event
    ) -> None:
        """Send an event in the background, as `Client.add_event`. While the queue is full other tasks run."""
        writer, event = self._event(collection, properties, timestamp, id)
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
        await asyncio.to_thread(self._flush, timeout)

    async def close(self, timeout: float | None = None) -> None:
        """Send what is queued, then let go of everything. Events unanswered after `timeout` seconds are reported as failed,
        or stay in the spool."""
        atexit.unregister(self._close_writer)
        await asyncio.to_thread(self._close_writer, timeout)
        for transport in (self._transport, self._master):
            if not isinstance(transport, ConnectError):
                await transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(None if error is None else EXIT_SECONDS)

    def _answer(self, analysis: str, params: Mapping[str, Any]) -> Coroutine[Any, Any, Result]:
        return there(self._transport).run(analysis, params)

    async def live(self) -> dict[str, Any]:
        """As `Client.live`."""
        return await self._do(calls.live())

    async def extract_to_file(
        self,
        collection: str,
        *,
        content_type: str = "application/json",
        latest: int | None = None,
        property_names: str | Sequence[str] | None = None,
        **parameters: Unpack[Filtering],
    ) -> dict[str, Any]:
        """As `Client.extract_to_file`."""
        return await self._do(calls.extract_to_file(collection, content_type, latest, property_names, parameters))

    async def extractions(self) -> list[dict[str, Any]]:
        """As `Client.extractions`."""
        return await self._do(calls.extractions())

    async def save_extraction(self, extraction_id: str, path: str | Path, timeout: float | None = None) -> Path:
        """As `Client.save_extraction`."""
        async with asyncio.timeout(timeout):
            while not await self._do(calls.is_written(extraction_id)):
                await asyncio.sleep(WRITTEN_SECONDS)
        await there(self._transport).save(calls.file_path(extraction_id), Path(path))
        return Path(path)

    async def collections(self) -> list[str]:
        """As `Client.collections`."""
        return await self._do(calls.collections())

    async def schema(self, collection: str) -> dict[str, str]:
        """As `Client.schema`."""
        return await self._do(calls.schema(collection))

    async def latest(self, collection: str) -> list[dict[str, Any]]:
        """As `Client.latest`."""
        return await self._do(calls.latest(collection))

    async def trend(self, collection: str | None = None) -> list[dict[str, Any]]:
        """As `Client.trend`."""
        return await self._do(calls.trend(collection))

    async def delete_collection(self, collection: str) -> Deleted:
        """As `Client.delete_collection`."""
        return await self._do(calls.delete(collection))

    async def delete_events(self, collection: str, **parameters: Unpack[Filtering]) -> Deleted:
        """As `Client.delete_events`."""
        return await self._do(calls.delete_events(collection, parameters))

    async def delete_property(self, collection: str, property_name: str) -> Deleted:
        """As `Client.delete_property`."""
        return await self._do(calls.delete(collection, property_name))

    async def deletions(self) -> list[dict[str, Any]]:
        """As `Client.deletions`."""
        return await self._do(calls.deletions())

    async def saved_queries(self) -> list[dict[str, Any]]:
        """As `Client.saved_queries`."""
        return await self._do(calls.saved_queries())

    async def saved_query(self, name: str) -> dict[str, Any]:
        """As `Client.saved_query`."""
        return await self._do(calls.saved_query(name))

    async def save_query(
        self,
        name: str,
        query: Mapping[str, Any],
        *,
        refresh_rate: int = 0,
        metadata: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """As `Client.save_query`."""
        return await self._do(calls.save_query(name, query, refresh_rate, metadata))

    async def saved_result(self, name: str) -> Result:
        """As `Client.saved_result`."""
        return await self._do(calls.saved_result(name))

    async def delete_saved_query(self, name: str) -> None:
        """As `Client.delete_saved_query`."""
        return await self._do(calls.delete_saved_query(name))

    async def datasets(self) -> list[dict[str, Any]]:
        """As `Client.datasets`."""
        return await self._do(calls.datasets())

    async def dataset(self, name: str) -> dict[str, Any]:
        """As `Client.dataset`."""
        return await self._do(calls.dataset(name))

    async def create_dataset(
        self, name: str, query: Mapping[str, Any], index_by: str | Sequence[str], *, display_name: str | None = None
    ) -> dict[str, Any]:
        """As `Client.create_dataset`."""
        return await self._do(calls.create_dataset(name, query, index_by, display_name))

    async def dataset_result(self, name: str, index_by: Any, timeframe: Timeframe) -> Result:
        """As `Client.dataset_result`."""
        return await self._do(calls.dataset_result(name, index_by, timeframe))

    async def delete_dataset(self, name: str) -> None:
        """As `Client.delete_dataset`."""
        return await self._do(calls.delete_dataset(name))

    async def access_keys(self, name: str | None = None) -> list[dict[str, Any]]:
        """As `Client.access_keys`."""
        return await self._do(calls.access_keys(name))

    async def access_key(self, key: str) -> dict[str, Any]:
        """As `Client.access_key`."""
        return await self._do(calls.access_key(key))

    async def create_access_key(
        self, name: str, permitted: Sequence[str], *, options: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """As `Client.create_access_key`."""
        return await self._do(calls.create_access_key(name, permitted, options))

    async def replace_access_key(
        self,
        key: str,
        name: str,
        permitted: Sequence[str],
        *,
        options: Mapping[str, Any] | None = None,
        active: bool = True,
    ) -> dict[str, Any]:
        """As `Client.replace_access_key`."""
        return await self._do(calls.replace_access_key(key, name, permitted, options, active))

    async def revoke_access_key(self, key: str) -> dict[str, Any]:
        """As `Client.revoke_access_key`."""
        return await self._do(calls.revoke_access_key(key))

    async def unrevoke_access_key(self, key: str) -> dict[str, Any]:
        """As `Client.unrevoke_access_key`."""
        return await self._do(calls.unrevoke_access_key(key))

    async def delete_access_key(self, key: str) -> None:
        """As `Client.delete_access_key`."""
        return await self._do(calls.delete_access_key(key))

    async def _do(self, call: Call[T]) -> T:
        return await there(self._master if call.master else self._transport).do(call)
