"""The questions of the query benchmark: each as a definition, as SQL by somebody who knows ClickHouse well, and as SQL for DuckDB.

The ClickHouse SQL keeps the promise that every answer keeps: an event that is stored twice counts once, as it was stored last (FINAL,
and no PREWHERE on properties, which would look at copies that are replaced). It knows what types the properties have, and
reads their typed subcolumns. The Parquet files have each event once to begin with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.query_data import COLLECTION

TABLE = "{table}"  # what stands for the table, or the files, in a question's SQL
YEAR = ("2025-01-01", "2026-01-01")
HALF = ("2025-07-01", "2026-01-01")
QUARTER = ("2025-10-01", "2026-01-01")
MONTH = ("2025-12-01", "2026-01-01")
WEEK = ("2025-12-07", "2025-12-14")
COHORTS, RETURNS = ("2025-09-07", "2025-10-05"), ("2025-09-07", "2025-11-30")
NUMBERS = "coalesce(p.price.:Float64, toFloat64(p.price.:Int64))"


@dataclass(frozen=True)
class Question:
    """One question. Its SQL gives rows of what the answer's groups have: [bucket,] keys..., results...; those whose results are
    nothing (0, null, an empty list) may be left out."""

    name: str
    analysis: str
    params: dict[str, Any]
    clickhouse: str
    duckdb: str
    rows: Callable[[Any], list[Sequence[Any]]] | None = None  # of an answer that has no groups


def _span(bounds: tuple[str, str]) -> dict[str, str]:
    return {"start": f"{bounds[0]}T00:00:00Z", "end": f"{bounds[1]}T00:00:00Z"}


def _time(bounds: tuple[str, str]) -> str:
    """The condition on the time, for both."""
    return f"timestamp >= '{bounds[0]} 00:00:00' AND timestamp < '{bounds[1]} 00:00:00'"


def _filter(name: str, operator: str, value: Any) -> dict[str, Any]:
    return {"property_name": name, "operator": operator, "property_value": value}


def _question(
    name: str,
    analysis: str,
    bounds: tuple[str, str],
    clickhouse: tuple[str, str, str],
    duckdb: tuple[str, str, str],
    **params: Any,
) -> Question:
    """A question of one SELECT: what it selects, what else must hold, what comes after."""
    texts = []
    for (columns, condition, tail), source in ((clickhouse, f"{TABLE} FINAL"), (duckdb, TABLE)):
        where = f"{_time(bounds)}{' AND ' if condition else ''}{condition}"
        texts.append(f"SELECT {columns} FROM {source} WHERE {where} {tail}")
    return Question(
        name,
        analysis,
        {"event_collection": COLLECTION, "timeframe": _span(bounds)} | params,
        _paths(texts[0]),
        texts[1],
    )


def _paths(sql: str) -> str:
    """`p.` is short for the JSON column."""
    return sql.replace("p.", "properties.")


_TOP = {"order_by": [{"property_name": "result", "direction": "DESC"}]}
_FUNNEL = ("view", "cart", "purchase")

QUESTIONS = (
    _question("count of a year", "count", YEAR, ("count()", "", ""), ("count(*)", "", "")),
    _question(
        "count by country",
        "count",
        YEAR,
        ("p.country.:String AS country, count()", "", "GROUP BY country"),
        ("country, count(*)", "", "GROUP BY country"),
        group_by="country",
    ),
    _question(
        "count by two, some missing",
        "count",
        QUARTER,
        ("p.device.os.:String AS os, p.user.plan.:String AS plan, count()", "", "GROUP BY os, plan"),
        ("device_os, user_plan, count(*)", "", "GROUP BY ALL"),
        group_by=["device.os", "user.plan"],
    ),
    _question(
        "top 20 of 20,000 pages",
        "count",
        MONTH,
        ("p.page.path.:String AS page, count() AS n", "", "GROUP BY page ORDER BY n DESC, page LIMIT 20"),
        ("page_path, count(*) AS n", "", "GROUP BY page_path ORDER BY n DESC, page_path LIMIT 20"),
        group_by="page.path",
        limit=20,
        **_TOP,
    ),
    _question(
        "top 10 countries by sum of price",
        "sum",
        YEAR,
        (f"p.country.:String AS country, sum({NUMBERS}) AS total", "", "GROUP BY country ORDER BY total DESC LIMIT 10"),
        ("country, sum(price) AS total", "", "GROUP BY country ORDER BY total DESC LIMIT 10"),
        target_property="price",
        group_by="country",
        limit=10,
        **_TOP,
    ),
    _question(
        "average daily in New York",
        "average",
        QUARTER,
        ("toStartOfDay(timestamp, 'America/New_York') AS day, avg(p.latency.:Float64)", "", "GROUP BY day"),
        (
            "date_trunc('day', timestamp AT TIME ZONE 'America/New_York') AT TIME ZONE 'America/New_York' AS day, avg(latency)",
            "",
            "GROUP BY day",
        ),
        target_property="latency",
        interval="daily",
        timezone="America/New_York",
    ),
    _question(
        "count monthly by country, filtered",
        "count",
        YEAR,
        (
            "toStartOfMonth(timestamp) AS month, p.country.:String AS country, count()",
            "p.kind.:String = 'purchase'",
            "GROUP BY month, country",
        ),
        ("date_trunc('month', timestamp) AS month, country, count(*)", "kind = 'purchase'", "GROUP BY month, country"),
        interval="monthly",
        group_by="country",
        filters=[_filter("kind", "eq", "purchase")],
    ),
    _question(
        "minimum by version",
        "minimum",
        HALF,
        ("p.version.:String AS version, min(p.latency.:Float64)", "", "GROUP BY version"),
        ("version, min(latency)", "", "GROUP BY version"),
        target_property="latency",
        group_by="version",
    ),
    _question(
        "maximum weekly",
        "maximum",
        HALF,
        ("toStartOfWeek(timestamp) AS week, max(p.score.:Int64)", "", "GROUP BY week"),
        (
            "date_trunc('week', timestamp + INTERVAL 1 DAY) - INTERVAL 1 DAY AS week, max(score)",
            "",
            "GROUP BY week",
        ),
        target_property="score",
        interval="weekly",
    ),
    _question(
        "median of mixed numbers",
        "median",
        YEAR,
        (f"quantileExactLow({NUMBERS})", "", ""),
        ("quantile_disc(price, 0.5)", "", ""),
        target_property="price",
    ),
    _question(
        "percentile by browser",
        "percentile",
        QUARTER,
        (
            "p.device.browser.:String AS browser, quantileExact(0.95 - 1e-12)(p.latency.:Float64)",
            "",
            "GROUP BY browser",
        ),
        ("device_browser, quantile_disc(latency, 0.95)", "", "GROUP BY device_browser"),
        target_property="latency",
        percentile=95,
        group_by="device.browser",
    ),
    _question(
        "unique users by country",
        "count_unique",
        YEAR,
        ("p.country.:String AS country, uniqExact(p.user.id.:String)", "", "GROUP BY country"),
        ("country, count(DISTINCT user_id)", "", "GROUP BY country"),
        target_property="user.id",
        group_by="country",
    ),
    _question(
        "unique sessions hourly",
        "count_unique",
        WEEK,
        ("toStartOfHour(timestamp) AS hour, uniqExact(p.session.:String)", "", "GROUP BY hour"),
        ("date_trunc('hour', timestamp) AS hour, count(DISTINCT session)", "", "GROUP BY hour"),
        target_property="session",
        interval="hourly",
    ),
    _question(
        "unique values of those who have a coupon",
        "select_unique",
        YEAR,
        ("groupUniqArray(p.device.browser.:String)", "p.coupon.:String IS NOT NULL", ""),
        ("list(DISTINCT device_browser)", "coupon IS NOT NULL", ""),
        target_property="device.browser",
        filters=[_filter("coupon", "exists", True)],
    ),
    _question(
        "count weekly, text and number filtered",
        "count",
        HALF,
        (
            "toStartOfWeek(timestamp) AS week, count()",
            "p.page.title.:String LIKE '%blue%' AND p.latency.:Float64 > 1000 AND p.returning.:Bool",
            "GROUP BY week",
        ),
        (
            "date_trunc('week', timestamp + INTERVAL 1 DAY) - INTERVAL 1 DAY AS week, count(*)",
            "page_title LIKE '%blue%' AND latency > 1000 AND \"returning\"",
            "GROUP BY week",
        ),
        interval="weekly",
        filters=[
            _filter("page.title", "contains", "blue"),
            _filter("latency", "gt", 1000),
            _filter("returning", "eq", True),
        ],
    ),
    _question(
        "count, in or regex",
        "count",
        QUARTER,
        (
            "count()",
            "(p.country.:String IN ('DE', 'FR', 'AT', 'CH') OR match(p.referrer.:String, 'q=1[0-9]{3}$'))"
            " AND NOT ifNull(p.user.plan.:String = 'free', 0)",
            "",
        ),
        (
            "count(*)",
            "(country IN ('DE', 'FR', 'AT', 'CH') OR regexp_matches(referrer, 'q=1[0-9]{3}$'))"
            " AND user_plan IS DISTINCT FROM 'free'",
            "",
        ),
        filters=[
            {
                "operator": "or",
                "operands": [
                    _filter("country", "in", ["DE", "FR", "AT", "CH"]),
                    _filter("referrer", "regex", "q=1[0-9]{3}$"),
                ],
            },
            _filter("user.plan", "ne", "free"),
        ],
    ),
    _question(
        "sum by plan, list filtered",
        "sum",
        HALF,
        (
            "p.user.plan.:String AS plan, sum(p.quantity.:Int64)",
            "has(p.tags.:`Array(Nullable(String))`, 'sale')",
            "GROUP BY plan",
        ),
        ("user_plan, sum(quantity)", "list_contains(tags, 'sale')", "GROUP BY user_plan"),
        target_property="quantity",
        group_by="user.plan",
        filters=[_filter("tags", "contains", "sale")],
    ),
    _question(
        "five figures by kind",
        "multi_analysis",
        MONTH,
        (
            f"p.kind.:String AS kind, count(), ifNull(sum({NUMBERS}), 0), max({NUMBERS}), stddevSampStable(p.latency.:Float64),"
            " uniqExact(p.user.id.:String)",
            "",
            "GROUP BY kind",
        ),
        (
            "kind, count(*), coalesce(sum(price), 0), max(price), stddev_samp(latency), count(DISTINCT user_id)",
            "",
            "GROUP BY kind",
        ),
        group_by="kind",
        analyses={
            "events": {"analysis_type": "count"},
            "total": {"analysis_type": "sum", "target_property": "price"},
            "dearest": {"analysis_type": "maximum", "target_property": "price"},
            "deviation": {"analysis_type": "standard_deviation", "target_property": "latency"},
            "users": {"analysis_type": "count_unique", "target_property": "user.id"},
        },
    ),
    Question(
        "funnel of three steps",
        "funnel",
        {
            "steps": [
                {
                    "event_collection": COLLECTION,
                    "actor_property": "user.id",
                    "timeframe": _span(MONTH),
                    "filters": [_filter("kind", "eq", kind)],
                }
                for kind in _FUNNEL
            ]
        },
        _paths(
            "SELECT countIf(done[1]), countIf(done[1] AND done[2]), countIf(done[1] AND done[2] AND done[3]) FROM (SELECT"
            " p.user.id.:String AS actor, maxForEach([p.kind.:String = 'view', p.kind.:String = 'cart', p.kind.:String = 'purchase'])"
            f" AS done FROM {TABLE} FINAL WHERE {_time(MONTH)} AND p.kind.:String IN ('view', 'cart', 'purchase')"
            " AND actor IS NOT NULL GROUP BY actor)"
        ),
        "SELECT count(*) FILTER (v), count(*) FILTER (v AND c), count(*) FILTER (v AND c AND p) FROM (SELECT user_id,"
        " bool_or(kind = 'view') AS v, bool_or(kind = 'cart') AS c, bool_or(kind = 'purchase') AS p"
        f" FROM {TABLE} WHERE {_time(MONTH)} AND kind IN ('view', 'cart', 'purchase') GROUP BY user_id)",
        lambda answer: [answer],
    ),
    Question(
        "retention over eight weeks",
        "retention",
        {
            "first_event": {
                "event_collection": COLLECTION,
                "actor_property": "user.id",
                "filters": [_filter("kind", "eq", "purchase")],
            },
            "returning_event": {"event_collection": COLLECTION, "actor_property": "user.id"},
            "timeframe": _span(COHORTS),
            "unit": "week",
            "units": 8,
        },
        _paths(
            "SELECT cohort, count(), sumForEach(arrayMap(k -> toUInt64(has(weeks, k)), range(9))) FROM (SELECT"
            " min(first) AS began, intDiv(began, 604800000) AS cohort, arrayMap(pair -> pair.1 - assumeNotNull(cohort),"
            " arrayFilter(pair -> pair.2 > assumeNotNull(began), groupArray((week, last)))) AS weeks FROM ("
            f"WITH toUnixTimestamp64Milli(timestamp) - toUnixTimestamp('{COHORTS[0]} 00:00:00', 'UTC') * 1000 AS ms"
            " SELECT p.user.id.:String AS actor, intDiv(ms, 604800000) AS week, max(ms) AS last,"
            f" minOrNullIf(ms, p.kind.:String = 'purchase' AND timestamp < '{COHORTS[1]} 00:00:00') AS first"
            f" FROM {TABLE} FINAL WHERE {_time(RETURNS)} AND actor IS NOT NULL GROUP BY actor, week)"
            " GROUP BY actor HAVING began IS NOT NULL) GROUP BY cohort"
        ),
        f"WITH e AS (SELECT user_id, kind, timestamp AS t, date_diff('day', TIMESTAMPTZ '{COHORTS[0]}', timestamp) // 7 AS week"
        f" FROM {TABLE} WHERE {_time(RETURNS)}), f AS (SELECT user_id, min(t) AS began, min(week) AS cohort FROM e"
        f" WHERE kind = 'purchase' AND t < TIMESTAMPTZ '{COHORTS[1]}' GROUP BY user_id), r AS (SELECT DISTINCT user_id, cohort, week - cohort AS k"
        " FROM e JOIN f USING (user_id) WHERE t > began AND week - cohort <= 8), c AS (SELECT cohort, count(*) AS n FROM f GROUP BY cohort)"
        f" SELECT cohort, any_value(n), [{', '.join(f'count(*) FILTER (k = {k})' for k in range(9))}]"
        " FROM c LEFT JOIN r USING (cohort) GROUP BY cohort",
        lambda answer: [[i, one["actors"], one["returned"]] for i, one in enumerate(answer)],
    ),
    Question(
        "extraction of the latest 100",
        "extraction",
        {
            "event_collection": COLLECTION,
            "timeframe": _span(YEAR),
            "latest": 100,
            "filters": [_filter("kind", "eq", "purchase"), _filter("country", "eq", "DE")],
        },
        _paths(
            "SELECT toString(id), p.session.:String, properties, timestamp, received_at FROM {table} FINAL"
            f" WHERE {_time(YEAR)} AND p.kind.:String = 'purchase' AND p.country.:String = 'DE'"
            " ORDER BY timestamp DESC, id DESC LIMIT 100"
        ),
        f"SELECT id, session, * FROM {TABLE} WHERE {_time(YEAR)} AND kind = 'purchase' AND country = 'DE'"
        " ORDER BY timestamp DESC, id DESC LIMIT 100",
        lambda answer: [[one["keen"]["id"], one["session"]] for one in answer],
    ),
)
