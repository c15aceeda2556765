"""What a vendor sends keeps the rules once it is made acceptable, whatever it is, and is changed no more than that."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.webhooks.acceptable import acceptable, acceptable_collection, fitted, parse
from collector.webhooks.vendor_event import DeliveryError
from headwater.rules import INT_MAX, INT_MIN, check_collection_name, check_event, take_reserved

NAMES = st.text(st.characters(), max_size=4) | st.sampled_from(
    ["keen", "keen_", "a.b", "a_b", "$a", "_a", "", " ", "x" * 255, "x" * 256, "x" * 255 + ".", "addon", "+1"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(NAMES, VALUES, max_size=6), st.integers(2, 6))
def test_whatever_json_python_writes_becomes_an_event(event: dict[str, Any], max_depth: int) -> None:
    """Half surrogate pairs, NaN and integers of any size among it."""
    made = acceptable(parse(json.dumps(event).encode()), max_depth, ("addon",))
    check_event(made, max_depth)
    assert take_reserved(dict(made)) == (None, None, None)
    assert "addon" not in made
    assert len(made) == len(event)
    orjson.dumps(made)
    assert acceptable(made, max_depth, ("addon",)) == made


@given(st.text(st.characters(), max_size=100) | st.from_regex(r"[ -~]{55,80}", fullmatch=True))
def test_whatever_text_becomes_a_collection(name: str) -> None:
    made = acceptable_collection(name)
    check_collection_name(made)
    assert acceptable_collection(made) == made


@given(st.dictionaries(st.text(max_size=5), VALUES, min_size=1, max_size=6), st.integers(1_000, 2_000))
def test_whatever_is_too_large_is_cut(event: dict[str, Any], max_bytes: int) -> None:
    large = acceptable(parse(json.dumps(event | {"text": "é" * 3_000, "list": [1] * 2_000}).encode()), 100)
    cut = fitted(large, max_bytes)
    assert len(orjson.dumps(cut)) <= max_bytes
    assert cut["headwater_cut_to"] <= 1_000
    check_event(cut, 100)


def test_names() -> None:
    given = {
        "a.b.c": 1,
        "a_b_c": 2,
        "$ref": 3,
        "": 4,
        "first name": 5,
        "keen": {"id": "x"},
        "n": {"keen": 6, "x.y": [{".": 7}]},
    }
    assert acceptable(given, 100) == {
        "a_b_c": 2,
        "a_b_c_2": 1,
        "_ref": 3,
        "_": 4,
        "first name": 5,
        "keen_": {"id": "x"},
        "n": {"keen": 6, "x_y": [{"_": 7}]},
    }


def test_long_names_stay_apart() -> None:
    made = acceptable({"x" * 300 + "1": 1, "x" * 300 + "2": 2}, 100)
    assert sorted(made.values()) == [1, 2]
    assert {len(name) for name in made} == {255}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (str(INT_MAX), INT_MAX),
        (str(INT_MIN), INT_MIN),
        (str(INT_MAX + 1), str(INT_MAX + 1)),
        (str(INT_MIN - 1), str(INT_MIN - 1)),
        ("1" * 5_000, "1" * 5_000),
        ("1e400", "1e400"),
        ("-Infinity", None),
        ('"\\ud83d"', "\ufffd"),
        ('"\\ud83d\\ude00"', "\N{GRINNING FACE}"),
    ],
)
def test_values(text: str, value: object) -> None:
    assert parse(b'{"a": [%s]}' % text.encode()) == {"a": [value]}


def test_bytes_that_are_no_text() -> None:
    assert parse(b'\xef\xbb\xbf{"a": "\xff"}') == {"a": "\ufffd"}


@pytest.mark.parametrize("text", [b"", b"{", b"nonsense", b"[" * 100_000 + b"]" * 100_000])
def test_what_is_no_json(text: bytes) -> None:
    with pytest.raises(DeliveryError, match=r"not JSON|nested"):
        parse(text)


def test_more_values_than_one_request_has() -> None:
    with pytest.raises(DeliveryError, match="1,000,000 values"):
        parse(b"[" + b"[]," * 1_000_000 + b"1]")


def test_what_is_nested_too_deeply_becomes_text() -> None:
    assert acceptable({"a": {"b": {"c": 1}}, "d": [[1, [2]]]}, 2) == {"a": {"b": '{"c":1}'}, "d": ["[1,[2]]"]}
    deepest = parse(b'{"a":' * 900 + b"1" + b"}" * 900)
    check_event(acceptable(deepest, 100), 100)


@pytest.mark.parametrize(
    ("name", "collection"),
    [
        ("com.github.pull_request.opened", "com.github.pull_request.opened"),
        ("Ordine è $1..", "Ordine _ _1__"),
        (".net", "event.net"),
        ("_x", "event_x"),
        (" ", "event"),
        ("t" * 65, "t" * 47 + "_" + "e8fda0eef591d1ab"),
    ],
)
def test_collections(name: str, collection: str) -> None:
    assert acceptable_collection(name) == collection


def test_what_is_small_enough_stays() -> None:
    event = {"a": "x" * 986}
    assert fitted(event, 1_000) is event


def test_a_push_of_thousands_of_commits_keeps_its_first_ones() -> None:
    commits = [{"id": f"{n:040}", "message": "m" * 500} for n in range(5_000)]
    cut = fitted({"ref": "refs/heads/main", "commits": commits}, 900_000)
    assert cut == {"ref": "refs/heads/main", "commits": commits[:1_000], "headwater_cut_to": 1_000}
