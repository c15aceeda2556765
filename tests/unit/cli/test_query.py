"""The forms that `headwater query` takes its parameters in."""

from typing import Any

import pytest
import typer

from headwater.cli.query import as_filter, as_order, as_timeframe
from headwater.cli.tables import as_table, as_text, flattened


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("page eq /a", ("page", "eq", "/a")),
        ("n gte 10", ("n", "gte", 10)),
        ("n lt -1.5", ("n", "lt", -1.5)),
        ("code eq 02134", ("code", "eq", "02134")),
        ('code eq "10"', ("code", "eq", "10")),
        ("seen exists true", ("seen", "exists", True)),
        ("user.id ne null", ("user.id", "ne", None)),
        ('item in ["a", "b"]', ("item", "in", ["a", "b"])),
        ("name contains O'Hara and eq", ("name", "contains", "O'Hara and eq")),
        ("sign up time gt 5", ("sign up time", "gt", 5)),
        ("q regex ^a b$", ("q", "regex", "^a b$")),
    ],
)
def test_filters(text: str, expected: tuple[str, str, Any]) -> None:
    assert as_filter(text) == dict(zip(("property_name", "operator", "property_value"), expected, strict=True))


@pytest.mark.parametrize("text", ["", "page", "page is /a", "eq /a", "page eq", "page or []"])
def test_what_is_no_filter(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="P op VALUE"):
        as_filter(text)


@pytest.mark.parametrize(
    ("text", "name", "direction"),
    [
        ("result", "result", "ASC"),
        ("result:DESC", "result", "DESC"),
        ("result:desc", "result", "DESC"),
        ("a:b", "a:b", "ASC"),
        ("a:b:ASC", "a:b", "ASC"),
        ("a:DESC:DESC", "a:DESC", "DESC"),
    ],
)
def test_orders_split_at_the_last_colon_before_a_direction(text: str, name: str, direction: str) -> None:
    assert as_order(text) == {"property_name": name, "direction": direction}


def test_timeframes() -> None:
    assert as_timeframe(None) is None
    assert as_timeframe("previous_7_days") == "previous_7_days"
    assert as_timeframe('{"start": "2026-01-01", "end": "2026-02-01"}') == {"start": "2026-01-01", "end": "2026-02-01"}
    with pytest.raises(typer.BadParameter, match="not JSON"):
        as_timeframe('{"start": ')


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (1234567, "1,234,567"),
        (1234.5, "1,234.5"),
        (2.0, "2"),
        (True, "true"),
        ("x", "x"),
        ([1, "a"], '[1,"a"]'),
        ([2**64], "[18446744073709551616]"),
    ],
)
def test_cells(value: Any, text: str) -> None:
    assert as_text(value, grouped=True) == text


def test_tables_have_every_property_of_every_row() -> None:
    table = as_table([{"a": 1, "keen": {"id": "x"}}, {"b": "[red]"}])
    assert [column.header for column in table.columns] == ["a", "keen.id", "b"]
    assert flattened({"a": {"b": {"c": 1}}, "d": [1]}) == {"a.b.c": 1, "d": [1]}
