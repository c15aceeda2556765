"""Placeholders in values, and in the text of events."""

import copy
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.placeholders import PLACEHOLDER_BYTES, fill, fill_text

IP = "81.2.69.142"


def filled(properties: dict[str, Any], ip: str | None = None, user_agent: str | None = None) -> dict[str, Any]:
    fill(properties, ip, user_agent)
    return properties


def test_they_are_replaced_in_all_string_values() -> None:
    properties = {
        "a": "${keen.ip}",
        "b": {"c": ["${keen.user_agent}", {"d": "from ${keen.ip} by ${keen.user_agent}"}], "e": 1},
        "f": "${keen.other} $keen.ip {keen.ip}",
    }
    assert filled(properties, IP, "curl") == {
        "a": IP,
        "b": {"c": ["curl", {"d": f"from {IP} by curl"}], "e": 1},
        "f": "${keen.other} $keen.ip {keen.ip}",
    }


def test_what_is_not_known_is_null_or_vanishes() -> None:
    properties = {"a": "${keen.ip}", "b": "[${keen.ip}|${keen.user_agent}]", "c": ["${keen.user_agent}"]}
    assert filled(properties) == {"a": None, "b": "[|]", "c": [None]}


def test_nothing_is_replaced_inside_what_the_sender_said() -> None:
    properties = {"a": "${keen.user_agent}", "b": "${keen.user_agent} ${keen.ip}"}
    assert filled(properties, IP, "I am ${keen.ip}") == {"a": "I am ${keen.ip}", "b": f"I am ${{keen.ip}} {IP}"}


def test_in_text_the_usual_form_is_replaced_at_once() -> None:
    text = orjson.dumps({"a": "${keen.ip}", "b": {"c": "${keen.user_agent}"}, "d": 1})
    assert PLACEHOLDER_BYTES in text
    assert orjson.loads(fill_text(text, IP, 'a "b"\n\\') or b"") == {"a": IP, "b": {"c": 'a "b"\n\\'}, "d": 1}


@pytest.mark.parametrize(
    "value",
    [
        "from ${keen.ip}",
        ["${keen.ip}"],
        '"${keen.ip}',
        ':"${keen.ip}"',
        {"${keen.ip}": 1},
        "${keen.other}",
        "\\:${keen.ip}",
    ],
)
def test_in_text_any_other_form_is_left_to_a_walk(value: object) -> None:
    text = orjson.dumps({"a": value})
    assert PLACEHOLDER_BYTES in text
    assert fill_text(text, IP, "curl") is None


pieces = st.sampled_from(["${keen.ip}", "${keen.user_agent}", "${keen.", '"', ":", "\\", "x", "{", "}", ",", " "])
texts = st.lists(pieces, max_size=5).map("".join)
values = st.recursive(
    texts | st.integers(-9, 9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(texts, values, max_size=4), st.none() | texts, st.none() | texts)
def test_text_and_values_agree(properties: dict[str, Any], ip: str | None, user_agent: str | None) -> None:
    text = fill_text(orjson.dumps(properties), ip, user_agent)
    if text is not None:
        assert orjson.loads(text) == filled(copy.deepcopy(properties), ip, user_agent)
