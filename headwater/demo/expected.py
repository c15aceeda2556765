"""The demo's answers worked out a second time, by pandas over the same file: what `headwater demo --check` compares with."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import ua_parser

from headwater.demo.questions import (
    DELAY_BY_CARRIER,
    DELAY_BY_HOUR,
    EVENTS_BY_COUNTRY,
    FLIGHTS_BY_MONTH,
    LATEST_EARLY,
    PLANES_BY_MONTH,
    QUESTIONS,
    Question,
)
from headwater.demo.visitors import country, visitors
from headwater.query import Result
from headwater.query.definition import Definition

Rows = list[dict[str, Any]]


def different_answers(flights: pd.DataFrame, results: Sequence[Result]) -> list[str]:
    """The titles of the questions whose results are not pandas'. `flights` holds the rows of the file
    that were sent, in that order."""
    answers = {question.title: rows for question, rows in answers_by_pandas(flights)}
    return [
        question.title
        for question, result in zip(QUESTIONS, results, strict=True)
        if not same_rows(result, answers[question.title])
    ]


def answers_by_pandas(flights: pd.DataFrame) -> Iterator[tuple[Question, Rows]]:
    """Each question with its rows, for flights whose visitors come in the order of the rows."""
    visits = list(itertools.islice(visitors(), len(flights)))
    systems = {agent: _system(agent) for agent in {visit.user_agent for visit in visits}}
    delays = flights.groupby("carrier")["arr_delay"].mean().sort_values(ascending=False).head(10)
    yield DELAY_BY_CARRIER, [{"carrier": carrier, "result": delay} for carrier, delay in delays.items()]

    # The file has the month as New York saw it; headwater has to find it from the time in UTC.
    counts = flights.groupby(["month", "origin"], as_index=False).size()
    yield (
        FLIGHTS_BY_MONTH,
        [
            {"start": _month(row.month), "origin": row.origin, "result": row.size_}
            for row in counts.rename(columns={"size": "size_"}).itertuples()
        ],
    )
    planes = flights.groupby("month")["tailnum"].nunique()
    yield PLANES_BY_MONTH, [{"start": _month(month), "result": count} for month, count in planes.items()]

    worst = flights.groupby("hour")["dep_delay"].apply(_percentile_95)
    yield (
        DELAY_BY_HOUR,
        sorted(
            ({"hour": hour, "result": None if math.isnan(delay) else delay} for hour, delay in worst.items()),
            key=lambda row: (row["result"] is None, -(row["result"] or 0), row["hour"]),
        ),
    )

    departure = pd.to_datetime(flights["time_hour"], utc=True) + pd.to_timedelta(flights["minute"], unit="m")
    seen = flights.assign(
        departure=departure,
        country=[str(country(visit.ip_address)) for visit in visits],
        system=[systems[visit.user_agent] for visit in visits],
    )
    early = seen[(seen["dest"] == "HNL") & (seen["arr_delay"] < 0)].sort_values("departure").tail(5)
    yield (
        LATEST_EARLY,
        [
            {
                "keen": {"timestamp": f"{row.departure:%Y-%m-%dT%H:%M:%S}.000Z"},
                "carrier": row.carrier,
                "flight": row.flight,
                "arr_delay": row.arr_delay,
                "tech": {"os": {"family": row.system}},
            }
            for row in early.itertuples()
        ],
    )

    countries = seen["country"].value_counts()
    yield (
        EVENTS_BY_COUNTRY,
        [
            {"geo.country": name, "result": count}
            for name, count in sorted(countries.items(), key=lambda item: (-item[1], str(item[0])))[:10]
        ],
    )


def same_rows(result: Result, expected: Rows) -> bool:
    """Whether an answer has these rows: in this order where the question asks for one, numbers to nine digits."""
    rows = [
        {name: value[:7] if name == "start" else value for name, value in row.items() if name != "end"}
        for row in result.rows()
    ]
    if not (isinstance(result.definition, Definition) and result.definition.order_by):
        rows, expected = sorted(rows, key=_text_key), sorted(expected, key=_text_key)
    return len(rows) == len(expected) and all(_same(row, other) for row, other in zip(rows, expected, strict=True))


def _text_key(row: dict[str, Any]) -> str:
    """A key that orders rows by what is text in them."""
    return repr(sorted((name, str(value)) for name, value in row.items() if not isinstance(value, int | float)))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, float) or isinstance(other, float):
        return one is not None and other is not None and math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    return bool(one == other)


def _percentile_95(delays: "pd.Series[float]") -> float:
    """By nearest rank, as Keen defines percentiles: the least number that 95% of the numbers do not exceed."""
    known = delays.dropna().sort_values()
    return float(known.iloc[math.ceil(0.95 * len(known)) - 1]) if len(known) else math.nan


def _system(agent: str) -> str:
    found = ua_parser.parse(agent).os
    return found.family if found else "Other"


def _month(month: Any) -> str:
    return f"2013-{month:02d}"
