"""Compiling: nothing that a user wrote is SQL; only the types that occur are read."""

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headwater.query.compile import Plan, compile_extraction, compile_query
from headwater.query.definition import METRICS, Definition, parse_definition
from headwater.query.paths import Path, quoted
from headwater.query.properties import Types

NOW = 1_711_877_400_000
TOKEN = re.compile(r"`(?:[^`\\]|\\.)*`", re.DOTALL)


def plan(analysis: str, types: Types | None = None, **params: Any) -> Plan:
    definition = parse_definition(analysis, {"event_collection": "c", **params}, NOW)
    assert isinstance(definition, Definition)
    if analysis == "extraction":
        return compile_extraction(definition, "headwater_x", types, 1000)
    return compile_query(definition, "headwater_x", types)


def unquoted(identifier: str) -> str:
    return re.sub(r"\\(.)", r"\1", identifier[1:-1], flags=re.DOTALL)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_quoted_identifier_is_one_token(name: str) -> None:
    assert TOKEN.fullmatch(quoted(name))
    assert unquoted(quoted(name)) == name


@given(
    names=st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="."), min_size=1), min_size=1, max_size=3
    ),
    value=st.text(st.characters(exclude_categories=["Cs"])),
    analysis=st.sampled_from(METRICS),
)
def test_names_and_values_are_not_in_the_sql(names: list[str], value: str, analysis: str) -> None:
    """Whatever the names and the value are, the SQL outside backquotes is the same."""

    def sql(path: str, text: str) -> Plan:
        operators = ("eq", "contains", "regex", "gt")
        filters = [{"property_name": path, "operator": each, "property_value": text} for each in operators]
        return plan(analysis, target_property=path, percentile=5, group_by=["other." + path], filters=filters)

    hostile, plain = sql(".".join(names), value), sql(".".join("abc"[: len(names)]), "v")
    assert TOKEN.sub("``", hostile.sql) == TOKEN.sub("``", plain.sql)
    assert [unquoted(token) for token in TOKEN.findall(Path(".".join(names)).sql)] == names
    assert value in hostile.parameters.values()


def test_only_the_types_that_occur_are_read() -> None:
    text_only = plan("count", {"shop": frozenset({"String"})}, group_by="shop").sql
    assert "properties.`shop`.:String AS key_0_text" in text_only
    assert "dynamicType" not in text_only
    assert ".:Int64" not in text_only
    unknown = plan("count", None, group_by="shop").sql
    assert all(part in unknown for part in (".:String", ".:Int64", ".:Float64", ".:Bool", "dynamicType"))


def test_equal_buckets_are_counted_and_unequal_ones_listed() -> None:
    year = {"start": "2024-01-01", "end": "2025-01-01"}
    assert "intDiv" in plan("count", timeframe=year, interval="daily").sql
    berlin = plan("count", timeframe=year, interval="daily", timezone="Europe/Berlin")
    assert "roundDown" in berlin.sql
    assert len(berlin.buckets) == len(berlin.bucket_of) == 367  # from 01:00 to 01:00
    assert "roundDown" in plan("count", timeframe=year, interval="monthly").sql


def test_tables_are_read_without_their_duplicates() -> None:
    assert all(" FINAL" in plan(a, target_property="t", percentile=5).sql for a in (*METRICS, "extraction"))


def test_few_events_are_found_by_their_keys_which_alone_are_looked_at_before_duplicates_are_folded() -> None:
    definition = parse_definition(
        "extraction",
        {"event_collection": "c", "filters": [{"property_name": "a", "operator": "eq", "property_value": "x"}]},
        NOW,
    )
    assert isinstance(definition, Definition)
    found = compile_extraction(definition, "headwater_x", {"a": frozenset({"String"})}, 1000, by_key=True)
    before, _, keys = found.sql.partition(" PREWHERE ")
    assert "`a`" not in before
    assert keys.startswith("(timestamp, id) IN (SELECT timestamp, id FROM `headwater_x`.`c` FINAL WHERE ")
    assert found.sql.count("properties.`a`.:String = {p0:String}") == 2
    assert found.parameters == {"p0": "x"}


def test_what_is_there_is_looked_for_only_where_it_can_be() -> None:
    exists = [{"property_name": "a", "operator": "exists", "property_value": True}]
    for known, wanted in (
        ({"String"}, "isNotNull(properties.`a`)"),
        ({"Object"}, "notEmpty(JSONAllPaths(properties.^`a`))"),
        (set(), "0"),
    ):
        sql = plan("count", {"a": frozenset(known)}, filters=exists).sql
        assert sql.endswith(f"WHERE ({wanted})")
