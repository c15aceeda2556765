"""Funnels as asked: steps that actors go through, each a set of events of a collection.

As in Keen the order of events in time does not count, unless `ordered` is given, which is Headwater's own, as is `window`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from headwater.query.arguments import boolean, present, structure, wrong
from headwater.query.deeds import Deed, parse_deed
from headwater.query.errors import shown
from headwater.query.grouping import listed
from headwater.query.zones import parse_timezone

MAX_STEPS = 32
_WINDOW = re.compile(r"\s*([0-9]{1,9})\s*(second|minute|hour|day|week)s?\s*")
_MILLISECONDS = {"second": 1_000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000, "week": 604_800_000}


@dataclass(frozen=True)
class Step:
    """One step: what was done, and how it counts.

    inverted: the actors that did not do it. optional: it is counted, but later steps do not need it. with_actors: the answer lists
    the actors. `echo` is the step as answers repeat it.
    """

    deed: Deed
    inverted: bool
    optional: bool
    with_actors: bool
    echo: Mapping[str, Any]


@dataclass(frozen=True)
class Funnel:
    """A funnel without anything left to parse. `window` is in milliseconds, from the first step; None is no limit."""

    steps: tuple[Step, ...]
    zone: tzinfo
    ordered: bool = False
    window: int | None = None
    analysis: str = "funnel"


def parse_funnel(params: Mapping[str, Any], now: int) -> Funnel:
    """The funnel of its parameters, seen at `now`. Raises QueryError.

    `timeframe` and `timezone` beside the steps are for those without their own; `filters` beside them are for every step.
    """
    given = present(params)
    for name in ("interval", "group_by", "order_by", "limit"):
        if name in given and given[name] != []:
            raise wrong(name, "a funnel does not take it")
    steps = structure(given.get("steps"), "steps")
    if not isinstance(steps, list) or not 0 < len(steps) <= MAX_STEPS:
        raise wrong("steps", f"give a list of 1 to {MAX_STEPS} steps, each with event_collection and actor_property")
    shared: dict[str, Any] = {name: given[name] for name in ("timeframe", "timezone") if name in given}
    filters = structure(given.get("filters"), "filters")
    parsed = tuple(_step(one, index, shared, listed(filters), now) for index, one in enumerate(steps))
    window = _window(given["window"]) if "window" in given else None
    ordered = boolean(given.get("ordered", window is not None), "ordered")
    if window is not None and not ordered:
        raise wrong("window", "it is for ordered funnels: give ordered, too")
    return Funnel(parsed, parse_timezone(given.get("timezone")), ordered, window)


def _step(value: object, index: int, shared: Mapping[str, Any], filters: list[Any], now: int) -> Step:
    where = f"steps[{index}]"
    if not isinstance(value, dict):
        raise wrong(where, f"{shown(value)} must be an object with event_collection and actor_property")
    own = present(value)
    given = {**shared, **own}
    deed = parse_deed(given, where, filters, now)
    flags = {
        name: boolean(given.get(name, False), f"{where}.{name}") for name in ("inverted", "optional", "with_actors")
    }
    if index == 0 and (flags["inverted"] or flags["optional"]):
        raise wrong(where, "the first step can be neither inverted nor optional: the others are counted from it")
    echo = {
        "event_collection": deed.collection,
        "actor_property": deed.actor.name,
        "timeframe": given.get("timeframe"),
        "timezone": given.get("timezone"),
        "filters": structure(own.get("filters"), f"{where}.filters") or [],
        **flags,
        **{name: own[name] for name in own if name == "step_label"},
    }
    return Step(deed, flags["inverted"], flags["optional"], flags["with_actors"], echo)


def _window(value: object) -> int:
    match = _WINDOW.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[1]) == 0:
        raise wrong("window", f"{shown(value)} is not a length of time such as '7 days' or '30 minutes'")
    return int(match[1]) * _MILLISECONDS[match[2]]
