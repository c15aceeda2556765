"""Parameters in the forms in which Keen's clients send them, and what is refused."""

from typing import Any

import pytest

from headwater.query.definition import Definition, Order, parse_definition
from headwater.query.errors import QueryError
from headwater.query.filters import AnyOf, Condition
from headwater.query.grouping import GroupBy
from headwater.query.intervals import Interval
from headwater.query.paths import Path

NOW = 1_711_877_400_000


def parsed(analysis: str = "count", **params: Any) -> Definition:
    definition = parse_definition(analysis, {"event_collection": "c", **params}, NOW)
    assert isinstance(definition, Definition)
    return definition


def test_native_and_textual_forms_are_one() -> None:
    native = parsed(
        "percentile",
        target_property="user.age",
        percentile=99.5,
        timeframe={"start": "2024-01-01", "end": "2024-02-01"},
        timezone=3600,
        interval="daily",
        group_by=["a", "b.c"],
        order_by=[{"property_name": "result", "direction": "DESC"}, {"property_name": "a"}],
        limit=5,
        filters=[{"property_name": "n", "operator": "in", "property_value": [1, "x", None]}],
        zero_fill=False,
    )
    textual = parsed(
        "percentile",
        target_property="user.age",
        percentile="99.5",
        timeframe='{"start": "2024-01-01", "end": "2024-02-01"}',
        timezone="3600",
        interval="daily",
        group_by='["a", "b.c"]',
        order_by='[{"property_name": "result", "direction": "DESC"}, {"property_name": "a"}]',
        limit="5",
        filters='[{"property_name": "n", "operator": "in", "property_value": [1, "x", null]}]',
        zero_fill="false",
    )
    assert native == textual
    assert native.interval == Interval("day", 1)
    assert native.group_by == (GroupBy(Path("a")), GroupBy(Path("b.c")))
    assert native.filters == (Condition(Path("n"), "in", (1, "x", None)),)


@pytest.mark.parametrize(
    ("given", "order"),
    [
        ("a", Order("a", False)),
        ('"a"', Order("a", False)),
        (["a"], Order("a", False)),
        ({"property_name": "result", "direction": "DESC"}, Order("result", True)),
        ('{"property_name": "result", "direction": "desc"}', Order("result", True)),
        ([{"property_name": "a", "direction": None}], Order("a", False)),
    ],
)
def test_forms_of_order_by(given: object, order: Order) -> None:
    assert parsed(group_by="a", order_by=given, limit=1).order_by == (order,)


@pytest.mark.parametrize("given", ["price", '"price"', '["price"]', ["price"], ["price", "price"]])
def test_forms_of_property_names(given: object) -> None:
    assert parsed("extraction", property_names=given).property_names == (Path("price"),)


def test_null_and_unknown_parameters_are_absent() -> None:
    nothing = dict.fromkeys(
        ("timeframe", "timezone", "interval", "group_by", "order_by", "limit", "filters", "zero_fill", "latest")
    )
    assert parsed(**nothing, modified=1, jsonp="f", analysis_type="sum", metadata={"a": 1}) == parsed()


def test_operands_of_or() -> None:
    one = {"property_name": "a", "operator": "eq", "property_value": 1, "property_type": "num"}
    found = parsed(filters=[{"operator": "or", "operands": [one, {"operator": "or", "operands": [one]}]}]).filters
    assert found == (AnyOf((Condition(Path("a"), "eq", 1), AnyOf((Condition(Path("a"), "eq", 1),)))),)


def deep(levels: int) -> dict[str, Any]:
    one: dict[str, Any] = {"property_name": "a", "operator": "eq", "property_value": 1}
    for _ in range(levels):
        one = {"operator": "or", "operands": [one]}
    return one


def condition(operator: str, value: Any, name: Any = "a") -> dict[str, Any]:
    return {"filters": [{"property_name": name, "operator": operator, "property_value": value}]}


STEP = {"event_collection": "c", "actor_property": "user"}
WEEK = {"timeframe": "this_week", "actor_property": "user"}


@pytest.mark.parametrize(
    ("analysis", "params", "name", "part"),
    [
        ("count", {"event_collection": None}, "QueryDefinitionError", "event_collection"),
        ("count", {"event_collection": 5}, "QueryDefinitionError", "5"),
        ("sum", {}, "QueryDefinitionError", "target_property"),
        ("sum", {"target_property": ["a"]}, "InvalidPropertyNameError", "target_property"),
        ("sum", {"target_property": "a..b"}, "InvalidPropertyNameError", "a..b"),
        ("count", {"group_by": ""}, None, ""),
        ("count", {"group_by": [""]}, "InvalidPropertyNameError", "group_by"),
        ("count", {"group_by": "\ud800"}, "InvalidPropertyNameError", "Unicode"),
        ("count", {"group_by": {"property_name": "a"}}, "QueryDefinitionError", "either a size or ranges"),
        ("count", {"group_by": {"size": 5}}, "InvalidPropertyNameError", "property_name"),
        ("count", {"group_by": {"property_name": "a", "buckets": {}}}, "QueryDefinitionError", "no size"),
        ("count", {"group_by": {"property_name": "a", "buckets": {"size": 0}}}, "QueryDefinitionError", "above 0"),
        ("count", {"group_by": {"property_name": "a", "size": "10"}}, "QueryDefinitionError", "above 0"),
        ("count", {"group_by": {"property": "a", "ranges": []}}, "QueryDefinitionError", "1 to"),
        ("count", {"group_by": {"property": "a", "ranges": [{}]}}, "QueryDefinitionError", "everything"),
        ("count", {"group_by": {"property": "a", "ranges": [{"from": 2, "to": 2}]}}, "QueryDefinitionError", "less"),
        ("count", {"group_by": {"property": "a", "ranges": [{"from": "x"}]}}, "QueryDefinitionError", "from 'x'"),
        ("count", {"group_by": ["a", {"property": "a", "size": 1}]}, "QueryDefinitionError", "twice"),
        ("multi_analysis", {}, "QueryDefinitionError", "analyses"),
        ("multi_analysis", {"analyses": {}}, "QueryDefinitionError", "analyses"),
        ("multi_analysis", {"analyses": {"x": 5}}, "QueryDefinitionError", "analyses.x"),
        ("multi_analysis", {"analyses": {"x": {"analysis_type": "funnel"}}}, "QueryDefinitionError", "funnel"),
        ("multi_analysis", {"analyses": {"x": {"analysis_type": "sum"}}}, "QueryDefinitionError", "analyses.x.target"),
        (
            "multi_analysis",
            {"analyses": {"a": {"analysis_type": "count"}}, "group_by": "a"},
            "QueryDefinitionError",
            "label 'a'",
        ),
        ("count", {"group_by": "result"}, "QueryDefinitionError", "collide"),
        ("count", {"interval": "daily"}, "TimeframeDefinitionError", "interval"),
        ("count", {"limit": 5}, "QueryDefinitionError", "order_by"),
        ("count", {"limit": 5, "group_by": "a"}, "QueryDefinitionError", "order_by"),
        ("count", {"limit": 0, "group_by": "a", "order_by": "a"}, "QueryDefinitionError", "limit"),
        ("count", {"limit": "many", "group_by": "a", "order_by": "a"}, "QueryDefinitionError", "many"),
        ("count", {"order_by": "a"}, "QueryDefinitionError", "group_by"),
        ("count", {"order_by": "b", "group_by": "a"}, "QueryDefinitionError", "'b'"),
        (
            "count",
            {"order_by": {"property_name": "a", "direction": "UP"}, "group_by": "a"},
            "QueryDefinitionError",
            "UP",
        ),
        (
            "select_unique",
            {"target_property": "t", "group_by": "a", "order_by": "result"},
            "QueryDefinitionError",
            "list",
        ),
        ("percentile", {"target_property": "a"}, "QueryDefinitionError", "percentile"),
        ("percentile", {"target_property": "a", "percentile": 0}, "QueryDefinitionError", "0"),
        ("percentile", {"target_property": "a", "percentile": 101}, "QueryDefinitionError", "101"),
        ("percentile", {"target_property": "a", "percentile": "nan"}, "QueryDefinitionError", "nan"),
        ("count", {"zero_fill": "maybe"}, "QueryDefinitionError", "maybe"),
        ("extraction", {"group_by": "a"}, "QueryDefinitionError", "group_by"),
        ("extraction", {"content_type": "text/xml"}, "QueryDefinitionError", "text/xml"),
        ("extraction", {"content_encoding": "br"}, "QueryDefinitionError", "br"),
        ("extraction", {"latest": -1}, "QueryDefinitionError", "-1"),
        ("count", {"filters": "{"}, "FilterDefinitionError", "JSON"),
        ("count", {"filters": [5]}, "FilterDefinitionError", "filters[0]"),
        ("count", {"filters": [{"operator": "or", "operands": []}]}, "FilterDefinitionError", "operands"),
        ("count", {"filters": [deep(25)]}, "FilterDefinitionError", "deep"),
        ("count", condition("within", {}), "InvalidPropertyNameForGeoFilter", "'a'"),
        (
            "count",
            condition("within", {}, "keen.location.coordinates"),
            "InvalidPropertyValueError",
            "max_distance_miles",
        ),
        ("count", condition("near", {}), "FilterDefinitionError", "near"),
        ("count", condition("eq", 1, name=None), "InvalidPropertyNameError", "filters[0].property_name"),
        ("count", condition("eq", {"a": 1}), "InvalidPropertyValueError", "eq"),
        ("count", condition("exists", "true"), "InvalidPropertyValueError", 'Operator: exists. Value: "true"'),
        ("count", condition("in", "a"), "InvalidPropertyValueError", "list"),
        ("count", condition("in", [[1]]), "InvalidPropertyValueError", "in"),
        ("count", condition("gt", None), "InvalidPropertyValueError", "gt"),
        ("count", condition("regex", 5), "InvalidPropertyValueError", "regular expression"),
        ("count", condition("contains", None), "InvalidPropertyValueError", "contains"),
        ("count", condition("gt", "soon", name="keen.timestamp"), "InvalidPropertyValueError", "ISO 8601"),
        ("count", condition("contains", "2024", name="keen.timestamp"), "InvalidPropertyValueError", "time"),
        ("funnel", {}, "QueryDefinitionError", "steps"),
        ("funnel", {"steps": [5]}, "QueryDefinitionError", "steps[0]"),
        ("funnel", {"steps": [{"actor_property": "a"}]}, "QueryDefinitionError", "steps[0].event_collection"),
        ("funnel", {"steps": [{"event_collection": "c"}]}, "QueryDefinitionError", "steps[0].actor_property"),
        ("funnel", {"steps": [STEP | {"inverted": True}]}, "QueryDefinitionError", "first step"),
        ("funnel", {"steps": [STEP, STEP | {"optional": 5}]}, "QueryDefinitionError", "steps[1].optional"),
        ("funnel", {"steps": [STEP] * 33}, "QueryDefinitionError", "32"),
        ("funnel", {"steps": [STEP], "interval": "daily"}, "QueryDefinitionError", "interval"),
        ("funnel", {"steps": [STEP], "window": "a while"}, "QueryDefinitionError", "'7 days'"),
        ("funnel", {"steps": [STEP], "window": "7 days", "ordered": False}, "QueryDefinitionError", "ordered"),
        ("retention", {"actor_property": "a"}, "TimeframeDefinitionError", "timeframe"),
        ("retention", {"timeframe": "this_week"}, "QueryDefinitionError", "actor_property"),
        ("retention", WEEK | {"unit": "fortnight"}, "QueryDefinitionError", "fortnight"),
        ("retention", WEEK | {"units": 0}, "QueryDefinitionError", "units"),
        ("retention", WEEK | {"units": 400}, "QueryDefinitionError", "366"),
        ("retention", WEEK | {"rolling": "yes"}, "QueryDefinitionError", "rolling"),
        ("retention", WEEK | {"first_event": "c"}, "QueryDefinitionError", "first_event"),
        ("progression", {}, "ResourceNotFoundError", "count_unique"),
    ],
)
def test_what_is_refused(analysis: str, params: dict[str, Any], name: str | None, part: str) -> None:
    if name is None:
        parsed(analysis, **params)
        return
    with pytest.raises(QueryError) as caught:
        parsed(analysis, **params)
    assert caught.value.name == name
    assert part in caught.value.message
    assert caught.value.status == (404 if analysis == "progression" else 400)
