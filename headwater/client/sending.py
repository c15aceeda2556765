"""What both clients do with the events that they send."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from headwater.client.context import Context, merged
from headwater.client.errors import ConnectError
from headwater.client.event import Event, make_event
from headwater.client.questions import Time
from headwater.client.writer import Writer


class Sending:
    """The making of events, their counts, and their end. An error in the writer's place says why it is missing: nothing was sent."""

    def __init__(self, writer: Writer | ConnectError, context: Context | None) -> None:
        self._writer = writer
        self._context = context or Context()

    def context(self, properties: Mapping[str, Any]) -> AbstractContextManager[None]:
        """Properties that every event gets which is added inside a `with` block, by this thread or task.

            with hw.context({"request": {"id": request_id}, "user": {"id": user_id}}):
                hw.add_event("page_views", {"path": "/cart"})
                hw.add_event("carts", {"items": 3, "user": {"plan": "pro"}})  # user.id and user.plan

        They come on top of those of blocks around it and of `connect(context=...)`. What an event says itself stands; objects are
        merged. asyncio's tasks take over what is in force where they start, as does `asyncio.to_thread`; other new
        threads begin with those of `connect`. The values are copied. Raises ValueError where they have an id or a time under `keen`.
        """
        return self._context.scope(properties)

    @property
    def accepted(self) -> int:
        """Events that were answered with success so far."""
        return 0 if isinstance(self._writer, ConnectError) else self._writer.accepted

    @property
    def failed(self) -> int:
        """Events that were not accepted so far; each was reported to `on_error`, or logged where there is none."""
        return 0 if isinstance(self._writer, ConnectError) else self._writer.failed

    @property
    def pending(self) -> int:
        """Events that are added and not yet answered."""
        return 0 if isinstance(self._writer, ConnectError) else self._writer.pending

    def _event(
        self,
        collection: str,
        properties: Mapping[str, Any],
        timestamp: Time | None = None,
        client_id: str | None = None,
    ) -> tuple[Writer, Event]:
        """An event as it is now, with its context, and who takes it. Raises ConnectError, and ValueError as `make_event`."""
        writer = self._writer
        if isinstance(writer, ConnectError):
            raise writer
        context = self._context.current()
        return writer, make_event(
            collection, merged(context, properties) if context else properties, timestamp, client_id
        )

    def _flush(self, timeout: float | None) -> None:
        if not isinstance(self._writer, ConnectError):
            self._writer.flush(timeout)

    def _close_writer(self, timeout: float | None) -> None:
        if not isinstance(self._writer, ConnectError):
            self._writer.close(timeout)
