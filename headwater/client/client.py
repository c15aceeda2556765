"""The client: what `headwater.connect()` returns."""

import atexit
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, Unpack

from headwater.client import calls
from headwater.client.context import Context
from headwater.client.ending import EXIT_SECONDS
from headwater.client.errors import ConnectError, there
from headwater.client.http import Call, Deleted, HttpTransport
from headwater.client.questions import Filtering, Questions, Time, Timeframe
from headwater.client.sending import Sending
from headwater.client.writer import Writer
from headwater.query import Result

T = TypeVar("T")

WRITTEN_SECONDS = 0.2  # how often an extraction is looked at that is being written


class Transport(Protocol):
    """A way to ask: over HTTP, or of ClickHouse itself."""

    def run(self, analysis: str, params: Mapping[str, Any]) -> Result:
        """The answer of an analysis; `params` are Keen's. Blocks; raises QueryError."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class Client(Sending, Questions[Result]):
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
        *,
        context: Context | None = None,
    ) -> None:
        """`transport` answers queries, `http` says what there is, `master` does what needs the master key; they may be one. An
        error in a part's place says why it is missing, and is raised by the calls that need it. `context` is what every event gets."""
        super().__init__(writer, context)
        self._transport = transport
        self._http = http
        self._master = master
        self._turn = threading.Lock()  # ClickHouse is asked one query at a time
        atexit.register(self.close, EXIT_SECONDS)

    # Writing

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
        writer, event = self._event(collection, properties, timestamp, id)
        writer.add(event)

    def add_events(self, collection: str, events: Iterable[Mapping[str, Any]]) -> None:
        """Send events of one collection in the background; each as `add_event` takes it, with time and id under `keen`.

        hw.add_events("purchases", [{"item": "pen", "keen": {"timestamp": "2026-01-31T12:00:00Z"}}, {"item": "book"}])
        """
        for properties in events:
            self.add_event(collection, properties)

    def flush(self, timeout: float | None = None) -> None:
        """Block until every event added so far is answered. Raises TimeoutError when that takes longer than `timeout` seconds."""
        self._flush(timeout)

    def close(self, timeout: float | None = None) -> None:
        """Send what is queued, then let go of everything. Events unanswered after `timeout` seconds are reported as failed,
        or stay in the spool.

        At the interpreter's exit this happens by itself, with 10 seconds.
        """
        atexit.unregister(self.close)
        self._close_writer(timeout)
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
        return self._do(calls.live())

    def extract_to_file(
        self,
        collection: str,
        *,
        content_type: str = "application/json",
        latest: int | None = None,
        property_names: str | Sequence[str] | None = None,
        **parameters: Unpack[Filtering],
    ) -> dict[str, Any]:
        """Have the events of an extraction written into a gzip file by the API, in the background: up to 10 million of them.

        >>> about = hw.extract_to_file("purchases", content_type="text/csv", timeframe="this_90_days")
        >>> hw.save_extraction(about["id"], "purchases.csv.gz")
        PosixPath('purchases.csv.gz')

        `content_type`: application/json, text/csv or application/x-ndjson.
        """
        return self._do(calls.extract_to_file(collection, content_type, latest, property_names, parameters))

    def extractions(self) -> list[dict[str, Any]]:
        """The extractions into files that this key asked for, with the master key all; the newest first.

        >>> hw.extractions()[0]["status"]
        'done'
        """
        return self._do(calls.extractions())

    def save_extraction(self, extraction_id: str, path: str | Path, timeout: float | None = None) -> Path:
        """Wait until an extraction is written, and put its file where `path` says. Raises TimeoutError when that takes longer than
        `timeout` seconds, QueryError where it could not be written.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._do(calls.is_written(extraction_id)):
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"extraction {extraction_id} is not written after {timeout:g} seconds")
            time.sleep(WRITTEN_SECONDS)
        there(self._http).save(calls.file_path(extraction_id), Path(path))
        return Path(path)

    # Looking around, deleting, keeping: by the HTTP API, which ClickHouse itself cannot stand in for

    def collections(self) -> list[str]:
        """The collections that have events.

        >>> hw.collections()
        ['clicks', 'purchases']
        """
        return self._do(calls.collections())

    def schema(self, collection: str) -> dict[str, str]:
        """The properties that events of a collection have had, with their types: string, num, bool, list, datetime, null.

        >>> hw.schema("purchases")
        {'keen.created_at': 'datetime', 'keen.id': 'string', 'keen.timestamp': 'datetime', 'item': 'string', 'price': 'num'}
        """
        return self._do(calls.schema(collection))

    def latest(self, collection: str) -> list[dict[str, Any]]:
        """The last 10 events of a collection, the newest first.

        >>> hw.latest("purchases")[0]["item"]
        'pen'
        """
        return self._do(calls.latest(collection))

    def trend(self, collection: str | None = None) -> list[dict[str, Any]]:
        """How many events came on each of the last 30 days (UTC), of a collection, or of all; deleted ones count.

        >>> hw.trend("purchases")[-1]
        {'value': 52, 'timeframe': {'start': '2026-01-31T00:00:00.000Z', 'end': '2026-02-01T00:00:00.000Z'}}
        """
        return self._do(calls.trend(collection))

    def delete_collection(self, collection: str) -> Deleted:
        """Delete all events of a collection that were received until now. Needs the master key, as all deletions.

        >>> hw.delete_collection("purchases").done
        True
        """
        return self._do(calls.delete(collection))

    def delete_events(self, collection: str, **parameters: Unpack[Filtering]) -> Deleted:
        """Delete the events that a query with these filters and this timeframe would show. Raises ValueError without both.

        >>> of_user = {"property_name": "user.id", "operator": "eq", "property_value": 7}
        >>> hw.delete_events("purchases", filters=[of_user]).copies_in_kafka["headwater.raw"]
        datetime.datetime(2026, 2, 7, 12, 0, tzinfo=datetime.timezone.utc)
        """
        return self._do(calls.delete_events(collection, parameters))

    def delete_property(self, collection: str, property_name: str) -> Deleted:
        """Delete a property, and what is below it, from the events of a collection that were received until now.

        >>> hw.delete_property("purchases", "user.email").done
        True
        """
        return self._do(calls.delete(collection, property_name))

    def deletions(self) -> list[dict[str, Any]]:
        """All deletions of the project, the oldest first; without what they looked for. Needs the master key.

        >>> hw.deletions()[-1]["what"], hw.deletions()[-1]["done_at"]
        ('events', '2026-01-31T12:00:01.250Z')
        """
        return self._do(calls.deletions())

    def saved_queries(self) -> list[dict[str, Any]]:
        """The definitions of all saved queries, by name. Needs the master key, as all but their results.

        >>> [saved["query_name"] for saved in hw.saved_queries()]
        ['daily-orders']
        """
        return self._do(calls.saved_queries())

    def saved_query(self, name: str) -> dict[str, Any]:
        """The definition of a saved query.

        >>> hw.saved_query("daily-orders")["refresh_rate"]
        14400
        """
        return self._do(calls.saved_query(name))

    def save_query(
        self,
        name: str,
        query: Mapping[str, Any],
        *,
        refresh_rate: int = 0,
        metadata: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Create a saved query, or replace it as a whole; its definition.

        >>> orders = {"analysis_type": "count", "event_collection": "purchases", "timeframe": "this_7_days"}
        >>> hw.save_query("daily-orders", {**orders, "interval": "daily"}, refresh_rate=14400)["query_name"]
        'daily-orders'

        `refresh_rate`: how often its result is made anew, in seconds; 0: whenever it is asked for. `metadata` is the caller's own.
        """
        return self._do(calls.save_query(name, query, refresh_rate, metadata))

    def saved_result(self, name: str) -> Result:
        """The result of a saved query: the last one where it has a refresh rate. The read key is enough.

        >>> hw.saved_result("daily-orders").to_pandas()["result"].sum()
        1582
        """
        return self._do(calls.saved_result(name))

    def delete_saved_query(self, name: str) -> None:
        """Delete a saved query with its results. Raises QueryError where there is none."""
        return self._do(calls.delete_saved_query(name))

    def datasets(self) -> list[dict[str, Any]]:
        """The definitions of all datasets, by name, and how far they are.

        >>> [(one["dataset_name"], one["status"]) for one in hw.datasets()]
        [('revenue-by-shop', 'OK')]
        """
        return self._do(calls.datasets())

    def dataset(self, name: str) -> dict[str, Any]:
        """The definition of a dataset, and how far it is.

        >>> hw.dataset("revenue-by-shop")["index_by"]
        ['shop']
        """
        return self._do(calls.dataset(name))

    def create_dataset(
        self, name: str, query: Mapping[str, Any], index_by: str | Sequence[str], *, display_name: str | None = None
    ) -> dict[str, Any]:
        """Create a dataset: a question with an interval, answered ahead for every value of one to three properties. Needs the
        master key. There is no changing one: delete it first.

        >>> revenue = {"analysis_type": "sum", "event_collection": "purchases", "target_property": "price"}
        >>> kept = {"timeframe": "this_90_days", "interval": "daily"}
        >>> hw.create_dataset("revenue-by-shop", {**revenue, **kept}, index_by="shop")["status"]
        'Created'
        """
        return self._do(calls.create_dataset(name, query, index_by, display_name))

    def dataset_result(self, name: str, index_by: Any, timeframe: Timeframe) -> Result:
        """What a dataset has for a value of its index, or a list of the values or an object of them where it has several.

        >>> hw.dataset_result("revenue-by-shop", "north", "this_7_days").to_pandas()["result"].sum()
        804.0
        """
        return self._do(calls.dataset_result(name, index_by, timeframe))

    def delete_dataset(self, name: str) -> None:
        """Delete a dataset with its results. Needs the master key. Raises QueryError where there is none."""
        return self._do(calls.delete_dataset(name))

    def access_keys(self, name: str | None = None) -> list[dict[str, Any]]:
        """The project's access keys, or those of a name. Needs the master key, as all that has to do with keys.

        >>> [key["name"] for key in hw.access_keys()]
        ['dashboard of account 4']
        """
        return self._do(calls.access_keys(name))

    def access_key(self, key: str) -> dict[str, Any]:
        """An access key: `key`, `name`, `is_active`, `permitted`, `options`."""
        return self._do(calls.access_key(key))

    def create_access_key(
        self, name: str, permitted: Sequence[str], *, options: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Create a key that permits some operations: writes, queries, saved_queries, cached_queries, datasets, schema.

        >>> of_account = [{"property_name": "account.id", "operator": "eq", "property_value": 4}]
        >>> key = hw.create_access_key("dashboard of account 4", ["queries"], options={"queries": {"filters": of_account}})
        >>> headwater.connect(read_key=key["key"]).count("purchases").value
        12
        """
        return self._do(calls.create_access_key(name, permitted, options))

    def replace_access_key(
        self,
        key: str,
        name: str,
        permitted: Sequence[str],
        *,
        options: Mapping[str, Any] | None = None,
        active: bool = True,
    ) -> dict[str, Any]:
        """Give an access key another name, other permissions and other options, all of them."""
        return self._do(calls.replace_access_key(key, name, permitted, options, active))

    def revoke_access_key(self, key: str) -> dict[str, Any]:
        """Make an access key invalid, until it is unrevoked.

        >>> hw.revoke_access_key(key["key"])["is_active"]
        False
        """
        return self._do(calls.revoke_access_key(key))

    def unrevoke_access_key(self, key: str) -> dict[str, Any]:
        """Make a revoked access key valid again."""
        return self._do(calls.unrevoke_access_key(key))

    def delete_access_key(self, key: str) -> None:
        """Delete an access key; it never becomes valid again."""
        return self._do(calls.delete_access_key(key))

    def _do(self, call: Call[T]) -> T:
        return there(self._master if call.master else self._http).do(call)

    def _answer(self, analysis: str, params: Mapping[str, Any]) -> Result:
        transport = there(self._transport)
        if transport is self._http:
            return transport.run(analysis, params)
        with self._turn:
            return transport.run(analysis, params)
