"""A query as asked: the parameters of every arrival form, checked, as one frozen value."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, TypeAlias

from headwater.query.arguments import boolean, collection_name, is_text, positive, present, structure, wrong
from headwater.query.errors import QueryError, shown
from headwater.query.extraction import JSON, parse_content_encoding, parse_content_type
from headwater.query.filters import Filter, filtered_paths, parse_filters
from headwater.query.funnel import Funnel, parse_funnel
from headwater.query.grouping import RESULT, GroupBy, parse_group_by, parse_paths
from headwater.query.intervals import Interval, parse_interval
from headwater.query.paths import Path, parse_path
from headwater.query.retention import Retention, parse_retention
from headwater.query.timeframe import Timeframe, parse_timeframe
from headwater.query.zones import parse_timezone

METRICS = (
    "count", "count_unique", "sum", "average", "minimum", "maximum", "median", "percentile",
    "standard_deviation", "select_unique",
)  # fmt: skip
ANALYSES = (*METRICS, "multi_analysis", "funnel", "retention", "extraction")
MAX_MEASURES = 100


@dataclass(frozen=True)
class Order:
    """One criterion of an order: a group property's name, or a result's."""

    name: str
    descending: bool


@dataclass(frozen=True)
class Measure:
    """One figure: an analysis of a property. `label` is what answers call it: `result`, but in a multi_analysis."""

    label: str
    analysis: str
    target: Path | None = None
    percentile: float | None = None


@dataclass(frozen=True)
class Definition:
    """A query without anything left to parse. Fields that an analysis does not take are None or empty.

    Of an extraction: its form, whether packed, and whether it goes to a file that is fetched later.
    """

    analysis: str
    collection: str
    timeframe: Timeframe | None
    zone: tzinfo
    interval: Interval | None = None
    measures: tuple[Measure, ...] = ()
    filters: tuple[Filter, ...] = ()
    group_by: tuple[GroupBy, ...] = ()
    order_by: tuple[Order, ...] = ()
    limit: int | None = None
    zero_fill: bool = True
    latest: int | None = None
    property_names: tuple[Path, ...] = ()
    content_type: str = JSON
    gzip: bool = False
    to_file: bool = False

    @property
    def target(self) -> Path | None:
        """The property that the analysis is of; None where there is none, or several."""
        return self.measures[0].target if len(self.measures) == 1 else None

    @property
    def labels(self) -> list[str]:
        """What the figures of a group are called in the answer."""
        return [measure.label for measure in self.measures]


Query: TypeAlias = Definition | Funnel | Retention


def parse_definition(analysis: str, params: Mapping[str, Any], now: int) -> Query:
    """The definition of an analysis from its parameters, seen at the instant `now` (milliseconds since 1970 UTC).

    Structures may come as JSON text and numbers as strings, as they do in URLs. null and "" mean absent; parameters that
    the analysis does not know are ignored. Raises QueryError.
    """
    if analysis not in ANALYSES:
        raise QueryError(
            "ResourceNotFoundError", f"There is no analysis {shown(analysis)}; there are {', '.join(ANALYSES)}.", 404
        )
    if analysis == "funnel":
        return parse_funnel(params, now)
    if analysis == "retention":
        return parse_retention(params, now)
    given = present(params)
    zone = parse_timezone(given.get("timezone"))
    timeframe = parse_timeframe(given["timeframe"], zone, now) if "timeframe" in given else None
    collection = collection_name(given)
    filters = parse_filters(given["filters"]) if "filters" in given else ()
    if analysis == "extraction":
        return _extraction(given, collection, timeframe, zone, filters)
    interval = parse_interval(given["interval"]) if "interval" in given else None
    if interval and timeframe is None:
        raise QueryError(
            "TimeframeDefinitionError",
            "You sent in an invalid definition for the timeframe: it is missing, and an interval needs one.",
        )
    group_by = parse_group_by(given.get("group_by"))
    measures = _measures(given, group_by) if analysis == "multi_analysis" else (_measure(RESULT, analysis, given),)
    order_by = _order_by(given.get("order_by"), measures, group_by)
    limit = positive(given["limit"], "limit") if "limit" in given else None
    if limit and not order_by:
        raise wrong("limit", "it needs group_by and order_by: without an order there are no first groups")
    return Definition(
        analysis=analysis,
        collection=collection,
        timeframe=timeframe,
        zone=zone,
        interval=interval,
        measures=measures,
        filters=filters,
        group_by=group_by,
        order_by=order_by,
        limit=limit,
        zero_fill=boolean(given.get("zero_fill", True), "zero_fill"),
    )


def paths_of(definition: Definition) -> set[Path]:
    """Every property that a definition looks at, but for those that an extraction returns."""
    targets = (measure.target for measure in definition.measures if measure.target)
    return {*(key.path for key in definition.group_by), *targets, *filtered_paths(definition.filters)}


def _extraction(
    given: dict[str, Any], collection: str, timeframe: Timeframe | None, zone: tzinfo, filters: tuple[Filter, ...]
) -> Definition:
    for name in ("interval", "group_by", "order_by", "limit"):
        if name in given and given[name] != []:
            raise wrong(name, "an extraction does not take it; for the most recent events give `latest`")
    return Definition(
        analysis="extraction",
        collection=collection,
        timeframe=timeframe,
        zone=zone,
        filters=filters,
        latest=positive(given["latest"], "latest") if "latest" in given else None,
        property_names=parse_paths(given.get("property_names"), "property_names"),
        content_type=parse_content_type(given.get("content_type", JSON)),
        gzip=parse_content_encoding(given.get("content_encoding", "identity")),
        to_file="email" in given,
    )


def _measures(given: dict[str, Any], group_by: tuple[GroupBy, ...]) -> tuple[Measure, ...]:
    analyses = structure(given.get("analyses"), "analyses")
    if not isinstance(analyses, dict) or not 0 < len(analyses) <= MAX_MEASURES:
        raise wrong(
            "analyses",
            f"give an object of 1 to {MAX_MEASURES} analyses by label, such as "
            "{'total': {'analysis_type': 'sum', 'target_property': 'price'}}",
        )
    taken = {key.name for key in group_by}
    measures = []
    for label, one in analyses.items():
        where = f"analyses.{label}"
        if not is_text(label):
            raise wrong("analyses", f"the label {shown(label)} is not text")
        if label in taken:
            raise wrong("analyses", f"the label {shown(label)} is also a property of group_by; choose another")
        if not isinstance(one, dict):
            raise wrong(where, f"{shown(one)} must be an object with analysis_type and target_property")
        kind = one.get("analysis_type")
        if kind not in METRICS:
            raise wrong(where, f"the analysis_type {shown(kind)} is none of {', '.join(METRICS)}")
        measures.append(_measure(label, kind, present(one), f"{where}."))
    return tuple(measures)


def _measure(label: str, analysis: str, given: dict[str, Any], where: str = "") -> Measure:
    """One figure; `where` is what messages put before its parameters' names."""
    if analysis == "count":
        return Measure(label, analysis)
    name = f"{where}target_property"
    if "target_property" not in given:
        raise wrong(name, f"it is missing: {analysis} needs a property to look at")
    return Measure(label, analysis, parse_path(given["target_property"], name), _percentile(given, analysis, where))


def _percentile(given: dict[str, Any], analysis: str, where: str) -> float | None:
    if analysis == "median":
        return 50.0
    if analysis != "percentile":
        return None
    name, value = f"{where}percentile", given.get("percentile")
    if value is None:
        raise wrong(name, "it is missing: give a number above 0, up to 100")
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else 0.0
    except (ValueError, OverflowError):
        number = 0.0
    if not 0 < number <= 100:
        raise wrong(name, f"{shown(value)} is not a number above 0, up to 100")
    return number


def _order_by(value: object, measures: tuple[Measure, ...], group_by: tuple[GroupBy, ...]) -> tuple[Order, ...]:
    value = structure(value, "order_by")
    orders = value if isinstance(value, list) else [] if value is None else [value]
    if orders and not group_by:
        raise wrong("order_by", "it needs group_by: there are no groups to order")
    return tuple(_order(one, measures, group_by) for one in orders)


def _order(value: object, measures: tuple[Measure, ...], group_by: tuple[GroupBy, ...]) -> Order:
    given = {"property_name": value} if isinstance(value, str) else value
    if not isinstance(given, dict):
        raise wrong("order_by", f"{shown(value)} must be an object with property_name and direction")
    name = given.get("property_name")
    results = {measure.label: measure.analysis for measure in measures}
    if not isinstance(name, str) or name not in {*results, *(key.name for key in group_by)}:
        known = " or ".join(f"'{label}'" for label in results)
        raise wrong("order_by", f"{shown(name)} is neither a property of group_by nor {known}")
    if results.get(name) == "select_unique":
        raise wrong("order_by", "the result of select_unique is a list, which has no order; order by a property")
    direction = given.get("direction") or "ASC"
    if not isinstance(direction, str) or direction.upper() not in ("ASC", "DESC"):
        raise wrong("order_by", f"the direction {shown(direction)} is neither 'ASC' nor 'DESC'")
    return Order(name, direction.upper() == "DESC")
