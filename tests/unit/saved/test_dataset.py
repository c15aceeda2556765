"""Datasets: what is one, what its index may be called, and which buckets it keeps."""

from typing import Any

import pytest

from headwater.query import QueryError
from headwater.query.timeframe import Timeframe
from headwater.saved.dataset import (
    Dataset,
    dataset_record,
    index_text,
    parse_dataset,
    parse_index,
    read_dataset,
    whole_buckets,
)

DAY = 86_400_000
NOW = 1_704_067_200_000 + 10 * DAY + 5_000  # 2024-01-11, 5 seconds
QUERY: dict[str, Any] = {
    "analysis_type": "sum",
    "event_collection": "sales",
    "target_property": "price",
    "timeframe": "this_7_days",
    "timezone": None,
    "interval": "daily",
}


def dataset(index_by: Any = "shop", **query: Any) -> Dataset:
    return parse_dataset("p" * 24, "d", {"query": QUERY | query, "index_by": index_by, "display_name": "D"}, NOW)


def test_a_dataset_is_read_back() -> None:
    made = dataset(["shop", "user.id"], group_by="item")
    assert read_dataset(dataset_record(made)) == made
    assert made.index_by == ("shop", "user.id")


BAD: list[tuple[Any, dict[str, Any], str]] = [
    ([], {}, "index_by"),
    (["a", "b", "c", "d"], {}, "index_by"),
    (["a", "a"], {}, "index_by"),
    (None, {}, "index_by"),
    ({"a": 1}, {}, "index_by"),
    ("shop", {"group_by": ["shop"]}, "index_by"),
    ("result", {}, "result"),
    ("shop", {"analysis_type": "multi_analysis", "analyses": {"shop": {"analysis_type": "count"}}}, "shop"),
    ("shop", {"analysis_type": "funnel"}, "funnel"),
    ("shop", {"analysis_type": "extraction"}, "extraction"),
    ("shop", {"interval": None}, "interval"),
    ("shop", {"timeframe": None}, "timeframe"),
    ("shop", {"interval": "every_2_days"}, "interval"),
    ("shop", {"limit": 5}, "limit"),
    ("shop", {"target_property": None}, "target_property"),
    ("shop", {"timeframe": "this_9_years", "interval": "minutely"}, "interval"),
]


@pytest.mark.parametrize(("index_by", "query", "part"), BAD)
def test_what_is_no_dataset(index_by: Any, query: dict[str, Any], part: str) -> None:
    with pytest.raises(QueryError, match=part):
        dataset(index_by, **query)


@pytest.mark.parametrize(
    ("given", "index_by", "expected"),
    [
        ("north", ("a",), [("north",)]),
        ("4", ("a",), [("4",), (4,)]),
        ("true", ("a",), [("true",), (True,)]),
        ('"4"', ("a",), [("4",)]),
        ("[4]", ("a",), [(4,)]),
        ('["4", 2.5]', ("a", "b"), [("4", 2.5)]),
        ('{"b": 1, "a": "x"}', ("a", "b"), [("x", 1)]),
        ("{broken", ("a",), [("{broken",)]),
    ],
)
def test_the_forms_of_an_index(given: str, index_by: tuple[str, ...], expected: list[Any]) -> None:
    found = parse_index(given, index_by)
    assert [index_text(one) for one in found] == [index_text(one) for one in expected]


@pytest.mark.parametrize(
    ("given", "index_by"),
    [("x", ("a", "b")), ("[1]", ("a", "b")), ('{"a": 1}', ("a", "b")), ('{"c": 1}', ("a",)), ("[[1]]", ("a",)), ("null", ("a",)), ('{"a": {"b": 1}}', ("a",))],
)  # fmt: skip
def test_what_is_no_index(given: str, index_by: tuple[str, ...]) -> None:
    with pytest.raises(QueryError, match="index_by"):
        parse_index(given, index_by)


def test_numbers_that_are_equal_are_one_index_and_no_others_are() -> None:
    assert index_text((4.0,)) == index_text((4,))
    assert len({index_text((one,)) for one in (1, "1", True, 1.5, "true")}) == 5


def test_buckets_are_whole_whatever_touches_them() -> None:
    definition = dataset(timezone="Europe/Berlin").definition(NOW)
    assert definition.timeframe is not None
    midnight = NOW - 5_000 - 3_600_000
    spans = whole_buckets(definition, definition.timeframe)
    assert [span.start for span in spans] == [midnight + i * DAY for i in range(-6, 1)]
    assert {span.end - span.start for span in spans} == {DAY}
    assert whole_buckets(definition, Timeframe(midnight + 1, midnight + 2)) == spans[-1:]
    assert whole_buckets(definition, Timeframe(midnight - 1, midnight + 1)) == spans[-2:]


def test_groups_become_values_of_their_index() -> None:
    groups: list[dict[str, Any]] = [
        {"shop": "a", "item": 1, "result": 5},
        {"shop": None, "item": 1, "result": 6},
        {"shop": "a", "item": 2, "result": 7},
    ]
    assert list(dataset(group_by=["item"]).values(groups)) == [
        (("a",), [{"item": 1, "result": 5}, {"item": 2, "result": 7}])
    ]
    assert list(dataset().values([{"shop": "a", "result": 5}])) == [(("a",), 5)]
    assert dataset().nothing == 0
    assert dataset(analysis_type="average").nothing is None
    assert dataset(group_by="item").nothing == []
