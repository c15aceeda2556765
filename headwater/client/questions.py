"""The questions that a client asks: the methods' definitions, one source for the client that blocks and the one that does not."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, Literal, TypedDict, TypeVar, Unpack

import orjson

from headwater.query.definition import METRICS

GROUPED = frozenset((*METRICS, "multi_analysis"))  # the analyses that take what Grouping says

A = TypeVar("A")
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


class Questions(ABC, Generic[A]):
    """Every analysis as a method. `A` is what a method returns: a Result, or what is awaited for one."""

    @abstractmethod
    def _answer(self, analysis: str, params: Mapping[str, Any]) -> A:
        """The answer of an analysis; `params` are Keen's, plain JSON."""

    def count(self, collection: str, **parameters: Unpack[Grouping]) -> A:
        """How many events there are.

        >>> hw.count("purchases", timeframe="this_7_days").value
        1582
        >>> most = {"property_name": "result", "direction": "DESC"}
        >>> hw.count("purchases", group_by="item", order_by=most, limit=2).value
        [{'item': 'book', 'result': 911}, {'item': 'pen', 'result': 402}]
        """
        return self._ask("count", collection, parameters)

    def count_unique(self, collection: str, target_property: str, **parameters: Unpack[Grouping]) -> A:
        """How many different values a property has.

        >>> hw.count_unique("purchases", target_property="user.id", timeframe="this_2_days", interval="daily").value
        [{'value': 310, 'timeframe': {'start': '2026-01-30T00:00:00.000Z', 'end': '2026-01-31T00:00:00.000Z'}},
         {'value': 287, 'timeframe': {'start': '2026-01-31T00:00:00.000Z', 'end': '2026-02-01T00:00:00.000Z'}}]
        """
        return self._ask("count_unique", collection, parameters, target_property=target_property)

    def sum(self, collection: str, target_property: str, **parameters: Unpack[Grouping]) -> A:
        """The sum of a property's numbers; 0 where there are none.

        >>> hw.sum("purchases", target_property="price", group_by="item").value
        [{'item': 'book', 'result': 11387.5}, {'item': 'pen', 'result': 804}]
        """
        return self._ask("sum", collection, parameters, target_property=target_property)

    def average(self, collection: str, target_property: str, **parameters: Unpack[Grouping]) -> A:
        """The mean of a property's numbers; None where there are none.

        >>> hw.average("purchases", target_property="price").value
        9.25
        """
        return self._ask("average", collection, parameters, target_property=target_property)

    def minimum(self, collection: str, target_property: str, **parameters: Unpack[Grouping]) -> A:
        """The least of a property's numbers; None where there are none.

        >>> hw.minimum("purchases", target_property="price").value
        0.5
        """
        return self._ask("minimum", collection, parameters, target_property=target_property)

    def maximum(self, collection: str, target_property: str, **parameters: Unpack[Grouping]) -> A:
        """The greatest of a property's numbers; None where there are none.

        >>> hw.maximum("purchases", target_property="price").value
        120
        """
        return self._ask("maximum", collection, parameters, target_property=target_property)

    def median(self, collection: str, target_property: str, **parameters: Unpack[Grouping]) -> A:
        """The median of a property's numbers: of two in the middle the lower one; None where there are none.

        >>> hw.median("purchases", target_property="price").value
        7.5
        """
        return self._ask("median", collection, parameters, target_property=target_property)

    def percentile(self, collection: str, target_property: str, percentile: float, **parameters: Unpack[Grouping]) -> A:
        """The number that `percentile` percent of a property's numbers do not exceed, by nearest rank; None where there are none.

        >>> hw.percentile("requests", target_property="milliseconds", percentile=95).value
        184
        """
        return self._ask("percentile", collection, parameters, target_property=target_property, percentile=percentile)

    def standard_deviation(self, collection: str, target_property: str, **parameters: Unpack[Grouping]) -> A:
        """The standard deviation of a property's numbers; None where there are none.

        >>> hw.standard_deviation("purchases", target_property="price").value
        4.03
        """
        return self._ask("standard_deviation", collection, parameters, target_property=target_property)

    def select_unique(self, collection: str, target_property: str, **parameters: Unpack[Grouping]) -> A:
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
    ) -> A:
        """Events themselves: the `latest` N, or all; whole, or the properties named.

        >>> hw.extraction("purchases", latest=1, property_names=["item", "keen.timestamp"]).value
        [{'item': 'pen', 'keen': {'timestamp': '2026-01-31T12:00:00.000Z'}}]
        """
        return self._ask("extraction", collection, parameters, latest=latest, property_names=property_names)

    def multi_analysis(self, collection: str, analyses: Mapping[str, Measure], **parameters: Unpack[Grouping]) -> A:
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
    ) -> A:
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
    ) -> A:
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

    def query(self, analysis: str, collection: str | None = None, **parameters: Any) -> A:
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
        return self._answer(analysis, plain)

    def _ask(self, analysis: str, collection: str | None, parameters: Mapping[str, Any], **more: Any) -> A:
        """Raises TypeError for a parameter that the analysis does not have: it would go unnoticed."""
        unknown = parameters.keys() - (Grouping if analysis in GROUPED else Filtering).__annotations__.keys()
        if unknown:
            raise TypeError(f"{analysis}() has no parameter {', '.join(sorted(unknown))}")
        return self.query(analysis, collection, **more, **parameters)
