"""Answers as Bokeh figures. Imported only when asked for: needs Bokeh."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from bokeh.models import (
    ColumnDataSource,
    FactorRange,
    HoverTool,
    LinearColorMapper,
    NumeralTickFormatter,
    Range1d,
)
from bokeh.models.annotations import ColorBar, Label
from bokeh.palettes import Blues256, Category10, Category20
from bokeh.plotting import figure
from bokeh.transform import factor_cmap, transform

from headwater.query.definition import Definition, Measure, Query
from headwater.query.funnel import Funnel
from headwater.query.grouping import RESULT
from headwater.query.result import bounds, flat_rows
from headwater.query.retention import Retention

MAX_LINES = 20
WIDTH = 900
ROW_HEIGHT = 26  # of a heat map, in pixels


def to_figure(value: Any, definition: Query) -> figure:
    """The figure that `Result.plot` promises. Raises ValueError for answers that have nothing to draw."""
    if isinstance(definition, Funnel):
        return _funnel(value, definition)
    if isinstance(definition, Retention):
        return _heat_map(value, definition)
    measures = [one for one in definition.measures if one.analysis != "select_unique"]
    if not measures:
        raise ValueError(f"the answer of {definition.analysis} has nothing to draw; to_pandas() gives a frame")
    if definition.interval:
        return _lines(value, definition, measures)
    if definition.group_by or len(measures) > 1:
        return _bars(value, definition, measures)
    return _number(flat_rows(value, definition)[0][measures[0].label], definition, measures[0])


def _title(definition: Definition, measures: list[Measure]) -> str:
    by = f" by {', '.join(key.name for key in definition.group_by)}" if definition.group_by else ""
    return f"{definition.collection}: {', '.join(map(_name, measures))}{by}"


def _name(measure: Measure) -> str:
    """What a figure is called: its label in a multi_analysis, else by what it is of."""
    if measure.label != RESULT:
        return measure.label
    analysis = f"percentile {measure.percentile:g}" if measure.analysis == "percentile" else measure.analysis
    return f"{analysis} of {measure.target.name}" if measure.target else analysis


def _label(group: dict[str, Any], definition: Definition) -> str:
    values = (group[key.name] for key in definition.group_by)
    return ", ".join(value if isinstance(value, str) else orjson.dumps(value).decode() for value in values)


@dataclass
class _Line:
    starts: list[datetime]
    results: list[float]


def _lines(value: Any, definition: Definition, measures: list[Measure]) -> figure:
    series: dict[str, _Line] = {}
    began, _ = bounds(definition)
    for row in flat_rows(value, definition):
        # Bokeh draws every time as UTC: the wall time of the query's zone is what its axis should say.
        start = datetime.fromisoformat(row[began]).replace(tzinfo=None)
        for measure in measures:
            parts = [_label(row, definition)] if definition.group_by else []
            parts += [_name(measure)] if len(measures) > 1 or not parts else []
            line = series.setdefault(": ".join(parts), _Line([], []))
            line.starts.append(start)
            line.results.append(_number_of(row[measure.label]))
    shown = dict(sorted(series.items(), key=lambda item: -_total(item[1].results))[:MAX_LINES])
    title = _title(definition, measures)
    if len(series) > MAX_LINES:
        title += f" (the {MAX_LINES} largest of {len(series)} {'lines' if len(measures) > 1 else 'groups'})"
    plot = figure(title=title, x_axis_type="datetime", x_axis_label=str(definition.zone), width=WIDTH)
    plot.yaxis.axis_label = _axis(measures)
    palette = Category10[10] if len(shown) <= 10 else Category20[20]
    for colour, (name, line) in zip(palette, shown.items(), strict=False):
        columns: dict[str, Any] = {"start": line.starts, RESULT: line.results, "name": [name] * len(line.starts)}
        source = ColumnDataSource(columns)
        plot.line("start", RESULT, source=source, line_width=2, color=colour, legend_label=name)
        if len(line.starts) == 1:  # a point has no line
            plot.scatter("start", RESULT, source=source, size=6, color=colour, legend_label=name)
    plot.add_tools(
        HoverTool(
            tooltips=[("", "@name"), ("from", "@start{%F %H:%M}"), (RESULT, f"@{RESULT}")],
            formatters={"@start": "datetime"},
        )
    )
    if shown:
        plot.legend.click_policy = "hide"
    return plot


def _bars(value: Any, definition: Definition, measures: list[Measure]) -> figure:
    """A bar for each group and figure; several figures of a group stand side by side."""
    rows = flat_rows(value, definition)
    groups = _distinct([_label(row, definition) for row in rows]) if definition.group_by else []
    names = [_name(measure) for measure in measures]
    several = bool(groups) and len(measures) > 1
    factors: list[Any] = [(group, name) for group in groups for name in names] if several else groups
    if not definition.group_by:
        factors = names
    results = [_number_of(row[measure.label]) for row in rows for measure in measures]
    present = _present(results)
    lowest, highest = min([0.0, *present]), max([0.0, *present])
    plot = figure(
        title=_title(definition, measures),
        x_range=FactorRange(factors=factors),
        y_range=Range1d(start=lowest * 1.05, end=highest * 1.05 if highest or lowest else 1.0),
        width=WIDTH,
        tooltips=[("", "@x"), (RESULT, "@top")],
    )
    source = ColumnDataSource({"x": factors, "top": results})
    palette = Category10[10]
    colours = [palette[index % len(palette)] for index in range(len(names))]
    colour = factor_cmap("x", palette=colours, factors=names, start=1) if several else palette[0]
    plot.vbar(x="x", top="top", source=source, width=0.8, color=colour)
    plot.xaxis.axis_label = ", ".join(key.name for key in definition.group_by)
    plot.yaxis.axis_label = _axis(measures)
    plot.xaxis.major_label_orientation = 0.8
    return plot


def _funnel(value: Any, definition: Funnel) -> figure:
    """A bar for each step, with its count and its share of the first."""
    counts: list[int] = value[RESULT]
    names = [
        f"{number}. {step.echo.get('step_label') or ('not ' if step.inverted else '') + step.deed.collection}"
        for number, step in enumerate(definition.steps, 1)
    ]
    texts = [f"{count:,} ({count / counts[0]:.1%})" if counts[0] else f"{count:,}" for count in counts]
    highest = max(counts)
    plot = figure(
        title=f"funnel: {' → '.join(step.deed.collection for step in definition.steps)}",
        x_range=FactorRange(factors=names),
        y_range=Range1d(start=0, end=highest * 1.15 or 1.0),
        x_axis_label="step",
        y_axis_label=", ".join(dict.fromkeys(step.deed.actor.name for step in definition.steps)),
        width=WIDTH,
        tooltips=[("", "@x"), ("actors", "@text")],
    )
    source = ColumnDataSource({"x": names, "top": counts, "text": texts})
    plot.vbar(x="x", top="top", source=source, width=0.8, color=Category10[10][0])
    plot.text(x="x", y="top", text="text", source=source, text_align="center", text_baseline="bottom", y_offset=-2)
    return plot


def _heat_map(value: Any, definition: Retention) -> figure:
    """A cell for each cohort (from the top) and unit: the share of the cohort that came back. Units to come have none."""
    with_time = definition.unit == "hour"
    rows = [row for row in flat_rows(value, definition) if row["actors"] and row["returned"] is not None]

    def cohort(start: str) -> str:
        return start[:16].replace("T", " ") + start[23:] if with_time else start[:10]

    cells: dict[str, Any] = {
        "unit": [str(row["unit"]) for row in rows],
        "cohort": [cohort(row["start"]) for row in rows],
        "share": [row["returned"] / row["actors"] for row in rows],
        "returned": [row["returned"] for row in rows],
        "actors": [row["actors"] for row in rows],
        "text": [f"{row['returned'] / row['actors']:.0%}" for row in rows],
        "ink": ["white" if row["returned"] * 2 > row["actors"] else "black" for row in rows],
    }
    cohorts = [cohort(one["timeframe"]["start"]) for one in value]
    plot = figure(
        title=f"retention{', rolling' if definition.rolling else ''}: "
        f"{definition.first.collection} → {definition.returning.collection}, by {definition.first.actor.name}",
        x_range=FactorRange(factors=[str(unit) for unit in range(definition.units + 1)]),
        y_range=FactorRange(factors=cohorts[::-1]),
        x_axis_label=f"{definition.unit}s later",
        y_axis_label=f"first {definition.unit}, {definition.zone}",
        x_axis_location="above",
        width=WIDTH,
        height=120 + ROW_HEIGHT * max(len(cohorts), 4),
        tooltips=[("first", "@cohort"), ("later", "@unit"), ("came back", "@returned of @actors (@share{0.0%})")],
    )
    colours = LinearColorMapper(palette=Blues256[::-1], low=0.0, high=1.0)
    source = ColumnDataSource(cells)
    plot.rect(
        x="unit",
        y="cohort",
        width=1,
        height=1,
        source=source,
        fill_color=transform("share", colours),
        line_color="white",
    )
    plot.text(
        x="unit", y="cohort", text="text", source=source, text_color="ink", text_font_size="11px", text_align="center",
        text_baseline="middle",
    )  # fmt: skip
    plot.add_layout(ColorBar(color_mapper=colours, formatter=NumeralTickFormatter(format="0%")), "right")
    plot.grid.visible = False
    return plot


def _number(value: Any, definition: Definition, measure: Measure) -> figure:
    plot = figure(
        title=_title(definition, [measure]),
        width=400,
        height=200,
        toolbar_location=None,
        x_range=Range1d(start=0, end=1),
        y_range=Range1d(start=0, end=1),
    )
    text = "no value" if value is None else f"{value:,}" if isinstance(value, int | float) else str(value)
    plot.add_layout(Label(x=0.5, y=0.5, text=text, text_font_size="32pt", text_align="center", text_baseline="middle"))
    plot.axis.visible = False
    plot.grid.visible = False
    return plot


def _axis(measures: list[Measure]) -> str:
    return _name(measures[0]) if len(measures) == 1 else ""


def _distinct(labels: Sequence[str]) -> list[str]:
    """The labels, those that came before with a number: an axis shows each once."""
    seen: dict[str, int] = {}
    distinct = []
    for label in labels:
        count = seen[label] = seen.get(label, 0) + 1
        distinct.append(label if count == 1 else f"{label} ({count})")
    return distinct


def _number_of(result: int | float | None) -> float:
    return float("nan") if result is None else float(result)


def _present(results: list[float]) -> list[float]:
    return [result for result in results if result == result]


def _total(results: list[float]) -> float:
    return sum(map(abs, _present(results)))
