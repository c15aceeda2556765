"""Answers as frames and figures."""

import sys
from typing import Any

import pandas as pd
import pytest
from bokeh.embed import json_item

from headwater.query import Result
from headwater.query.definition import parse_definition

TIMEFRAME = {"start": "2024-03-30T23:00:00Z", "end": "2024-04-01T22:00:00Z"}
DAYS = [
    {"start": "2024-03-31T00:00:00.000+01:00", "end": "2024-04-01T00:00:00.000+02:00"},
    {"start": "2024-04-01T00:00:00.000+02:00", "end": "2024-04-02T00:00:00.000+02:00"},
]
SERIES = {"timeframe": TIMEFRAME, "interval": "daily", "timezone": "Europe/Berlin"}


def result(value: Any, analysis: str = "count", **params: Any) -> Result:
    return Result(value, parse_definition(analysis, {"event_collection": "c", "target_property": "t", **params}, 0))


def funnel(counts: list[int], **flags: Any) -> Result:
    names = zip(("visits", "buys"), ({}, flags), strict=True)
    steps = [{"event_collection": name, "actor_property": "user.id", **more} for name, more in names]
    value = {"result": counts, "steps": steps} | ({"actors": [None, ["ann", "bob"]]} if flags else {})
    return Result(value, parse_definition("funnel", {"steps": steps}, 0))


def retention() -> Result:
    value = [
        {"timeframe": DAYS[0], "actors": 5, "returned": [4, 3]},
        {"timeframe": DAYS[1], "actors": 2, "returned": [2, None]},
    ]
    asked = {"event_collection": "visits", "actor_property": "user.id", "timeframe": TIMEFRAME, "units": 1}
    return Result(value, parse_definition("retention", asked | {"timezone": "Europe/Berlin"}, 0))


def test_intervals_are_the_index_and_aware() -> None:
    frame = result([{"value": n, "timeframe": day} for n, day in enumerate(DAYS)], **SERIES).to_pandas()
    assert list(frame.columns) == ["end", "result"]
    assert isinstance(frame.index, pd.DatetimeIndex)
    assert frame.index.name == "start"
    assert str(frame.index.tz) == str(frame["end"].dt.tz) == "Europe/Berlin"
    assert list(frame.index.hour) == [0, 0]
    assert (frame["end"] - frame.index).tolist() == [pd.Timedelta(hours=23), pd.Timedelta(hours=24)]
    assert frame["result"].dtype == "int64"
    assert frame.loc["2024-04-01", "result"] == 1


def test_a_group_called_as_a_bound_leaves_the_bounds() -> None:
    groups = [{"start": "Ulm", "end": "Bonn", "value": 1, "timeframe": 2, "result": 3}]
    params: Any = {"group_by": ["start", "end", "value", "timeframe"], **SERIES}
    one = result([{"value": groups, "timeframe": day} for day in DAYS], **params)
    bounds = [{f"timeframe.{name}": bound for name, bound in day.items()} for day in DAYS]
    assert one.rows() == [day | groups[0] for day in bounds]
    frame = one.to_pandas()
    assert frame.index.names == ["timeframe.start", *params["group_by"]]
    assert list(frame.columns) == ["timeframe.end", "result"]
    assert frame.index[1] == (pd.Timestamp(DAYS[1]["start"]), "Ulm", "Bonn", 1, 2)
    assert json_item(one.plot())
    deeper = result([], **params | {"group_by": ["end", "timeframe.start"]})
    assert list(deeper.to_pandas().columns) == ["timeframe.timeframe.end", "result"]


def test_figures_called_as_a_bound_leave_the_bounds() -> None:
    analyses = {name: {"analysis_type": "count"} for name in ("start", "n")}
    value = [{"value": {"start": 5, "n": 7}, "timeframe": day} for day in DAYS]
    one = result(value, "multi_analysis", analyses=analyses, **SERIES)
    assert one.rows()[0] == {"timeframe.start": DAYS[0]["start"], "timeframe.end": DAYS[0]["end"], "start": 5, "n": 7}
    frame = one.to_pandas()
    assert frame.index.name == "timeframe.start"
    assert frame[["start", "n"]].values.tolist() == [[5, 7]] * 2
    assert json_item(one.plot())


def test_groups_in_intervals_are_one_row_each() -> None:
    groups = [{"g": "a", "result": 1}, {"g": None, "result": None}]
    one = result([{"value": groups, "timeframe": day} for day in DAYS], "minimum", group_by="g", **SERIES)
    frame = one.to_pandas()
    assert frame.index.names == ["start", "g"]
    assert list(frame.columns) == ["end", "result"]
    assert str(frame.index.get_level_values("start").tz) == "Europe/Berlin"
    assert str(frame["end"].dt.tz) == "Europe/Berlin"
    assert len(frame) == len(one.rows()) == 4
    assert frame["result"].dtype == "Int64"
    assert frame["result"].isna().tolist() == [False, True, False, True]
    assert frame.loc[(pd.Timestamp("2024-04-01", tz="Europe/Berlin"), "a"), "result"] == 1


def test_groups_in_intervals_are_turned_into_columns() -> None:
    values = [[{"g": 1, "h": "x", "result": 5}, {"g": 2, "h": "x", "result": n}] for n in range(2)]
    buckets = [{"value": value, "timeframe": day} for value, day in zip(values, DAYS, strict=True)]
    frame = result(buckets, group_by=["g", "h"], **SERIES).to_pandas()
    assert frame.index.names == ["start", "g", "h"]
    assert frame["result"].unstack(["h", "g"]).to_numpy().tolist() == [[5, 0], [5, 1]]


def test_groups_that_an_index_would_confuse_stay_apart() -> None:
    groups = [{"g": value, "result": n} for n, value in enumerate([1, True, [1, 2], "x", None])]
    frame = result([{"value": groups, "timeframe": DAYS[0]}], group_by="g", **SERIES).to_pandas()
    labels = frame.index.get_level_values("g").tolist()
    assert labels[:4] == [1, "true", "[1,2]", "x"]
    assert pd.isna(labels[4])
    assert frame.index.is_unique


def test_several_figures_have_a_column_each() -> None:
    analyses = {"n": {"analysis_type": "count"}, "mean": {"analysis_type": "average", "target_property": "t"}}
    plain = result({"n": 2, "mean": 1.5}, "multi_analysis", analyses=analyses).to_pandas()
    assert plain.to_dict("records") == [{"n": 2, "mean": 1.5}]
    groups = [{"g": "a", "n": 2, "mean": 1.5}, {"g": "b", "n": 0, "mean": None}]
    grouped = result(groups, "multi_analysis", analyses=analyses, group_by="g").to_pandas()
    assert list(grouped.columns) == ["g", "n", "mean"]
    assert [str(dtype) for dtype in grouped.dtypes[1:]] == ["int64", "float64"]
    series = [{"value": groups, "timeframe": day} for day in DAYS]
    daily = result(series, "multi_analysis", analyses=analyses, group_by="g", **SERIES).to_pandas()
    assert daily.index.names == ["start", "g"]
    assert list(daily.columns) == ["end", "n", "mean"]
    assert daily["n"].tolist() == [2, 0, 2, 0]


def test_a_funnel_has_its_shares() -> None:
    frame = funnel([8, 2], with_actors=True).to_pandas()
    assert frame.to_dict("list") == {
        "step": [1, 2], "event_collection": ["visits", "buys"], "result": [8, 2], "share": [1.0, 0.25],
        "actors": [None, ["ann", "bob"]],
    }  # fmt: skip
    nobody = funnel([0, 0]).to_pandas()
    assert list(nobody.columns) == ["step", "event_collection", "result", "share"]
    assert nobody["share"].isna().all()


def test_a_retention_is_a_row_for_each_unit_of_each_cohort() -> None:
    frame = retention().to_pandas()
    assert frame.index.names == ["start", "unit"]
    assert list(frame.columns) == ["end", "actors", "returned"]
    assert frame["returned"].dtype == "Int64"
    matrix = frame["returned"].unstack("unit")
    assert list(matrix.columns) == [0, 1]
    assert str(matrix.index.tz) == "Europe/Berlin"
    assert matrix[0].tolist() == [4, 2]
    assert matrix[1].tolist() == [3, pd.NA]


def test_columns_of_groups_are_typed_and_mixed_ones_kept() -> None:
    frame = result(
        [{"g": 1, "h": "x", "result": 1.5}, {"g": "1", "h": "y", "result": None}], "average", group_by=["g", "h"]
    ).to_pandas()
    assert frame["g"].tolist() == [1, "1"]
    assert frame["result"].dtype == "float64"


def test_large_integers_stay_exact() -> None:
    frame = result([{"g": "a", "result": 2**62 + 1}, {"g": "b", "result": None}], "maximum", group_by="g").to_pandas()
    assert frame["result"][0] == 2**62 + 1
    assert result(2**70, "sum").to_pandas()["result"][0] == 2**70


def test_extractions_are_flat() -> None:
    events = [
        {"keen": {"timestamp": "2024-01-01T00:00:00.000Z", "id": "i"}, "user": {"name": "ann"}, "n": 2**62 + 1},
        {"keen": {"timestamp": "2024-01-02T00:00:00.500Z", "id": "j"}, "tags": [1, 2]},
    ]
    frame = result(events, "extraction").to_pandas()
    assert set(frame.columns) == {"keen.timestamp", "keen.id", "user.name", "n", "tags"}
    assert frame["keen.timestamp"][1] == pd.Timestamp("2024-01-02T00:00:00.5Z")
    assert frame["n"][0] == 2**62 + 1
    assert result([], "extraction").to_pandas().empty


def test_nothing_has_its_columns_all_the_same() -> None:
    frame = result([], group_by=["a", "b"]).to_pandas()
    assert list(frame.columns) == ["a", "b", "result"]
    assert frame["result"].dtype == "int64"
    absent = result([{"value": None, "timeframe": day} for day in DAYS], "average", **SERIES).to_pandas()
    assert absent["result"].dtype == "float64"
    assert absent["result"].isna().all()


@pytest.mark.parametrize(
    ("value", "params", "glyph"),
    [
        ([{"value": n, "timeframe": day} for n, day in enumerate(DAYS)], SERIES, "Line"),
        (
            [{"value": [{"g": "a", "result": None}], "timeframe": day} for day in DAYS],
            {"group_by": "g", **SERIES},
            "Line",
        ),
        ([{"g": "a", "result": 3}, {"g": None, "result": 2}], {"group_by": "g"}, "VBar"),
        ([], {"group_by": "g"}, "VBar"),
    ],
)
def test_figures(value: Any, params: dict[str, Any], glyph: str) -> None:
    plot = result(value, **params).plot()
    json_item(plot)
    assert {type(renderer.glyph).__name__ for renderer in plot.renderers} == {glyph}


def test_more_groups_than_lines_say_so() -> None:
    groups = [{"g": n, "result": n} for n in range(30)]
    plot = result([{"value": groups, "timeframe": day} for day in DAYS], group_by="g", **SERIES).plot()
    assert len(plot.renderers) == 20
    assert "20 largest of 30" in plot.title.text


def test_figures_of_many_have_a_line_or_a_bar_each() -> None:
    analyses = {
        "n": {"analysis_type": "count"},
        "mean": {"analysis_type": "average", "target_property": "t"},
        "values": {"analysis_type": "select_unique", "target_property": "t"},
    }
    groups = [{"g": "a", "n": 2, "mean": 1.5, "values": [1]}, {"g": "b", "n": 0, "mean": None, "values": []}]
    lines = result(
        [{"value": groups, "timeframe": day} for day in DAYS],
        "multi_analysis",
        analyses=analyses,
        group_by="g",
        **SERIES,
    ).plot()
    json_item(lines)
    assert {item.label.value for item in lines.legend.items} == {"a: n", "a: mean", "b: n", "b: mean"}
    bars = result(groups, "multi_analysis", analyses=analyses, group_by="g").plot()
    json_item(bars)
    assert bars.x_range.factors == [("a", "n"), ("a", "mean"), ("b", "n"), ("b", "mean")]
    plain = result(groups[0], "multi_analysis", analyses=analyses).plot()
    assert plain.x_range.factors == ["n", "mean"]
    assert plain.renderers[0].data_source.data["top"] == [2.0, 1.5]
    assert plain.title.text == "c: n, mean"


def test_a_funnel_is_a_bar_for_each_step() -> None:
    plot = funnel([8, 2]).plot()
    json_item(plot)
    assert plot.x_range.factors == ["1. visits", "2. buys"]
    assert plot.renderers[0].data_source.data["text"] == ["8 (100.0%)", "2 (25.0%)"]
    assert plot.title.text == "funnel: visits → buys"
    json_item(funnel([0, 0]).plot())


def test_a_retention_is_a_heat_map() -> None:
    plot = retention().plot()
    json_item(plot)
    cells = plot.renderers[0].data_source.data
    assert list(zip(cells["cohort"], cells["unit"], cells["share"], strict=True)) == [
        ("2024-03-31", "0", 0.8), ("2024-03-31", "1", 0.6), ("2024-04-01", "0", 1.0),
    ]  # fmt: skip
    assert plot.y_range.factors == ["2024-04-01", "2024-03-31"]
    assert (plot.xaxis[0].axis_label, plot.yaxis[0].axis_label) == ("days later", "first day, Europe/Berlin")


def test_groups_of_one_name_keep_their_bars() -> None:
    plot = result([{"g": "1", "result": 2}, {"g": 1, "result": 3}], group_by="g").plot()
    assert plot.x_range.factors == ["1", "1 (2)"]
    assert (plot.title.text, plot.yaxis[0].axis_label) == ("c: count by g", "count")


def test_notebooks_show_the_frame_and_run_nothing_of_it() -> None:
    html = result([{"g": "<script>", "result": 3}], group_by="g")._repr_html_()
    assert html is not None
    assert html.startswith("<table")
    assert "&lt;script&gt;" in html
    assert "<script>" not in html


def test_a_lone_bucket_is_a_point() -> None:
    plot = result([{"value": 3, "timeframe": DAYS[0]}], **SERIES).plot()
    assert [type(renderer.glyph).__name__ for renderer in plot.renderers] == ["Line", "Scatter"]


def test_a_number_is_text() -> None:
    plot = result(1234567).plot()
    json_item(plot)
    assert "1,234,567" in [label.text for label in plot.center if hasattr(label, "text")]


def test_events_are_not_drawn() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        result([], "extraction").plot()


def test_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("headwater.query.frames", "headwater.query.figures"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setitem(sys.modules, "bokeh.models", None)
    with pytest.raises(ImportError, match=r"headwater\[pandas\]"):
        result(1).to_pandas()
    assert result(1)._repr_html_() is None
    with pytest.raises(ImportError, match=r"headwater\[plot\]"):
        result(1).plot()
