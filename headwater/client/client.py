"""The client: what `headwater.connect()` returns."""

import atexit
import threading
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self, Unpack

import orjson

from headwater.client.errors import ConnectError, there
from headwater.client.event import make_event
from headwater.client.http import Deleted, HttpTransport
from headwater.client.questions import Filtering, Questions, Time
from headwater.client.writer import Writer
from headwater.query import Result

EXIT_SECONDS = 10.0  # how long the interpreter's exit waits for unsent events


class Transport(Protocol):
    """A way to ask: over HTTP, or of ClickHouse itself."""

    def run(self, analysis: str, params: Mapping[str, Any]) -> Result:
        """The answer of an analysis; `params` are Keen's. Blocks; raises QueryError."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class Client(Questions[Result]):
    """Events in, answers out, for one project. Safe to use from several threads; close it, or use it in a `with`.

    Events are sent in the background: `add_event` returns at once, and what is not accepted goes to `on_error` and is
    counted in `failed`. Queries block and raise QueryError.
    """

    def __init__(
        self,
        writer: Writer | ConnectError,
        transport: Transport | ConnectError,
        http: HttpTransport | ConnectError,
        master: HttpTransport | ConnectError,
    ) -> None:
        """`transport` answers queries, `http` says what there is, `master` deletes; they may be one. An error in a part's
        place says why it is missing, and is raised by the calls that need it."""
        self._writer = writer
        self._transport = transport
        self._http = http
        self._master = master
        self._turn = threading.Lock()  # ClickHouse is asked one query at a time
        atexit.register(self.close, EXIT_SECONDS)

    # Writing

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

    def add_event(
        self,
        collection: str,
        properties: Mapping[str, Any],
        timestamp: Time | None = None,
        id: str | None = None,  # noqa: A002 - the field's name, as keen.id
    ) -> None:
        """Send an event in the background.

            hw.add_event("purchases", {"item": "book", "price": 12.5}, id="order-1001")

        `timestamp` says when it happened (a datetime without a zone is UTC): now, where not given. An event with the same
        `id` and `timestamp` is the same event, however often it is sent; without `id` each call is a new event. Both may
        stand in `properties["keen"]` instead, as `timestamp` and `uniqueness_token`, and so may `addons`.

        Blocks while the queue is full, or raises QueueFullError where `connect` was told so. Raises ValueError for what has
        no form in JSON, and for a collection's name against the rules.
        """
        there(self._writer).add(make_event(collection, properties, timestamp, id))

    def add_events(self, collection: str, events: Iterable[Mapping[str, Any]]) -> None:
        """Send events of one collection in the background; each as `add_event` takes it, with time and id under `keen`.

        hw.add_events("purchases", [{"item": "pen", "keen": {"timestamp": "2026-01-31T12:00:00Z"}}, {"item": "book"}])
        """
        add = there(self._writer).add
        for properties in events:
            add(make_event(collection, properties))

    def flush(self, timeout: float | None = None) -> None:
        """Block until every event added so far is answered. Raises TimeoutError when that takes longer than `timeout` seconds."""
        if not isinstance(self._writer, ConnectError):
            self._writer.flush(timeout)

    def close(self, timeout: float | None = None) -> None:
        """Send what is queued, then let go of everything. Events unanswered after `timeout` seconds are reported as failed.

        At the interpreter's exit this happens by itself, with 10 seconds.
        """
        atexit.unregister(self.close)
        if not isinstance(self._writer, ConnectError):
            self._writer.close(timeout)
        for transport in (self._transport, self._http, self._master):
            if not isinstance(transport, ConnectError):
                transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(None if error is None else EXIT_SECONDS)

    # Asking; the analyses are in Questions

    def live(self) -> dict[str, Any]:
        """What the processors count as events pass: per collection totals, and minutes, hours and days that end now.

        >>> hw.live()["collections"]["purchases"]["events"]
        1582
        """
        figures: dict[str, Any] = there(self._http).live()
        return figures

    # Looking around, and deleting: by the HTTP API, which ClickHouse itself cannot stand in for

    def collections(self) -> list[str]:
        """The collections that have events.

        >>> hw.collections()
        ['clicks', 'purchases']
        """
        return [collection["name"] for collection in there(self._http).collections(schema=False)]

    def schema(self, collection: str) -> dict[str, str]:
        """The properties that events of a collection have had, with their types: string, num, bool, list, datetime, null.

        >>> hw.schema("purchases")
        {'keen.created_at': 'datetime', 'keen.id': 'string', 'keen.timestamp': 'datetime', 'item': 'string', 'price': 'num'}
        """
        properties: dict[str, str] = there(self._http).collection(collection)["properties"]
        return properties

    def latest(self, collection: str) -> list[dict[str, Any]]:
        """The last 10 events of a collection, the newest first.

        >>> hw.latest("purchases")[0]["item"]
        'pen'
        """
        events: list[dict[str, Any]] = there(self._http).latest(collection)
        return events

    def trend(self, collection: str | None = None) -> list[dict[str, Any]]:
        """How many events came on each of the last 30 days (UTC), of a collection, or of all; deleted ones count.

        >>> hw.trend("purchases")[-1]
        {'value': 52, 'timeframe': {'start': '2026-01-31T00:00:00.000Z', 'end': '2026-02-01T00:00:00.000Z'}}
        """
        days: list[dict[str, Any]] = there(self._http).trend(collection)
        return days

    def delete_collection(self, collection: str) -> Deleted:
        """Delete all events of a collection that were received until now. Needs the master key, as all deletions.

        >>> hw.delete_collection("purchases").done
        True
        """
        return there(self._master).delete(collection, {})

    def delete_events(self, collection: str, **parameters: Unpack[Filtering]) -> Deleted:
        """Delete the events that a query with these filters and this timeframe would show. Raises ValueError without both.

        >>> of_user = {"property_name": "user.id", "operator": "eq", "property_value": 7}
        >>> hw.delete_events("purchases", filters=[of_user]).copies_in_kafka["headwater.raw"]
        datetime.datetime(2026, 2, 7, 12, 0, tzinfo=datetime.timezone.utc)
        """
        unknown = parameters.keys() - Filtering.__annotations__.keys()
        if unknown:
            raise TypeError(f"delete_events() has no parameter {', '.join(sorted(unknown))}")
        if not parameters.get("filters") and not parameters.get("timeframe"):
            raise ValueError("delete_events() needs filters or a timeframe; all events go by delete_collection()")
        plain = orjson.loads(orjson.dumps(parameters, option=orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z))
        return there(self._master).delete(collection, plain)

    def delete_property(self, collection: str, property_name: str) -> Deleted:
        """Delete a property, and what is below it, from the events of a collection that were received until now.

        >>> hw.delete_property("purchases", "user.email").done
        True
        """
        return there(self._master).delete(collection, {}, property_name)

    def _answer(self, analysis: str, params: Mapping[str, Any]) -> Result:
        transport = there(self._transport)
        if transport is self._http:
            return transport.run(analysis, params)
        with self._turn:
            return transport.run(analysis, params)
