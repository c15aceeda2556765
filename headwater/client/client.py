"""The client: what `headwater.connect()` returns."""

import atexit
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypedDict, TypeVar, Unpack

import orjson

from headwater.client.errors import ConnectError
from headwater.client.event import make_event
from headwater.client.http import Deleted, HttpTransport
from headwater.client.writer import Writer
from headwater.query import Result
from headwater.query.definition import METRICS

EXIT_SECONDS = 10.0  # how long the interpreter's exit waits for unsent events

GROUPED = frozenset((*METRICS, "multi_analysis"))  # the analyses that take what Grouping says

T = TypeVar("T")
Time = datetime | str
Timeframe = str | Mapping[Literal["start", "end"], Time]
Filter = Mapping[str, Any]
OrderBy = str | Mapping[str, str]


class Filtering(TypedDict, total=False):
    """What every query may have.

    timeframe: relative text such as `previous_7_days` or `this_month`, or `{"start": ..., "end": ...}` with datetimes or ISO
        8601 text, the end exclusive. Without it: all time.
    timezone: a name such as `America/New_York`, or seconds east of UTC; for relative timeframes and intervals.
    filters: `{"property_name": ..., "operator": ..., "property_value": ...}`, all of which must hold. Operators: eq, ne, lt,
        lte, gt, gte, exists, in, contains, not_contains, regex, within, and `{"operator": "or", "operands": [...]}`.
    """

    timeframe: Timeframe
    timezone: str | int
    filters: Sequence[Filter]


class Grouping(Filtering, total=False):
    """What every analysis may have, beside `Filtering`.

    interval: minutely, hourly, daily, weekly, monthly, yearly, or every_N_minutes (hours, days, weeks, months, years).
    group_by: a property's path, or several; for numbers `{"property_name": "price", "buckets": {"size": 10}}` or
        `{"property_name": "price", "ranges": [{"to": 10}, {"from": 10, "to": 50}, {"from": 50}]}`.
    order_by: `{"property_name": ..., "direction": "ASC" | "DESC"}`, or several; a group's property or `result`. Needs group_by.
    limit: how many groups to return. Needs order_by.
    zero_fill: whether an interval shows groups that have nothing in it. True where not given.
    """

    interval: str
    group_by: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]
    order_by: OrderBy | Sequence[OrderBy]
    limit: int
    zero_fill: bool


class Measure(TypedDict, total=False):
    """One figure of a multi_analysis: `{"analysis_type": "sum", "target_property": "price"}`; a percentile has `percentile`, too."""

    analysis_type: str
    target_property: str
    percentile: float


class Deed(Filtering, total=False):
    """What somebody did: events of a collection, chosen as in `Filtering`. `actor_property` is the property that says who."""

    event_collection: str
    actor_property: str


class Step(Deed, total=False):
    """One step of a funnel.

    inverted: counts those who did not do it. optional: later steps do not need it. with_actors: the answer lists who passed.
    """

    inverted: bool
    optional: bool
    with_actors: bool


class Transport(Protocol):
    """A way to ask: over HTTP, or of ClickHouse itself."""

    def run(self, analysis: str, params: Mapping[str, Any]) -> Result:
        """The answer of an analysis; `params` are Keen's. Blocks; raises QueryError."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class Client:
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
        _there(self._writer).add(make_event(collection, properties, timestamp, id))

    def add_events(self, collection: str, events: Iterable[Mapping[str, Any]]) -> None:
        """Send events of one collection in the background; each as `add_event` takes it, with time and id under `keen`.

        hw.add_events("purchases", [{"item": "pen", "keen": {"timestamp": "2026-01-31T12:00:00Z"}}, {"item": "book"}])
        """
        add = _there(self._writer).add
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

    # Asking

    def count(self, collection: str, **parameters: Unpack[Grouping]) -> Result:
        """How many events there are.

        >>> hw.count("purchases", timeframe="this_7_days").value
        1582
        >>> most = {"property_name": "result", "direction": "DESC"}
        >>> hw.count("purchases", group_by="item", order_by=most, limit=2).value
        [{'item': 'book', 'result': 911}, {'item': 'pen', 'result': 402}]
        """
        return self._ask("count", collection, parameters)

    def count_unique(self, collection: str, target_property: str, **parameters: Unpack[Grouping]) -> Result:
        """How many different values a property has.

        >>> hw.count_unique("purchases", target_property="user.id", timeframe="this_2_days", interval="daily").value
        [{'value': 310, 'timeframe': {'start': '2026-01-30T00:00:00.000Z', 'end': '2026-01-31T00:00:00.000Z'}},
         {'value': 287, 'timeframe': {'start': '2026-01-31T00:00:00.000Z', 'end': '2026-02-01T00:00:00.000Z'}}]
        """
        return self._ask("count_unique", collection, parameters, target_property=target_property)

    def sum(self, collection: str, target_property: str, **parameters: Unpack[Grouping]) -> Result:
        """The sum of a property's numbers; 0 where there are none.

        >>> hw.sum("purchases", target_property="price", group_by="item").value
        [{'item': 'book', 'result': 11387.5}, {'item': 'pen', 'result': 804}]
        """
        return self._ask("sum", collection, parameters, target_property=target_property)

    def average(self, collection: str, target_property: str, **parameters: Unpack[Grouping]) -> Result:
        """The mean of a property's numbers; None where there are none.

        >>> hw.average("purchases", target_property="price").value
        9.25
        """
        return self._ask("average", collection, parameters, target_property=target_property)

    def minimum(self, collection: str, target_property: str, **parameters: Unpack[Grouping]) -> Result:
        """The least of a property's numbers; None where there are none.

        >>> hw.minimum("purchases", target_property="price").value
        0.5
        """
        return self._ask("minimum", collection, parameters, target_property=target_property)

    def maximum(self, collection: str, target_property: str, **parameters: Unpack[Grouping]) -> Result:
        """The greatest of a property's numbers; None where there are none.

        >>> hw.maximum("purchases", target_property="price").value
        120
        """
        return self._ask("maximum", collection, parameters, target_property=target_property)

    def median(self, collection: str, target_property: str, **parameters: Unpack[Grouping]) -> Result:
        """The median of a property's numbers: of two in the middle the lower one; None where there are none.

        >>> hw.median("purchases", target_property="price").value
        7.5
        """
        return self._ask("median", collection, parameters, target_property=target_property)

    def percentile(
        self, collection: str, target_property: str, percentile: float, **parameters: Unpack[Grouping]
    ) -> Result:
        """The number that `percentile` percent of a property's numbers do not exceed, by nearest rank; None where there are none.

        >>> hw.percentile("requests", target_property="milliseconds", percentile=95).value
        184
        """
        return self._ask("percentile", collection, parameters, target_property=target_property, percentile=percentile)

    def standard_deviation(self, collection: str, target_property: str, **parameters: Unpack[Grouping]) -> Result:
        """The standard deviation of a property's numbers; None where there are none.

        >>> hw.standard_deviation("purchases", target_property="price").value
        4.03
        """
        return self._ask("standard_deviation", collection, parameters, target_property=target_property)

    def select_unique(self, collection: str, target_property: str, **parameters: Unpack[Grouping]) -> Result:
        """The different values of a property.

        >>> hw.select_unique("purchases", target_property="item").value
        ['book', 'pen']
        """
        return self._ask("select_unique", collection, parameters, target_property=target_property)

    def extraction(
        self,
        collection: str,
        *,
        latest: int | None = None,
        property_names: str | Sequence[str] | None = None,
        **parameters: Unpack[Filtering],
    ) -> Result:
        """Events themselves: the `latest` N, or all; whole, or the properties named.

        >>> hw.extraction("purchases", latest=1, property_names=["item", "keen.timestamp"]).value
        [{'item': 'pen', 'keen': {'timestamp': '2026-01-31T12:00:00.000Z'}}]
        """
        return self._ask("extraction", collection, parameters, latest=latest, property_names=property_names)

    def multi_analysis(
        self, collection: str, analyses: Mapping[str, Measure], **parameters: Unpack[Grouping]
    ) -> Result:
        """Several figures of the same events in one go, each under its label.

        >>> figures = {
        ...     "orders": {"analysis_type": "count"},
        ...     "revenue": {"analysis_type": "sum", "target_property": "price"},
        ... }
        >>> hw.multi_analysis("purchases", figures, timeframe="this_7_days").value
        {'orders': 1582, 'revenue': 12191.5}
        >>> hw.multi_analysis("purchases", figures, group_by="item").value
        [{'item': 'book', 'orders': 911, 'revenue': 11387.5}, {'item': 'pen', 'orders': 671, 'revenue': 804}]
        """
        return self._ask("multi_analysis", collection, parameters, analyses=analyses)

    def funnel(
        self,
        steps: Sequence[Step],
        *,
        ordered: bool | None = None,
        window: str | None = None,
        **parameters: Unpack[Filtering],
    ) -> Result:
        """How many actors go through steps: each count is of those who did this step and those before it.

        >>> visited = {"event_collection": "visits", "actor_property": "user.id"}
        >>> bought = {"event_collection": "purchases", "actor_property": "buyer"}
        >>> funnel = hw.funnel([visited, {**bought, "with_actors": True}], timeframe="this_7_days")
        >>> funnel.value["result"]
        [310, 2]
        >>> funnel.value["actors"]
        [None, ['ann', 'bob']]
        >>> hw.funnel([visited, bought], timeframe="this_7_days", window="1 hour").value["result"]
        [310, 1]

        `timeframe` and `timezone` hold for steps that have none of their own; `filters` for all steps. When things were done does not
        count, unless `ordered`: then each step must come after the one before it, within `window` of the first, such as "7 days".
        """
        return self._ask("funnel", None, parameters, steps=steps, ordered=ordered, window=window)

    def retention(
        self,
        first_event: Deed,
        returning_event: Deed | None = None,
        *,
        unit: Literal["hour", "day", "week", "month", "year"] = "day",
        units: int = 7,
        rolling: bool = False,
        **parameters: Unpack[Filtering],
    ) -> Result:
        """Who comes back: a row for each `unit` of the timeframe, of the actors who did `first_event` in it for the first time.

        >>> signed_up = {"event_collection": "sign ups", "actor_property": "user.id"}
        >>> bought = {"event_collection": "purchases", "actor_property": "user.id"}
        >>> hw.retention(signed_up, bought, unit="week", units=2, timeframe="previous_2_weeks").value
        [{'timeframe': {'start': '2026-01-11T00:00:00.000Z', 'end': '2026-01-18T00:00:00.000Z'},
          'actors': 80, 'returned': [40, 21, 17]},
         {'timeframe': {'start': '2026-01-18T00:00:00.000Z', 'end': '2026-01-25T00:00:00.000Z'},
          'actors': 95, 'returned': [52, 30, None]}]

        `returned[k]` counts those who did `returning_event` k units later (0: later in the same unit), also beyond the timeframe; with
        `rolling` those who did it then or in a later unit of the row. None: the unit has not begun. Without `returning_event` the first
        is asked for again. Needs a timeframe.
        """
        return self._ask(
            "retention",
            None,
            parameters,
            first_event=first_event,
            returning_event=returning_event,
            unit=unit,
            units=units,
            rolling=rolling,
        )

    def live(self) -> dict[str, Any]:
        """What the processors count as events pass: per collection totals, and minutes, hours and days that end now.

        >>> hw.live()["collections"]["purchases"]["events"]
        1582
        """
        figures: dict[str, Any] = _there(self._http).live()
        return figures

    # Looking around, and deleting: by the HTTP API, which ClickHouse itself cannot stand in for

    def collections(self) -> list[str]:
        """The collections that have events.

        >>> hw.collections()
        ['clicks', 'purchases']
        """
        return [collection["name"] for collection in _there(self._http).collections(schema=False)]

    def schema(self, collection: str) -> dict[str, str]:
        """The properties that events of a collection have had, with their types: string, num, bool, list, datetime, null.

        >>> hw.schema("purchases")
        {'keen.created_at': 'datetime', 'keen.id': 'string', 'keen.timestamp': 'datetime', 'item': 'string', 'price': 'num'}
        """
        properties: dict[str, str] = _there(self._http).collection(collection)["properties"]
        return properties

    def latest(self, collection: str) -> list[dict[str, Any]]:
        """The last 10 events of a collection, the newest first.

        >>> hw.latest("purchases")[0]["item"]
        'pen'
        """
        events: list[dict[str, Any]] = _there(self._http).latest(collection)
        return events

    def trend(self, collection: str | None = None) -> list[dict[str, Any]]:
        """How many events came on each of the last 30 days (UTC), of a collection, or of all; deleted ones count.

        >>> hw.trend("purchases")[-1]
        {'value': 52, 'timeframe': {'start': '2026-01-31T00:00:00.000Z', 'end': '2026-02-01T00:00:00.000Z'}}
        """
        days: list[dict[str, Any]] = _there(self._http).trend(collection)
        return days

    def delete_collection(self, collection: str) -> Deleted:
        """Delete all events of a collection that were received until now. Needs the master key, as all deletions.

        >>> hw.delete_collection("purchases").done
        True
        """
        return _there(self._master).delete(collection, {})

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
        return _there(self._master).delete(collection, plain)

    def delete_property(self, collection: str, property_name: str) -> Deleted:
        """Delete a property, and what is below it, from the events of a collection that were received until now.

        >>> hw.delete_property("purchases", "user.email").done
        True
        """
        return _there(self._master).delete(collection, {}, property_name)

    def query(self, analysis: str, collection: str | None = None, **parameters: Any) -> Result:
        """Any analysis by its name, with Keen's parameters as they are; the methods above are this, typed. Only funnels and
        retention name their collections otherwise.

        >>> hw.query("percentile", "requests", target_property="milliseconds", percentile=95).value
        184
        """
        given = {
            name: value for name, value in {"event_collection": collection, **parameters}.items() if value is not None
        }
        # Both ways of asking get the same: what JSON makes of it, datetimes as text with their zone.
        plain = orjson.loads(orjson.dumps(given, option=orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z))
        transport = _there(self._transport)
        if transport is self._http:
            return transport.run(analysis, plain)
        with self._turn:
            return transport.run(analysis, plain)

    def _ask(self, analysis: str, collection: str | None, parameters: Mapping[str, Any], **more: Any) -> Result:
        """Raises TypeError for a parameter that the analysis does not have: it would go unnoticed."""
        unknown = parameters.keys() - (Grouping if analysis in GROUPED else Filtering).__annotations__.keys()
        if unknown:
            raise TypeError(f"{analysis}() has no parameter {', '.join(sorted(unknown))}")
        return self.query(analysis, collection, **more, **parameters)


def _there(part: T | ConnectError) -> T:
    """What was found at connecting; raises what was missing only to those who need it."""
    if isinstance(part, ConnectError):
        raise part
    return part
