"""Answers as pandas frames. Imported only when asked for: needs pandas."""

from typing import Any

import orjson
import pandas as pd

from headwater.query.definition import Definition, Measure, Query
from headwater.query.funnel import Funnel
from headwater.query.result import bounds, flat_rows

_TIMES = ("keen.timestamp", "keen.created_at")
_COUNTS = ("count", "count_unique")


def to_frame(value: Any, definition: Query) -> pd.DataFrame:
    """The frame that `Result.to_pandas` promises."""
    if isinstance(definition, Funnel):
        return _funnel(value, definition)
    if not isinstance(definition, Definition):
        rows = flat_rows(value, definition)
        frame = pd.DataFrame({name: _column([row[name] for row in rows]) for name in ("actors", "returned")})
        return _over_time(frame, rows, definition, {"unit": pd.array([row["unit"] for row in rows], dtype="int64")})
    if definition.analysis == "extraction":
        return _events(value, definition)
    rows = flat_rows(value, definition)
    groups = {key.name: [row[key.name] for row in rows] for key in definition.group_by}
    figures = pd.DataFrame(
        {one.label: _figures([row[one.label] for row in rows], one) for one in definition.measures},
        index=pd.RangeIndex(len(rows)),
    )
    if definition.interval:
        return _over_time(figures, rows, definition, {name: _labels(values) for name, values in groups.items()})
    return pd.concat([pd.DataFrame({name: _column(values) for name, values in groups.items()}), figures], axis=1)


def _over_time(frame: pd.DataFrame, rows: list[dict[str, Any]], definition: Query, by: dict[str, Any]) -> pd.DataFrame:
    """The frame indexed by the beginnings of the rows' spans and what else they are by; `end` is its first column."""
    names = bounds(definition)
    start, end = (_times([row[name] for row in rows], definition) for name in names)
    frame.insert(0, names[1], end)
    index = pd.MultiIndex.from_arrays([start, *by.values()], names=[names[0], *by]) if by else start.rename(names[0])
    return frame.set_index(index)


def _funnel(value: Any, definition: Funnel) -> pd.DataFrame:
    counts = value["result"]
    frame = pd.DataFrame(
        {
            "step": pd.array(range(1, len(counts) + 1), dtype="int64"),
            "event_collection": [step.deed.collection for step in definition.steps],
            "result": pd.array(counts, dtype="int64"),
        }
    )
    frame["share"] = frame["result"] / counts[0] if counts[0] else float("nan")
    if "actors" in value:
        frame["actors"] = pd.Series(value["actors"], dtype="object")
    return frame


def _events(value: Any, definition: Definition) -> pd.DataFrame:
    events = [_flat(event) for event in value]
    seen = dict.fromkeys(name for event in events for name in event)
    frame = pd.DataFrame({name: _column([event.get(name) for event in events]) for name in seen})
    for name in _TIMES:
        if name in frame:
            frame[name] = _times(frame[name], definition)
    return frame


def _times(values: Any, definition: Query) -> pd.DatetimeIndex:
    times = pd.to_datetime(pd.Index(values, dtype="object"), utc=True, format="ISO8601")
    return pd.DatetimeIndex(times).tz_convert(definition.zone)


def _figures(values: list[Any], measure: Measure) -> Any:
    """A column of figures; of its analysis' type, also where there are none, or only absent ones."""
    if all(value is None for value in values) and measure.analysis != "select_unique":
        return pd.array(values, dtype="int64" if measure.analysis in _COUNTS else "float64")
    return _column(values)


def _labels(values: list[Any]) -> Any:
    """A column that an index can hold. It takes equal values for one, and has no lists: where numbers and booleans are
    mixed booleans are JSON text, and lists always are."""
    kinds = {type(value) for value in values}
    textual = (list, dict, bool) if bool in kinds and kinds & {int, float} else (list, dict)
    return _column([orjson.dumps(value).decode() if isinstance(value, textual) else value for value in values])


def _column(values: list[Any]) -> Any:
    """Values of one type as pandas types them, whole numbers with gaps as Int64; mixed ones as they are."""
    present = [value for value in values if value is not None]
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in present)
    if present and whole and all(-(2**63) <= value < 2**63 for value in present):
        return pd.array(values, dtype="Int64" if len(present) < len(values) else "int64")
    if present and all(isinstance(value, int | float) and not isinstance(value, bool) for value in present):
        return pd.array([float("nan") if value is None else float(value) for value in values], dtype="float64")
    if not present or len({type(value) for value in present}) > 1 or isinstance(present[0], list):
        return pd.Series(values, dtype="object")
    return pd.Series(values)


def _flat(event: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """An event with dotted names in place of nested objects."""
    flat: dict[str, Any] = {}
    for name, value in event.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
