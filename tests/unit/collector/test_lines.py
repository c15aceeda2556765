"""NDJSON: what is made of lines is what Keen's bulk form makes of the same events, wherever their ids and times stand."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.errors import ApiError
from collector.keen_judging import Bulk
from collector.lines import Lines, is_ndjson
from collector.request import Request
from headwater.rules import Moment, RuleError, parse_json

TIMES = st.sampled_from(["2026-01-31T12:00:00Z", "x", "", None, True])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
KEENS = st.dictionaries(st.sampled_from(["timestamp", "uniqueness_token", "addons"]), TIMES, max_size=2) | st.none()
EVENTS = st.builds(
    lambda event, keen: event | keen,
    st.dictionaries(st.text(max_size=5), VALUES, max_size=3),
    st.one_of(st.just({}), st.builds(lambda keen: {"keen": keen}, KEENS | VALUES)),
)
ENDS = st.sampled_from(["", "\r", " ", "\t", "\n", "\n \n"])
KEYS = st.text(st.characters(exclude_characters="\t\n", codec="utf-8"), max_size=5)


def test_the_content_type_says_it() -> None:
    for kind in (b"application/x-ndjson", b"Application/NDJSON ; charset=utf-8", b"application/jsonl"):
        assert is_ndjson(Request({"headers": [(b"content-type", kind)]}))
    for headers in ([], [(b"content-type", b"application/json")]):
        assert not is_ndjson(Request({"headers": headers}))


def asked(query: str) -> Lines:
    """The form that a request's parameters name."""
    return Lines.asked(Request({"headers": [], "query_string": query.encode(), "path_params": {"collection": "c"}}))


def test_the_parameters_name_the_form() -> None:
    assert asked("") == asked("keyed=false&other=1") == Lines("c")
    assert asked("id_field=a&timestamp_field=b") == Lines("c", id_field="a", timestamp_field="b")
    assert asked("keyed=true&timestamp=2026-01-31") == Lines("c", timestamp="2026-01-31", keyed=True)
    for query, problem in (
        ("keyed=1", "'1'; it is true"),
        ("keyed=true&id_field=a", "both say"),
        ("id_field=", "'id_field' must name a property"),
        ("timestamp_field=&id_field=a", "'timestamp_field' must name a property"),
        ("id_field=" + "a" * 256, "'id_field' must name a property"),
    ):
        with pytest.raises(ApiError, match=problem) as refused:
            asked(query)
        assert refused.value.status == 400


@given(st.lists(st.tuples(EVENTS, ENDS), max_size=4), st.booleans())
@settings(max_examples=50)
def test_lines_are_the_events_of_a_bulk_request(written: list[tuple[dict[str, Any], str]], ascii_only: bool) -> None:
    texts = [json.dumps(event, ensure_ascii=ascii_only) for event, _ in written]
    body = "\n".join(text + end for text, (_, end) in zip(texts, written, strict=True)).encode()
    [expected], good = (
        Bulk().read(b'{"c":[%b]}' % ",".join(texts).encode())[0].values(),
        Lines("c").read(body).good_values,
    )
    for form in (Lines("c").read(body), Lines("c").read_or_repair(body)):
        assert form.collections == {"c": expected}
    assert good or any("0" * 19 in "".join("0" if each.isdigit() else " " for each in text) for text in texts)


@given(st.lists(st.tuples(EVENTS, ENDS, KEYS), max_size=4), TIMES)
@settings(max_examples=50)
def test_keys_are_ids_and_a_time_is_that_of_events_without(
    written: list[tuple[dict[str, Any], str, str]], timestamp: Any
) -> None:
    timestamp = timestamp if isinstance(timestamp, str) and timestamp else None
    body = "\n".join(f"{key}\t{json.dumps(event)}{end}" for event, end, key in written).encode()
    [events] = Lines("c", timestamp=timestamp, keyed=True).read(body).collections.values()
    for (event, _, key), found in zip(written, events, strict=True):
        event = parse_json(json.dumps(event).encode())
        keen = event.get("keen")
        if keen is None or isinstance(keen, dict):
            own = {"timestamp": timestamp} if timestamp and (keen or {}).get("timestamp") is None else {}
            if all((keen or {}).get(name) is None for name in ("uniqueness_token", "id")):
                own["uniqueness_token"] = key
            event = event | {"keen": (keen or {}) | own}
        assert found == event


def test_ids_and_times_are_taken_from_the_fields_that_are_named() -> None:
    lines = Lines("c", id_field="order", timestamp_field="at", timestamp="2020-01-01")
    body = b"""{"order": 17, "at": 1769860800, "keen": {"uniqueness_token": "t", "timestamp": "2021-01-01"}}
        {"order": "A", "at": "2026-01-31"}
        {"order": 1.5, "at": "2026-01-31"}
        {"order": "B"}
        [1]
        {"order": "C", "at": 1e300}
    """
    [events] = lines.read(body).collections.values()
    assert [event["keen"] for event in events[:2]] == [
        {"uniqueness_token": "17", "timestamp": Moment(1_769_860_800_000)},
        {"uniqueness_token": "A", "timestamp": "2026-01-31"},
    ]
    assert events[4] == [1]
    said = [str(event) for event in events if isinstance(event, RuleError)]
    assert said == [
        "InvalidPropertyValueError: the field 'order' is 1.5: an id is text or a whole number.",
        "InvalidPropertyValueError: the field 'at' is None: a time is ISO 8601 text or a number since 1970.",
        "InvalidPropertyValueError: the field 'at' is 1e+300: that is no time.",
    ]


@pytest.mark.parametrize("broken", [b"{", b'{"a":1}{"a":2}', b'{"a":1e999}', b'{"a":\n1}', b'{"a":NaN}', b'"\xff"'])
@pytest.mark.parametrize("long", [b"", b'{"a":12345678901234567890}\n'])
def test_a_line_that_is_no_json_takes_no_other_with_it(broken: bytes, long: bytes) -> None:
    body = b"%b{}\n%b\n{}" % (long, broken)
    with pytest.raises(ValueError, match=r"."):
        Lines("c").read(body)
    batch = Lines("c").read_or_repair(body)
    [events] = batch.collections.values()
    errors = [event for event in events if isinstance(event, RuleError)]
    assert len(errors) == 1 + broken.count(b"\n")
    assert [event for event in events if not isinstance(event, RuleError)][-2:] == [{}, {}]
    assert not batch.good_values
    assert all("line" in error.description or "Property" in error.description for error in errors)


def test_a_line_without_an_id_is_told() -> None:
    with pytest.raises(ApiError, match="Line 3 has no tab"):
        Lines("c", keyed=True).read(b'i\t{}\n\n{"a":1}')


def test_many_lines_are_not_read_at_once_however_short_they_are() -> None:
    assert Lines("c").reads_quickly(b"{}\n" * 2_999)
    assert not Lines("c").reads_quickly(b"1\n" * 3_000)
    with pytest.raises(ApiError, match="more than 100,000 lines") as refused:
        Lines("c").read(b"{" + b"\n" * 100_001)
    assert refused.value.status == 413
