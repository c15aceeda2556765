"""Every example of the page, in the page's order: they are asked in this order, and the last ones delete."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from docs.queries.example import Example, Question, Request

TWO_WEEKS = {"start": "2026-03-01", "end": "2026-03-15"}
NEW_YORK = "America/New_York"
LARGEST = {"property_name": "result", "direction": "DESC"}
VISIT = {"event_collection": "visits", "actor_property": "customer.id"}
BASKET = {"property_name": "page", "operator": "eq", "property_value": "/basket"}
BUY = {"event_collection": "purchases", "actor_property": "customer.id"}
FROM_FRANCE = {"property_name": "customer.country", "operator": "eq", "property_value": "FR"}
REVENUE = {"analysis_type": "sum", "event_collection": "purchases", "target_property": "price"}


def purchases(name: str, asks: str, analysis: str, **parameters: Any) -> Question:
    """A question about the purchases."""
    return Question(name, asks, analysis, {"event_collection": "purchases", **parameters})


ANALYSES = (
    purchases("count", "How many purchases are there?", "count"),
    purchases("count-unique", "How many customers bought?", "count_unique", target_property="customer.id"),
    purchases("sum", "What is the revenue?", "sum", target_property="price"),
    purchases("average", "What does a purchase cost on average?", "average", target_property="price"),
    purchases("minimum", "What was the cheapest purchase?", "minimum", target_property="price"),
    purchases("maximum", "What was the dearest purchase?", "maximum", target_property="price"),
    purchases("last-time", "When was the last purchase?", "maximum", target_property="keen.timestamp"),
    purchases("median", "What is the price in the middle?", "median", target_property="price"),
    purchases(
        "percentile",
        "Which price do 90 % of the purchases not exceed?",
        "percentile",
        target_property="price",
        percentile=90,
    ),
    purchases("deviation", "How much do prices differ?", "standard_deviation", target_property="price"),
    purchases("select-unique", "Which prices are there?", "select_unique", target_property="price"),
    purchases(
        "extraction",
        "The two latest purchases themselves, some of their properties.",
        "extraction",
        latest=2,
        property_names=["keen.timestamp", "item", "customer.id"],
    ),
    purchases(
        "multi-analysis",
        "Orders, customers and revenue, by item.",
        "multi_analysis",
        analyses={
            "orders": {"analysis_type": "count"},
            "customers": {"analysis_type": "count_unique", "target_property": "customer.id"},
            "revenue": {"analysis_type": "sum", "target_property": "price"},
        },
        group_by="item",
    ),
)

FUNNELS = (
    Question(
        "funnel",
        "Of those who visited in these two weeks, how many looked into the basket, and how many bought?",
        "funnel",
        {"steps": [VISIT, {**VISIT, "filters": [BASKET]}, BUY], "timeframe": TWO_WEEKS},
    ),
    Question(
        "funnel-ordered",
        "How many bought within a day of a visit, after it?",
        "funnel",
        {"steps": [VISIT, BUY], "timeframe": TWO_WEEKS, "ordered": True, "window": "1 day"},
        without="steps",
    ),
    Question(
        "funnel-optional",
        "How many visitors bought, whether or not the basket was looked into, and how many did look?",
        "funnel",
        {"steps": [VISIT, {**VISIT, "filters": [BASKET], "optional": True}, BUY], "timeframe": TWO_WEEKS},
        without="steps",
    ),
    Question(
        "funnel-inverted",
        "Who visited and did not buy?",
        "funnel",
        {"steps": [VISIT, {**BUY, "inverted": True, "with_actors": True}], "timeframe": TWO_WEEKS},
        without="steps",
    ),
)

RETENTIONS = (
    Question(
        "retention",
        "Who comes back to the shop in the weeks after the first visit?",
        "retention",
        {"first_event": VISIT, "unit": "week", "units": 2, "timeframe": TWO_WEEKS},
    ),
    Question(
        "retention-rolling",
        "Who buys in a week after the first visit, or in a later one?",
        "retention",
        {
            "first_event": VISIT,
            "returning_event": BUY,
            "unit": "week",
            "units": 2,
            "rolling": True,
            "timeframe": TWO_WEEKS,
        },
    ),
)

TIMES = (
    purchases(
        "timeframe", "How many purchases were there from 1 March to before 15 March?", "count", timeframe=TWO_WEEKS
    ),
    purchases(
        "interval",
        "The revenue of each week.",
        "sum",
        target_property="price",
        timeframe=TWO_WEEKS,
        interval="weekly",
    ),
    purchases(
        "daylight-saving",
        "The purchases of each day in New York, where the clocks were put forward on 8 March.",
        "count",
        timeframe={"start": "2026-03-07T00:00:00-05:00", "end": "2026-03-10T00:00:00-04:00"},
        timezone=NEW_YORK,
        interval="daily",
    ),
    purchases(
        "every-n",
        "The average price of every five days.",
        "average",
        target_property="price",
        timeframe=TWO_WEEKS,
        interval="every_5_days",
    ),
    purchases(
        "interval-groups",
        "The revenue of each week by country.",
        "sum",
        target_property="price",
        timeframe=TWO_WEEKS,
        interval="weekly",
        group_by="customer.country",
    ),
    purchases(
        "no-zero-fill",
        "The same without groups that have nothing in a week.",
        "sum",
        target_property="price",
        timeframe=TWO_WEEKS,
        interval="weekly",
        group_by="customer.country",
        zero_fill=False,
    ),
)

GROUPS = (
    purchases("group-by", "How many purchases of each item?", "count", group_by="item"),
    purchases(
        "group-by-two",
        "What do the customers of each country spend on gifts and on the rest?",
        "sum",
        target_property="price",
        group_by=["customer.country", "gift"],
    ),
    purchases(
        "buckets",
        "How many purchases in each price range of 20?",
        "count",
        group_by={"property_name": "price", "buckets": {"size": 20}},
    ),
    purchases(
        "ranges",
        "How many purchases were cheap, middling, dear?",
        "count",
        group_by={"property_name": "price", "ranges": [{"to": 10}, {"from": 10, "to": 50}, {"from": 50}]},
    ),
    purchases(
        "order-limit",
        "The two items with the most revenue.",
        "sum",
        target_property="price",
        group_by="item",
        order_by=LARGEST,
        limit=2,
    ),
    purchases(
        "order-by-two",
        "Items by how often they were bought, those bought equally often by name, last one first.",
        "count",
        group_by="item",
        order_by=[LARGEST, {"property_name": "item", "direction": "DESC"}],
    ),
)


@dataclass(frozen=True)
class FilterRow:
    """A line of the table of filters: an operator and an example of it, which is asked as `question`."""

    name: str
    meaning: str
    filter: dict[str, Any]

    @property
    def question(self) -> Question:
        """Which orders pass."""
        asks = f"Which orders pass {self.filter['operator']}?"
        return purchases(self.name, asks, "select_unique", target_property="order", filters=[self.filter])


def _row(name: str, meaning: str, path: str, operator: str, value: Any) -> FilterRow:
    return FilterRow(name, meaning, {"property_name": path, "operator": operator, "property_value": value})


FILTERS = (
    _row("eq", "is this value, or is a list that has it", "item", "eq", "lamp"),
    _row("eq-list", "", "tags", "eq", "home"),
    _row("eq-null", "with null: there is no value", "price", "eq", None),
    _row("ne", "not `eq`; so also true without a value", "customer.country", "ne", "FR"),
    _row("lt", "is less; texts in the order of their characters, upper case first", "price", "lt", 12),
    _row("lte", "is less or equal", "price", "lte", 12),
    _row("gt", "is greater", "price", "gt", 12),
    _row("gt-text", "", "item", "gt", "lamp"),
    _row("gte", "is greater or equal; `keen.timestamp` and `keen.created_at` take times", "keen.timestamp", "gte", "2026-03-12T16:20:00Z"),
    _row("exists", "there is a value of whatever type, or with `false` there is none", "price", "exists", False),
    _row("in", "is one of these, or is a list that has one of them; null among them is no value", "item", "in", ["pen", "desk"]),
    _row("contains", "the text has this part (case counts), or the list has this member", "item", "contains", "oo"),
    _row("contains-list", "", "tags", "contains", "sale"),
    _row("not-contains", "not `contains`; so also true without a value", "tags", "not_contains", "home"),
    _row("regex", "the text has a match of this [RE2](https://github.com/google/re2/wiki/Syntax) pattern; `(?i)` for either case", "item", "regex", "^(l|d).*$"),
    _row(
        "within",
        "`keen.location.coordinates` is no further from this point (longitude, latitude) than so many miles",
        "keen.location.coordinates",
        "within",
        {"coordinates": [-74.0, 40.7], "max_distance_miles": 10},
    ),
    FilterRow(
        "or",
        "one of the operands is true; they may be `or`s themselves",
        {
            "operator": "or",
            "operands": [
                {"property_name": "item", "operator": "eq", "property_value": "desk"},
                {"property_name": "price", "operator": "lt", "property_value": 3},
            ],
        },
    ),
)  # fmt: skip

FILTERED = (
    purchases(
        "filters",
        "What do customers in France spend on each item that costs at least 10?",
        "sum",
        target_property="price",
        filters=[FROM_FRANCE, {"property_name": "price", "operator": "gte", "property_value": 10}],
        group_by="item",
    ),
)

REQUESTS = (
    Request(
        "refused",
        "A sum of nothing:",
        "POST",
        "/queries/sum",
        "R",
        {"event_collection": "purchases"},
        shows=("message", "error_code"),
    ),
    Request("schema", "What is in a collection:", "GET", "/events/purchases", "R", shows=("name", "properties")),
    Request(
        "csv",
        "Orders with what they cost, as CSV:",
        "POST",
        "/queries/extraction",
        "R",
        {
            "event_collection": "purchases",
            "property_names": ["order", "item", "price", "tags"],
            "timeframe": {"start": "2026-03-02", "end": "2026-03-04"},
            "content_type": "text/csv",
        },
    ),
    Request(
        "saved-put",
        "Save a question:",
        "PUT",
        "/queries/saved/revenue-by-item",
        "M",
        {"query": {**REVENUE, "group_by": "item", "timeframe": TWO_WEEKS}, "refresh_rate": 14_400},
        shows=("query_name", "refresh_rate", "urls"),
    ),
    Request(
        "saved-result",
        "Its result:",
        "GET",
        "/queries/saved/revenue-by-item/result",
        "R",
        shows=("query_name", "result"),
    ),
    Request(
        "dataset-put",
        "Revenue by week, for each country:",
        "PUT",
        "/datasets/revenue",
        "M",
        {
            "display_name": "Revenue of a country by week",
            "query": {**REVENUE, "timeframe": "this_24_months", "interval": "weekly"},
            "index_by": "customer.country",
        },
        shows=("dataset_name", "index_by", "status"),
    ),
    Request(
        "dataset-results",
        "France's weeks:",
        "GET",
        "/datasets/revenue/results",
        "R",
        url={"index_by": "FR", "timeframe": TWO_WEEKS},
        shows=("result",),
    ),
    Request(
        "key-create",
        "A key that may only ask, and sees French purchases only:",
        "POST",
        "/keys",
        "M",
        {"name": "France", "permitted": ["queries"], "options": {"queries": {"filters": [FROM_FRANCE]}}},
        shows=("name", "is_active", "permitted"),
        keeps="key",
    ),
    Request(
        "key-query",
        "The purchases by country as this key, `$K`, sees them:",
        "POST",
        "/queries/count",
        "K",
        {"event_collection": "purchases", "group_by": "customer.country"},
        shows=("result",),
    ),
    Request(
        "delete-events",
        "The purchases of one customer:",
        "DELETE",
        "/events/purchases",
        "M",
        url={"filters": [{"property_name": "customer.id", "operator": "eq", "property_value": "ann"}]},
        python='hw.delete_events("purchases", filters=[{"property_name": "customer.id", "operator": "eq", "property_value": "ann"}])',
    ),
    Request(
        "delete-property",
        "A property of all visits:",
        "DELETE",
        "/events/visits/properties/page",
        "M",
        python='hw.delete_property("visits", "page")',
    ),
    Request(
        "delete-collection",
        "All visits:",
        "DELETE",
        "/events/visits",
        "M",
        python='hw.delete_collection("visits")',
    ),
)

AFTER = (purchases("count-deleted", "What is left?", "count", group_by="customer.id"),)


def examples() -> Iterator[Example]:
    """All of them."""
    yield from (*ANALYSES, *FUNNELS, *RETENTIONS, *TIMES, *GROUPS, *FILTERED)
    yield from (row.question for row in FILTERS)
    yield from REQUESTS
    yield from AFTER
