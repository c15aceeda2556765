"""The query benchmark: its questions are of every kind, its events come in calendar months, and answers that differ are found."""

from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

import pytest

from benchmarks.query_answers import differences
from benchmarks.query_data import COLLECTION, NOW, PROPERTIES, START, document, months
from benchmarks.query_questions import QUESTIONS, TABLE, Question
from headwater.query.definition import ANALYSES, Definition, parse_definition

GROUPED = Question(
    "by country",
    "count",
    {
        "event_collection": COLLECTION,
        "timeframe": {"start": "2025-10-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"},
        "interval": "weekly",
        "group_by": "country",
    },
    "",
    "",
)


def test_every_analysis_is_asked_with_intervals_and_groups() -> None:
    queries = [parse_definition(one.analysis, one.params, NOW) for one in QUESTIONS]
    definitions = [query for query in queries if isinstance(query, Definition)]
    figures = {measure.analysis for query in definitions for measure in query.measures}
    assert {query.analysis for query in queries} | figures == set(ANALYSES)
    assert {(query.interval is not None, len(query.group_by)) for query in definitions} >= {
        (False, 0), (False, 1), (False, 2), (True, 0), (True, 1),
    }  # fmt: skip
    assert len({one.name for one in QUESTIONS}) == len(QUESTIONS) >= 20
    assert all(sql.count(TABLE) == 1 for one in QUESTIONS for sql in (one.clickhouse, one.duckdb))


def test_months_are_those_of_the_calendar() -> None:
    bounds = months(365)  # one event a day
    assert [end - start for start, end in pairwise(bounds)] == [
        31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31,
    ]  # fmt: skip
    assert bounds[0] == 0


def test_dotted_names_are_objects() -> None:
    chosen = [one for one in PROPERTIES if one.name in ("kind", "user.id", "user.age")]
    assert document(chosen) == (
        "toJSONString(CAST(tuple(kind, tuple(user_id, user_age)),"
        " 'Tuple(`kind` String, `user` Tuple(`id` String, `age` Nullable(Int64)))'))"
    )


def _buckets(country: str, result: int, start: str = "2025-10-01T00:00:00.000Z") -> list[dict[str, Any]]:
    value = [{"country": country, "result": result}, {"country": "FR", "result": 0}]
    return [{"timeframe": {"start": start, "end": "2025-10-05T00:00:00.000Z"}, "value": value}]


@pytest.mark.parametrize("bucket", [date(2025, 9, 28), datetime(2025, 9, 28, tzinfo=UTC), datetime(2025, 10, 1)])
def test_buckets_are_the_same_however_they_are_written(bucket: date) -> None:
    assert differences(GROUPED, [(bucket, "DE", 3)], {"HTTP": _buckets("DE", 3)}, ["HTTP"]) is None


@pytest.mark.parametrize(
    "wrong", [_buckets("DE", 4), _buckets("AT", 3), _buckets("DE", 3, "2025-10-02T00:00:00.000Z"), []]
)
def test_answers_that_differ_are_told(wrong: list[dict[str, Any]]) -> None:
    found = differences(GROUPED, [(date(2025, 10, 1), "DE", 3)], {"HTTP": wrong}, ["HTTP"])
    assert found is not None
    assert found.startswith("HTTP lacks")


def test_floats_may_differ_in_their_last_digits_only() -> None:
    question = next(one for one in QUESTIONS if one.analysis == "percentile")
    rows = [("Browser 1", 0.1 + 0.2)]
    assert differences(question, rows, {"DuckDB": [("Browser 1", 0.3)]}, []) is None
    assert differences(question, rows, {"DuckDB": [("Browser 1", 0.300001)]}, []) is not None


def test_the_year_is_over_at_its_end() -> None:
    assert datetime.fromtimestamp(START / 1000, UTC) == datetime(2025, 1, 1, tzinfo=UTC)
    assert datetime.fromtimestamp(NOW / 1000, UTC) == datetime(2026, 1, 1, tzinfo=UTC)
