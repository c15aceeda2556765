"""Answers as Bokeh figures. Imported only when asked for: needs Bokeh."""

from datetime import datetime
from typing import Any

import orjson
from bokeh.models import ColumnDataSource, FactorRange, HoverTool, Range1d
from bokeh.models.annotations import Label
from bokeh.palettes import Category10, Category20
from bokeh.plotting import figure

from headwater.query.definition import Definition, Query
from headwater.query.grouping import RESULT
from headwater.query.result import flat_rows

MAX_LINES = 20


def to_figure(value: Any, definition: Query) -> figure:
    """The figure that `Result.plot` promises. Raises ValueError for answers that are no figures, or several."""
    if not isinstance(definition, Definition) or definition.analysis in (
        "extraction",
        "select_unique",
        "multi_analysis",
    ):
        raise ValueError(f"the answer of {definition.analysis} has nothing to draw; to_pandas() gives a frame")
    if definition.interval:
        return _lines(value, definition)
    if definition.group_by:
        return _bars(value, definition)
    return _number(value, definition)


def _title(definition: Definition) -> str:
    target = f" of {definition.target.name}" if definition.target else ""
    return f"{definition.analysis}{target}, {definition.collection}"


def _label(group: dict[str, Any], definition: Definition) -> str:
    values = (group[key.name] for key in definition.group_by)
    return ", ".join(value if isinstance(value, str) else orjson.dumps(value).decode() for value in values)


def _lines(value: Any, definition: Definition) -> figure:
    series: dict[str, tuple[list[datetime], list[Any]]] = {}
    for row in flat_rows(value, definition):
        name = _label(row, definition) if definition.group_by else definition.analysis
        starts, results = series.setdefault(name, ([], []))
        # Bokeh draws every time as UTC: the wall time of the query's zone is what its axis should say.
        starts.append(datetime.fromisoformat(row["start"]).replace(tzinfo=None))
        results.append(float("nan") if row[RESULT] is None else row[RESULT])
    shown = dict(sorted(series.items(), key=lambda item: -_total(item[1][1]))[:MAX_LINES])
    title = _title(definition)
    if len(series) > MAX_LINES:
        title += f" (the {MAX_LINES} largest of {len(series)} groups)"
    plot = figure(title=title, x_axis_type="datetime", x_axis_label=str(definition.zone), width=900)
    palette = Category10[10] if len(shown) <= 10 else Category20[20]
    for colour, (name, (starts, results)) in zip(palette, shown.items(), strict=False):
        source = ColumnDataSource({"start": starts, RESULT: results, "name": [name] * len(starts)})
        plot.line("start", RESULT, source=source, line_width=2, color=colour, legend_label=name)
    plot.add_tools(
        HoverTool(
            tooltips=[("", "@name"), ("from", "@start{%F %H:%M}"), (RESULT, f"@{RESULT}")],
            formatters={"@start": "datetime"},
        )
    )
    return plot


def _bars(value: Any, definition: Definition) -> figure:
    labels = [_label(group, definition) for group in value]
    unique = [label if label not in labels[:i] else f"{label} ({i})" for i, label in enumerate(labels)]
    results = [float("nan") if group[RESULT] is None else group[RESULT] for group in value]
    lowest, highest = min([0.0, *_present(results)]), max([0.0, *_present(results)])
    plot = figure(
        title=_title(definition),
        x_range=FactorRange(factors=unique),
        y_range=Range1d(start=lowest, end=highest * 1.05 or 1.0),
        width=900,
        tooltips=[("", "@x"), (RESULT, "@top")],
    )
    plot.vbar(x=unique, top=results, width=0.8)
    plot.xaxis.axis_label = ", ".join(key.name for key in definition.group_by)
    plot.xaxis.major_label_orientation = 0.8
    return plot


def _number(value: Any, definition: Definition) -> figure:
    plot = figure(
        title=_title(definition),
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


def _present(results: list[Any]) -> list[float]:
    return [float(result) for result in results if result == result]


def _total(results: list[Any]) -> float:
    return sum(map(abs, _present(results)))
