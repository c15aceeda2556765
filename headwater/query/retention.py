"""Retention as asked: who came back, unit by unit, after doing something first. Headwater's own analysis."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from headwater.query.arguments import boolean, positive, present, structure, wrong
from headwater.query.deeds import Deed, parse_deed
from headwater.query.errors import QueryError, shown
from headwater.query.grouping import listed
from headwater.query.timeframe import Timeframe
from headwater.query.zones import parse_timezone

UNITS = ("hour", "day", "week", "month", "year")
MAX_UNITS = 366


@dataclass(frozen=True)
class Retention:
    """A question about retention without anything left to parse.

    An actor belongs to the unit of `timeframe` in which it did `first` for the first time in it. It came back in unit k when it did
    `returning` k units later, after its first event; where `rolling`, in unit k or a later one up to `units`.
    """

    first: Deed
    returning: Deed
    timeframe: Timeframe
    zone: tzinfo
    unit: str
    units: int
    rolling: bool
    now: int
    analysis: str = "retention"


def parse_retention(params: Mapping[str, Any], now: int) -> Retention:
    """The retention of its parameters, seen at `now`. Raises QueryError.

    `first_event` and `returning_event` (the first again, where it is not given) are objects with event_collection, filters and
    actor_property; event_collection and actor_property may stand beside them, and hold for both then, as `filters` there do.
    """
    given = present(params)
    for name in ("interval", "group_by", "order_by", "limit"):
        if name in given and given[name] != []:
            raise wrong(name, "retention does not take it; the length of a cohort is its unit")
    if "timeframe" not in given:
        raise QueryError(
            "TimeframeDefinitionError",
            "You sent in an invalid definition for the timeframe: it is missing, and retention needs one for the first events.",
        )
    shared: dict[str, Any] = {
        name: given[name] for name in ("timeframe", "timezone", "event_collection", "actor_property") if name in given
    }
    filters = listed(structure(given.get("filters"), "filters"))
    first = _event(given, "first_event", {}, shared)
    returning = _event(given, "returning_event", first, shared)
    one, other = (
        parse_deed(event, where, filters, now)
        for event, where in ((first, "first_event"), (returning, "returning_event"))
    )
    assert one.timeframe is not None  # `shared` has one
    unit = given.get("unit", "day")
    if isinstance(unit, str) and unit.endswith("s"):
        unit = unit[:-1]
    if unit not in UNITS:
        raise wrong("unit", f"{shown(given['unit'])} is none of {', '.join(UNITS)}")
    units = positive(given.get("units", 7), "units")
    if units > MAX_UNITS:
        raise wrong("units", f"{units} is more than {MAX_UNITS}: choose a longer unit")
    return Retention(
        first=one,
        returning=other,
        timeframe=one.timeframe,
        zone=parse_timezone(given.get("timezone")),
        unit=unit,
        units=units,
        rolling=boolean(given.get("rolling", False), "rolling"),
        now=now,
    )


def _event(
    given: Mapping[str, Any], name: str, default: Mapping[str, Any], shared: Mapping[str, Any]
) -> dict[str, Any]:
    event = structure(given.get(name), name)
    if event is None:
        return {**shared, **default}
    if not isinstance(event, dict):
        raise wrong(name, f"{shown(event)} must be an object with event_collection and perhaps filters")
    own = {key: value for key, value in present(event).items() if key not in ("timeframe", "timezone")}
    return {**shared, **own}
