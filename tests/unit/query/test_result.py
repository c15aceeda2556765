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


def test_intervals_have_aware_bucket_columns() -> None:
    frame = result([{"value": n, "timeframe": day} for n, day in enumerate(DAYS)], **SERIES).to_pandas()
    assert list(frame.columns) == ["start", "end", "result"]
    assert str(frame["start"].dt.tz) == "Europe/Berlin"
    assert list(frame["start"].dt.hour) == [0, 0]
    assert (frame["end"] - frame["start"]).tolist() == [pd.Timedelta(hours=23), pd.Timedelta(hours=24)]
    assert frame["result"].dtype == "int64"


def test_groups_in_intervals_are_one_row_each() -> None:
    groups = [{"g": "a", "result": 1}, {"g": None, "result": None}]
    one = result([{"value": groups, "timeframe": day} for day in DAYS], "minimum", group_by="g", **SERIES)
    frame = one.to_pandas()
    assert list(frame.columns) == ["start", "end", "g", "result"]
    assert len(frame) == len(one.rows()) == 4
    assert frame["result"].dtype == "Int64"
    assert frame["result"].isna().tolist() == [False, True, False, True]


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
    assert list(result([], group_by=["a", "b"]).to_pandas().columns) == ["a", "b", "result"]


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
    with pytest.raises(ImportError, match=r"headwater\[plot\]"):
        result(1).plot()
