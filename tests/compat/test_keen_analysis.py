"""The unmodified `keen-analysis` 3.7.0 from npm, its browser build in Node, asking a whole stack."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from statistics import mean, stdev
from typing import Any

import pytest

from headwater.client.client import Client
from tests.node import Node
from tests.stack import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

START = datetime(2026, 1, 1, tzinfo=UTC)
SPAN = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-04T00:00:00Z"}
ITEMS = ("book", "lamp", "pen")
PURCHASES: list[dict[str, Any]] = [
    {
        "item": {"id": ITEMS[n % 3]},
        "price": n + 0.5,
        "user": f"user-{n % 5}",
        "gift": n % 6 == 0,
        "keen": {"timestamp": (START + timedelta(days=n // 10, hours=n % 10)).isoformat()},
    }
    for n in range(30)
]
PRICES = [purchase["price"] for purchase in PURCHASES]
# Two of the five came back.
RETURNS = [{"who": f"user-{n}", "keen": {"timestamp": "2026-01-03T12:00:00Z"}} for n in (1, 3)]
ASKED = {"eventCollection": "js_purchases", "timeframe": SPAN, "timezone": "UTC"}
PRICE = ASKED | {"targetProperty": "price"}


class Analysis:
    """Calls of the client as JSON, against the stack."""

    def __init__(self, node: Node, stack: RunningStack) -> None:
        status = stack.status
        self._node = node
        self.keys = {
            "projectId": status["project_id"],
            "readKey": status["read_key"],
            "masterKey": status["master_key"],
            "protocol": "http",
            "host": status["url"].removeprefix("http://"),
        }

    def outcomes(self, *calls: dict[str, Any], timezone: str = "UTC", **settings: Any) -> list[dict[str, Any]]:
        """What became of each call, on a machine in `timezone`, with other settings of the client."""
        given = {"client": self.keys | settings, "calls": list(calls)}
        answers: list[dict[str, Any]] = self._node.run("keen_analysis", given, timezone)
        return answers

    def ask(self, *calls: dict[str, Any], timezone: str = "UTC", **settings: Any) -> list[Any]:
        """The answers of calls of which each succeeds."""
        outcomes = self.outcomes(*calls, timezone=timezone, **settings)
        assert all("rejected" not in outcome for outcome in outcomes), outcomes
        return [outcome.get("resolved") for outcome in outcomes]

    def results(self, *queries: dict[str, Any], timezone: str = "UTC") -> list[Any]:
        """`result` of each query."""
        return [answer["result"] for answer in self.ask(*map(query, queries), timezone=timezone)]

    def http(self, method: str, *url: str, **options: Any) -> dict[str, Any]:
        """A call of one of the client's HTTP methods, with the master key."""
        return {"method": method, "url": list(url), "with": [{"api_key": self.keys["masterKey"]} | options]}


def query(parameters: dict[str, Any]) -> dict[str, Any]:
    """The client's `query` with one object."""
    return {"method": "query", "with": [parameters]}


@pytest.fixture(scope="module")
def hw(stack: RunningStack) -> Iterator[Client]:
    with stack.client() as client:
        yield client


@pytest.fixture(scope="module")
def keen(node: Node, stack: RunningStack, hw: Client) -> Analysis:
    """The client, with a collection of purchases and one of returns in place."""
    hw.add_events("js_purchases", PURCHASES)
    hw.add_events("js_returns", RETURNS)
    hw.flush()
    wait_until(lambda: (hw.count("js_purchases").value, hw.count("js_returns").value) == (30, 2), 60, every=0.25)
    return Analysis(node, stack)


def test_single_numbers(keen: Analysis) -> None:
    expected: dict[str, Any] = {
        "count": 30,
        "sum": sum(PRICES),
        "minimum": 0.5,
        "maximum": 29.5,
        "average": pytest.approx(mean(PRICES)),
        "median": PRICES[14],
        "standard_deviation": pytest.approx(stdev(PRICES)),
        "count_unique": 30,
    }
    answers = keen.results(*(PRICE | {"analysisType": analysis} for analysis in expected))
    assert dict(zip(expected, answers, strict=True)) == expected
    percentile, users = keen.results(
        PRICE | {"analysisType": "percentile", "percentile": 90},
        ASKED | {"analysisType": "select_unique", "targetProperty": "user"},
    )
    assert percentile == PRICES[26]
    assert sorted(users) == [f"user-{n}" for n in range(5)]
    (answer,) = keen.ask({"method": "query", "with": ["count", {"event_collection": "js_purchases"}]})
    assert answer["result"] == 30
    assert answer["query"]["analysis_type"] == "count", "the client adds what it asked where the answer does not say"


def test_filters(keen: Analysis) -> None:
    def having(*filters: tuple[str, str, Any]) -> dict[str, Any]:
        names = ("propertyName", "operator", "propertyValue")
        given = [dict(zip(names, one, strict=True)) for one in filters]
        return ASKED | {"analysisType": "count", "filters": given}

    either = {"operator": "or", "operands": having(("price", "lt", 2), ("price", "gt", 28))["filters"]}
    assert keen.results(
        having(("item.id", "eq", "pen")),
        having(("item.id", "ne", "pen"), ("price", "gte", 20.5)),
        having(("item.id", "in", ["pen", "lamp"])),
        having(("gift", "eq", True)),
        having(("user", "contains", "-4")),
        having(("nothing", "exists", False)),
        ASKED | {"analysisType": "count", "filters": [either]},
    ) == [10, 6, 20, 5, 6, 30, 4]


def test_groups_in_order(keen: Analysis) -> None:
    totals = {item: sum(PRICES[n] for n in range(30) if n % 3 == k) for k, item in enumerate(ITEMS)}
    rows = [{"item.id": item, "result": total} for item, total in totals.items()]
    grouped = PRICE | {"analysisType": "sum", "groupBy": "item.id"}
    most = {"orderBy": [{"propertyName": "result", "direction": "DESC"}]}
    plain, ordered, two, both = keen.results(
        grouped, grouped | most, grouped | most | {"limit": 2}, grouped | {"groupBy": ["item.id", "gift"]}
    )
    assert plain == rows
    assert ordered == rows[::-1]
    assert two == rows[:0:-1]
    assert all(row.keys() == {"item.id", "gift", "result"} for row in both)
    assert sum(row["result"] for row in both) == sum(PRICES)


def test_intervals_and_zones(keen: Analysis) -> None:
    daily = ASKED | {"analysisType": "count", "interval": "daily"}
    plain, grouped, named, offset = keen.results(
        daily, daily | {"groupBy": "item.id"}, daily | {"timezone": "Asia/Tokyo"}, daily | {"timezone": 32400}
    )
    assert [bucket["value"] for bucket in plain] == [10, 10, 10]
    assert plain[0]["timeframe"] == {"start": "2026-01-01T00:00:00.000Z", "end": "2026-01-02T00:00:00.000Z"}
    assert [{row["item.id"]: row["result"] for row in bucket["value"]} for bucket in grouped] == [
        {"book": 4, "lamp": 3, "pen": 3},
        {"book": 3, "lamp": 4, "pen": 3},
        {"book": 3, "lamp": 3, "pen": 4},
    ]
    assert offset == named
    assert named[0]["timeframe"]["end"] == "2026-01-02T00:00:00.000+09:00"
    # Without a zone, the client sends its own machine's.
    (own,) = keen.results({name: daily[name] for name in daily if name != "timezone"}, timezone="Asia/Tokyo")
    assert own == named


def test_extractions(keen: Analysis) -> None:
    extraction = ASKED | {"analysisType": "extraction"}
    events, latest, nothing = keen.results(
        extraction,
        extraction | {"latest": 2, "propertyNames": ["price", "item.id"]},
        extraction | {"eventCollection": "js_nothing"},
    )
    assert sorted(event["price"] for event in events) == PRICES
    assert all({"timestamp", "created_at", "id"} <= event["keen"].keys() for event in events)
    assert latest == [{"price": 29.5, "item": {"id": "pen"}}, {"price": 28.5, "item": {"id": "lamp"}}]
    assert nothing == []


def test_funnels(keen: Analysis) -> None:
    steps = [
        {"eventCollection": "js_purchases", "actorProperty": "user", "withActors": True},
        {"eventCollection": "js_returns", "actorProperty": "who", "withActors": True},
        {"eventCollection": "js_returns", "actorProperty": "who", "inverted": True, "timeframe": "this_1_days"},
    ]
    (funnel,) = keen.ask(query({"analysisType": "funnel", "timeframe": SPAN, "timezone": "UTC", "steps": steps}))
    assert funnel["result"] == [5, 2, 2]
    assert [step["event_collection"] for step in funnel["steps"]] == ["js_purchases", "js_returns", "js_returns"]
    assert sorted(funnel["actors"][1]) == ["user-1", "user-3"]


def test_several_figures_at_once(keen: Analysis) -> None:
    """The client writes the labels in lower case, with underscores."""
    figures = {
        "totalPrice": {"analysisType": "sum", "targetProperty": "price"},
        "users": {"analysisType": "count_unique", "targetProperty": "user"},
    }
    asked = ASKED | {"analysisType": "multi_analysis", "analyses": figures}
    plain, grouped, daily, both = keen.results(
        asked,
        asked | {"groupBy": "item.id"},
        asked | {"interval": "daily"},
        asked | {"groupBy": "item.id", "interval": "daily"},
    )
    assert plain == {"total_price": sum(PRICES), "users": 5}
    assert [row["item.id"] for row in grouped] == list(ITEMS)
    assert sum(row["total_price"] for row in grouped) == sum(PRICES)
    assert [bucket["value"] for bucket in daily] == [
        {"total_price": sum(PRICES[start : start + 10]), "users": 5} for start in (0, 10, 20)
    ]
    assert sum(row["total_price"] for bucket in both for row in bucket["value"]) == sum(PRICES)
    assert all(row.keys() == {"item.id", "total_price", "users"} for bucket in both for row in bucket["value"])


def test_saved_queries(keen: Analysis) -> None:
    url = ("queries", "saved", "js-sold")
    saved = {"analysis_type": "sum", "event_collection": "js_purchases", "target_property": "price", "timeframe": SPAN}
    definition = {"query": saved, "refresh_rate": 14400, "metadata": {"display_name": "Sold"}}
    made, found, *results, deleted = keen.ask(
        keen.http("put", *url, params=definition),
        keen.http("get", *url),
        query({"savedQueryName": "js-sold"}),
        {"method": "query", "with": ["saved", "js-sold"]},
        {"method": "run", "with": ["js-sold"]},
        keen.http("del", *url),
    )
    assert found["query_name"] == made["query_name"] == "js-sold"
    assert {name: found[name] for name in definition} == definition
    for result in results:
        assert (result["result"], result["query"], result["metadata"]["display_name"]) == (sum(PRICES), saved, "Sold")
    assert deleted == {}
    (gone,) = keen.outcomes(query({"savedQueryName": "js-sold"}))
    assert (gone["rejected"]["status"], gone["rejected"]["error_code"]) == (404, "ResourceNotFoundError")


def test_datasets(keen: Analysis) -> None:
    url = ("datasets", "js-by-item")
    definition = {
        "display_name": "By item",
        "index_by": ["item.id"],
        "query": {
            "analysis_type": "count",
            "event_collection": "js_purchases",
            "timeframe": "this_5_years",
            "interval": "daily",
            "timezone": "UTC",
        },
    }
    made, pens, lamps, deleted = keen.ask(
        keen.http("put", *url, params=definition),
        query({"datasetName": "js-by-item", "indexBy": {"item.id": "pen"}, "timeframe": SPAN}),
        {"method": "query", "with": ["dataset", {"name": "js-by-item", "index_by": "lamp", "timeframe": SPAN}]},
        keen.http("del", *url),
    )
    assert (made["dataset_name"], made["index_by"]) == ("js-by-item", ["item.id"])
    assert [bucket["value"] for bucket in pens["result"]] == [3, 3, 4]
    assert [bucket["value"] for bucket in lamps["result"]] == [3, 4, 3]
    assert deleted == {}


def test_errors_have_the_clients_shape(keen: Analysis) -> None:
    count = query(ASKED | {"analysisType": "count"})
    refused = [
        (count, {"readKey": "0" * 64}, 401, "InvalidApiKeyError"),
        (count, {"projectId": "0" * 24}, 404, "ResourceNotFoundError"),
        (query(ASKED | {"analysisType": "count", "timeframe": "now and then"}), {}, 400, "TimeframeDefinitionError"),
        (query(ASKED | {"analysisType": "guess"}), {}, 404, "ResourceNotFoundError"),
    ]
    for asked, settings, status, code in refused:
        (outcome,) = keen.outcomes(asked, **settings)
        error = outcome["rejected"]
        assert (error["ok"], error["status"], error["error_code"]) == (False, status, code)
        assert error["body"]


def test_access_keys(keen: Analysis) -> None:
    pens = [{"property_name": "item.id", "operator": "eq", "property_value": "pen"}]
    options = {"queries": {"filters": pens}}
    params = {"name": "pens", "permitted": ["queries"], "options": options}
    (key,) = keen.ask(keen.http("post", "projectId", "keys", params=params))
    count = query(ASKED | {"analysisType": "count"})
    (answer,) = keen.ask(count, readKey=key["key"])
    assert answer["result"] == 10
    (revoked,) = keen.ask(keen.http("post", "projectId", "keys", key["key"], "revoke"))
    assert revoked["is_active"] is False
    (outcome,) = keen.outcomes(count, readKey=key["key"])
    assert outcome["rejected"]["status"] == 401


def test_looking_around_and_deleting(keen: Analysis, hw: Client) -> None:
    hw.add_events("js_deleted", [event | {"n": n} for n, event in enumerate(PURCHASES)])
    hw.flush()
    wait_until(lambda: hw.count("js_deleted").value == 30 and "js_deleted" in hw.collections(), 60, every=0.25)
    url = ("events", "js_deleted")
    pens = [{"propertyName": "item.id", "operator": "eq", "propertyValue": "pen"}]
    day = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}
    count = query({"analysisType": "count", "eventCollection": "js_deleted"})
    project, schema, some, left, whole, none = keen.ask(
        keen.http("get", "projectId"),
        keen.http("get", *url),
        keen.http("del", *url, filters=pens, timeframe=day, timezone="UTC"),
        count,
        keen.http("del", *url),
        count,
    )
    assert "js_deleted" in [collection["name"] for collection in project["events"]]
    assert schema["properties"]["item.id"] == "string"
    assert (some, whole) == ({}, {})
    assert (left["result"], none["result"]) == (27, 0)
