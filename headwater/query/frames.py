"""Answers as pandas frames. Imported only when asked for: needs pandas."""

from typing import Any

import pandas as pd

from headwater.query.definition import Definition, Query
from headwater.query.result import flat_rows

_TIMES = ("keen.timestamp", "keen.created_at")


def to_frame(value: Any, definition: Query) -> pd.DataFrame:
    """The frame that `Result.to_pandas` promises."""
    if definition.analysis == "extraction":
        events = [_flat(event) for event in value]
        seen = dict.fromkeys(name for event in events for name in event)
        frame = pd.DataFrame({name: _column([event.get(name) for event in events]) for name in seen})
        for name in _TIMES:
            if name in frame:
                frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601").dt.tz_convert(definition.zone)
        return frame
    rows = flat_rows(value, definition)
    columns = _columns(definition)
    frame = pd.DataFrame({name: _column([row[name] for row in rows]) for name in columns})
    for name in ("start", "end") if "start" in columns else ():
        frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601").dt.tz_convert(definition.zone)
    return frame


def _columns(definition: Query) -> list[str]:
    if isinstance(definition, Definition):
        names = [key.name for key in definition.group_by]
        return [*(("start", "end") if definition.interval else ()), *names, *definition.labels]
    if definition.analysis == "funnel":
        return ["step", "event_collection", "result"]
    return ["start", "end", "actors", "unit", "returned"]


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
