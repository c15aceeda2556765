"""Retention: random questions over random events against plain Python, whose units are found by pandas."""

import random
from contextlib import closing
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.query.catalogue import TypeCatalogue
from headwater.query.clickhouse import answer
from headwater.query.definition import parse_definition
from headwater.query.statements import Limits, connect
from tests.integration.query import oracle
from tests.integration.query.events import SPAN, START
from tests.querying import event, new_project_id, store

ACTORS: list[Any] = [*(f"user {n}" for n in range(20)), 1, 1.0, "1", None]
ABOVE = [{"property_name": "n", "operator": "gt", "property_value": 4}]


class Store:
    """Stored collections, and how to ask about them."""

    def __init__(self, url: str, project_id: str, events: dict[str, list[oracle.Event]]) -> None:
        self.url = url
        self.project_id = project_id
        self.events = events

    def retention(self, now: int, **params: Any) -> Any:
        with closing(connect(self.url, Limits())) as client:
            query = parse_definition("retention", params, now)
            return answer(client, query, self.project_id, Limits(), TypeCatalogue()).value


@pytest.fixture(scope="module")
def stored(clickhouse: str) -> Store:
    pick, project_id = random.Random(5), new_project_id()
    events = {
        name: [
            event({"who": pick.choice(ACTORS), "n": pick.randrange(10)}, START + pick.randrange(SPAN))
            for _ in range(150)
        ]
        for name in ("arrived", "came")
    }
    for name, each in events.items():
        store(clickhouse, project_id, name, each[::2])
        store(clickhouse, project_id, name, each)
    return Store(clickhouse, project_id, events)


def unit_starts(unit: str, zone: str) -> list[int]:
    """Where units begin around the events, by pandas; weeks on Sundays."""
    frequency = {"day": "D", "week": "W-SUN", "month": "MS"}[unit]
    days = pd.date_range("2023-12-31", "2025-01-01", freq=frequency, tz=zone)
    return [int(day.timestamp() * 1000) for day in days]


def expected(stored: Store, question: dict[str, Any], now: int) -> list[tuple[int, int, list[int | None]]]:
    """Per cohort: where its unit begins, its actors, who returned in each unit."""
    starts = unit_starts(question["unit"], question["timezone"])

    def unit_of(moment: int) -> int:
        return max(index for index, start in enumerate(starts) if start <= moment)

    def moments(deed: dict[str, Any]) -> dict[Any, list[int]]:
        found: dict[Any, list[int]] = {}
        for one in stored.events[deed["event_collection"]]:
            actor = oracle.value_of(one, "who")
            if actor is not None and all(oracle.matches(each, one) for each in deed.get("filters", [])):
                found.setdefault(oracle.group_key(actor), []).append(one["timestamp"])
        return found

    start, end = (int(pd.Timestamp(question["timeframe"][name]).timestamp() * 1000) for name in ("start", "end"))
    returns = moments(question.get("returning_event") or question["first_event"])
    cohorts: dict[int, list[set[int]]] = {}
    for actor, each in moments(question["first_event"]).items():
        inside = [moment for moment in each if start <= moment < end]
        if inside:
            first = min(inside)
            offsets = {unit_of(moment) - unit_of(first) for moment in returns.get(actor, []) if moment > first}
            cohorts.setdefault(unit_of(first), []).append(offsets)
    rows = []
    for unit in range(unit_of(start), unit_of(end - 1) + 1):
        actors = cohorts.get(unit, [])
        counts: list[int | None] = []
        for k in range(question["units"] + 1):
            back = [
                any(k <= offset <= question["units"] for offset in offsets) if question["rolling"] else k in offsets
                for offsets in actors
            ]
            counts.append(sum(back) if starts[unit + k] <= now else None)
        rows.append((starts[unit], len(actors), counts))
    return rows


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    unit=st.sampled_from(["day", "week", "month"]),
    units=st.integers(1, 9),
    rolling=st.booleans(),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
    bounds=st.tuples(st.integers(0, 40), st.integers(1, 30)),
    filtered=st.tuples(st.booleans(), st.booleans()),
    same=st.booleans(),
    seen=st.integers(-10, 60),
)
def test_cohorts_are_those_of_python(
    stored: Store,
    unit: str,
    units: int,
    rolling: bool,
    zone: str,
    bounds: tuple[int, int],
    filtered: tuple[bool, bool],
    same: bool,
    seen: int,
) -> None:
    hours, days = 7 * bounds[0], bounds[1]
    first = START + hours * 3_600_000
    now = START + seen * 86_400_000
    question: dict[str, Any] = {
        "first_event": {"event_collection": "arrived"} | ({"filters": ABOVE} if filtered[0] else {}),
        "returning_event": None if same else {"event_collection": "came"} | ({"filters": ABOVE} if filtered[1] else {}),
        "timeframe": {"start": oracle.iso(first), "end": oracle.iso(first + days * 86_400_000)},
        "timezone": zone,
        "unit": unit,
        "units": units,
        "rolling": rolling,
    }
    got = stored.retention(now, actor_property="who", **question)
    wanted = expected(stored, question, now)
    assert [(row["actors"], row["returned"]) for row in got] == [(actors, counts) for _, actors, counts in wanted]
    starts = [int(pd.Timestamp(row["timeframe"]["start"]).timestamp() * 1000) for row in got]
    assert starts == [max(start, first) for start, _, _ in wanted]
    assert got[-1]["timeframe"]["end"] == pd.Timestamp(question["timeframe"]["end"]).tz_convert(zone).isoformat(
        timespec="milliseconds"
    ).replace("+00:00", "Z")


def test_a_collection_that_nobody_came_to(stored: Store) -> None:
    question = {"timeframe": {"start": oracle.iso(START), "end": oracle.iso(START + 1)}, "units": 1}
    (row,) = stored.retention(START + SPAN, event_collection="nobody", actor_property="who", **question)
    assert (row["actors"], row["returned"]) == (0, [0, 0])
