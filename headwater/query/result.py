"""The answer to a query: Keen's JSON shape, a pandas frame, a Bokeh figure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headwater.query.definition import Definition, Query
from headwater.query.funnel import Funnel
from headwater.query.grouping import RESULT

if TYPE_CHECKING:
    from bokeh.plotting import figure
    from pandas import DataFrame


@dataclass(frozen=True)
class Result:
    """An answer with the definition that it answers. `value` is what JSON has: Keen's result shapes.

    `sql` is the statement that ClickHouse answered, its parameters' values in comments below it, where the client asks
    ClickHouse itself (`connect(clickhouse=...)`). None over HTTP: the API does not tell how it finds its answers.

    `metadata` is what finding the answer took, as Keen's `execution_metadata` has it: `events_scanned`, `properties_per_event`,
    `total_properties_scanned` and `total_processing_time` in seconds. None for extractions.
    """

    value: Any
    definition: Query
    sql: str | None = field(default=None, compare=False, repr=False)
    metadata: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    def to_pandas(self) -> "DataFrame":
        """The answer as a typed frame. Raises ImportError, with what to install, where pandas is missing.

        A column for each group property, then `result`, or the labels of a multi_analysis. With an interval the index is
        `start`, a column `end`; with groups, too, the index is `start` and the group properties, so that `["result"].unstack("item")` has a column
        for each item; where a property or a figure is called `start` or `end`, these are `timeframe.start` and `timeframe.end`. A retention's index is `start` and `unit`, its columns `end`, `actors`, `returned`: `["returned"].unstack("unit")` is the matrix.
        A funnel has `step` (from 1), `event_collection`, `result`, `share` (of the first step) and perhaps `actors`. An
        extraction has a row for each event, nested properties in columns of dotted names.

        All times (`start`, `end`, `keen.timestamp`, `keen.created_at`) are aware, in the query's time zone. Whole numbers are int64, or Int64
        where some are absent; a column of mixed types keeps its values as they are.
        """
        try:
            from headwater.query.frames import to_frame
        except ImportError as error:
            raise ImportError("to_pandas() needs pandas: pip install 'headwater[pandas]'") from error
        return to_frame(self.value, self.definition)

    def plot(self) -> "figure":
        """A Bokeh figure, which `bokeh.io.show` or a notebook shows.

        Lines for intervals (one for each group and figure, the 20 largest), bars for groups and for the figures of a
        multi_analysis, a bar for each step of a funnel, a retention's shares as a heat map, a single number as text.

        Raises ImportError, with what to install, where Bokeh is missing; ValueError for extractions and select_unique.
        """
        try:
            from headwater.query.figures import to_figure
        except ImportError as error:
            raise ImportError("plot() needs Bokeh: pip install 'headwater[plot]'") from error
        return to_figure(self.value, self.definition)

    def _repr_html_(self) -> str | None:
        """What a notebook shows: the frame's table; None, so that it shows the text, where pandas is missing."""
        try:
            frame = self.to_pandas()
        except ImportError:
            return None
        return frame.to_html(max_rows=60, show_dimensions=len(frame) > 60)

    def rows(self) -> list[dict[str, Any]]:
        """The answer flat: a dict for each group of each bucket, with `start`, `end`, group properties and `result`, or the
        labels of a multi_analysis. Bounds are called as `bounds` says where something else is called `start` or `end`.

        An extraction's events as they are; a single value as one row. A funnel's steps: `step` (from 1), `event_collection`, `result`. A
        retention's matrix: `start`, `end`, `actors`, `unit`, `returned`.
        """
        return flat_rows(self.value, self.definition)


def bounds(definition: Query) -> tuple[str, str]:
    """What rows and frames call the bounds of a bucket: `start` and `end`; `timeframe.start` and `timeframe.end` where a property
    of group_by or a label of a multi_analysis has one of those names."""
    taken = set()
    if isinstance(definition, Definition):
        taken = {key.name for key in definition.group_by} | set(definition.labels)
    prefix = ""
    while taken & {f"{prefix}start", f"{prefix}end"}:
        prefix += "timeframe."
    return f"{prefix}start", f"{prefix}end"


def flat_rows(value: Any, definition: Query) -> list[dict[str, Any]]:
    """The rows that `Result.rows` promises."""
    if not isinstance(definition, Definition):
        return _steps(value) if isinstance(definition, Funnel) else _matrix(value)
    if definition.analysis == "extraction" or (definition.group_by and not definition.interval):
        return list(value)
    labelled = definition.analysis == "multi_analysis"
    if not definition.interval:
        return [value if labelled else {RESULT: value}]
    start, end = bounds(definition)
    flat: list[dict[str, Any]] = []
    for bucket in value:
        span = {start: bucket["timeframe"]["start"], end: bucket["timeframe"]["end"]}
        figures = bucket["value"] if labelled else {RESULT: bucket["value"]}
        groups = bucket["value"] if definition.group_by else [figures]
        flat += [span | group for group in groups]
    return flat


def _steps(value: Any) -> list[dict[str, Any]]:
    pairs = zip(value["steps"], value[RESULT], strict=True)
    return [
        {"step": number, "event_collection": step["event_collection"], RESULT: count}
        for number, (step, count) in enumerate(pairs, 1)
    ]


def _matrix(value: Any) -> list[dict[str, Any]]:
    return [
        cohort["timeframe"] | {"actors": cohort["actors"], "unit": unit, "returned": returned}
        for cohort in value
        for unit, returned in enumerate(cohort["returned"])
    ]
