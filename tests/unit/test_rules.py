"""What an event may be."""

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headwater.rules import (
    INT_MAX,
    INT_MIN,
    NOTHING_RESERVED,
    RuleError,
    check_collection_name,
    check_event,
    check_property_name,
    explain_broken,
    have_good_names,
    parse_json,
    parse_timestamp,
    parse_values,
    take_reserved,
)

DEPTH = 100


def refusal(event: object, depth: int = DEPTH) -> RuleError:
    """Why this is no event."""
    with pytest.raises(RuleError) as caught:
        judge(event, depth)
    return caught.value


def judge(event: Any, depth: int = DEPTH) -> None:
    """Both steps that every event takes."""
    check_event(event, depth)
    take_reserved(event)


def nested(levels: int) -> Any:
    """An event whose objects are nested that deep, itself counted."""
    value: Any = {"leaf": 1}
    for _ in range(levels - 1):
        value = {"inner": value}
    return value


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="."), min_size=1, max_size=255).filter(
    lambda name: bool(name.strip()) and not name.startswith("$") and name != "keen"
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(INT_MIN, INT_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4))
events = st.dictionaries(names, values, max_size=6)


@given(events)
def test_what_keeps_the_rules_passes_unchanged(event: dict[str, Any]) -> None:
    text = orjson.dumps(event)
    parsed = parse_json(text)
    assert parsed == event
    check_event(parsed, DEPTH)
    assert take_reserved(parsed) == NOTHING_RESERVED
    assert orjson.dumps(parsed) == text


@given(
    events,
    names,
    st.sampled_from(
        [math.nan, math.inf, -math.inf, INT_MAX + 1, INT_MIN - 1, {"": 1}, {" ": 1}, {"a.b": 1}, {"$a": 1}]
    ),
    st.integers(0, 3),
    st.integers(0, 2),
)
def test_one_bad_value_is_found_wherever_it_is(
    event: dict[str, Any], name: str, bad: object, levels: int, lists: int
) -> None:
    value: Any = bad
    for _ in range(levels):
        value = {"inner": value}
    for _ in range(lists):
        value = [1, value]
    error = refusal(event | {name: value})
    assert error.name == ("InvalidPropertyNameError" if isinstance(bad, dict) else "InvalidPropertyValueError")
    error.description.encode()


@given(st.integers(-(10**40), 10**40))
def test_integers_stay_exact(number: int) -> None:
    event = parse_json(b'{"a": [%d, "%d", 1.5]}' % (number, number))
    if INT_MIN <= number <= INT_MAX:
        check_event(event, DEPTH)
        assert event == {"a": [number, str(number), 1.5]}
    else:
        assert "'a' is an integer beyond 64 bits" in refusal(event).description


@given(st.integers(-(10**22), 10**22), st.integers(0, 2))
def test_values_said_to_be_good_are(number: int, spaces: int) -> None:
    text = b'{"a":%s %d, "b": "1767225600000"}' % (b" " * spaces, number)
    value, good = parse_values(text)
    assert (value == json.loads(text)) or not INT_MIN <= number <= INT_MAX
    assert good == (len(str(abs(number))) < 19)


def test_names_are_good_once_an_event_of_theirs_was() -> None:
    event = {"only here": {"and": [1, {"there": []}]}}
    assert not have_good_names([event], DEPTH)
    check_event(event, DEPTH)
    assert have_good_names([event, {"there": {"and": None}}], DEPTH)
    assert have_good_names([event], 5)
    assert not have_good_names([event], 4)
    assert refusal(event, 4).name == "InvalidPropertyValueError"
    assert not have_good_names([event, {"only here": {"a.b": 1}}], DEPTH)
    assert not have_good_names([event, [event]], DEPTH)
    assert not have_good_names([], DEPTH)


def test_an_integer_too_long_to_convert_is_refused_quickly() -> None:
    text = b'{"a": {"b": %s}}' % (b"9" * 100_000)
    with pytest.raises(ValueError, match="infinity"):
        parse_json(text)
    assert "'a.b' is an integer beyond 64 bits" in explain_broken(text).description


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "Signed up",
        "User posts.new",
        "x'; DROP TABLE",
        "a`b",
        "1",
        "a" * 64,
        "a_",
        "a-b",
        "-" * 59,
        "-" * 57 + "a" * 7,
    ],
)
def test_collection_names(name: str) -> None:
    check_collection_name(name)


@pytest.mark.parametrize("name", ["", "  ", "_a", "$a", "a$", ".a", "a.", "ä", "a\n", "a\x00", "a" * 65, "-" * 60])
def test_bad_collection_names(name: str) -> None:
    with pytest.raises(RuleError) as caught:
        check_collection_name(name)
    assert caught.value.name == "InvalidCollectionNameError"


@pytest.mark.parametrize("name", ["a`b", "x'; DROP TABLE", "\N{GRINNING FACE}", "a$b", "ä ö", "a" * 255, "_a", "keen"])
def test_property_names(name: str) -> None:
    check_property_name(name)


@pytest.mark.parametrize("name", ["", " ", "\t", "$a", "a.b", ".", "a" * 256])
@pytest.mark.parametrize("twice", [1, 2])
def test_bad_property_names_are_never_remembered_as_good(name: str, twice: int) -> None:
    for _ in range(twice):
        assert refusal({name: 1}).name == "InvalidPropertyNameError"


@pytest.mark.parametrize("event", [None, [], [{}], "a", 1, 1.5, True])
def test_an_event_is_an_object(event: object) -> None:
    assert refusal(event).name == "InvalidEventError"


def test_depth() -> None:
    check_event(nested(DEPTH), DEPTH)
    check_event({"a": [[[1]]]}, 4)
    for event in (nested(DEPTH + 1), {"inner": [nested(DEPTH - 1)]}):
        error = refusal(event)
        assert (error.name, "'inner'" in error.description) == ("InvalidPropertyValueError", True)
    assert refusal({"a": [[[1]]]}, 3).name == "InvalidPropertyValueError"


def test_nothing_is_said_of_how_long_a_text_is() -> None:
    check_event({"stack": "x" * 500_000}, DEPTH)


def test_reserved_members_leave_the_event() -> None:
    addon = {"name": "keen:ua_parser", "input": {"ua_string": "ua"}, "output": "tech"}
    event: dict[str, Any] = {
        "a": 1,
        "keen": {
            "timestamp": "2026-01-31T12:00:00.123Z",
            "created_at": "whatever",
            "id": "5f1",
            "uniqueness_token": "t-1",
            "addons": [addon],
            "location": {"coordinates": [13.4, 52.5]},
        },
    }
    reserved = take_reserved(event)
    assert reserved == (1_769_860_800_123, "t-1", [addon])
    assert event == {"a": 1, "keen": {"location": {"coordinates": [13.4, 52.5]}}}


@pytest.mark.parametrize(
    "keen",
    [
        None,
        {},
        {"timestamp": None, "id": None, "uniqueness_token": None, "addons": None, "location": None},
        {"addons": []},
    ],
)
def test_null_and_empty_mean_absent(keen: object) -> None:
    event = {"a": 1, "keen": keen}
    assert take_reserved(event) == NOTHING_RESERVED
    assert event == {"a": 1}


def test_id_names_the_event_where_there_is_no_token() -> None:
    assert take_reserved({"keen": {"id": "5f1"}}).client_id == "5f1"


@pytest.mark.parametrize(
    ("keen", "name", "field"),
    [
        ([], "NamespaceTypeError", "'keen'"),
        ("x", "NamespaceTypeError", "'keen'"),
        ({"other": 1}, "InvalidKeenNamespaceProperty", "'keen.other'"),
        ({"timestamp": 1_700_000_000}, "InvalidPropertyValueError", "'keen.timestamp'"),
        ({"timestamp": "yesterday"}, "InvalidPropertyValueError", "'keen.timestamp'"),
        ({"id": 5}, "InvalidPropertyValueError", "'keen.id'"),
        ({"uniqueness_token": ""}, "InvalidPropertyValueError", "'keen.uniqueness_token'"),
        ({"uniqueness_token": "x" * 1025}, "InvalidPropertyValueError", "'keen.uniqueness_token'"),
        ({"addons": {}}, "InvalidPropertyValueError", "'keen.addons'"),
        ({"addons": [1]}, "InvalidPropertyValueError", "'keen.addons'"),
        ({"addons": [{"name": "x", "input": {}}]}, "InvalidPropertyValueError", "'keen.addons'"),
        ({"addons": [{"name": "x", "input": {}, "output": "keen.y"}]}, "InvalidKeenNamespaceProperty", "'keen.y'"),
        ({"location": [1, 2]}, "InvalidPropertyValueError", "'keen.location'"),
        ({"location": {"coordinates": [1]}}, "InvalidPropertyValueError", "'keen.location'"),
        ({"location": {"coordinates": ["1", "2"]}}, "InvalidPropertyValueError", "'keen.location'"),
    ],
)
def test_bad_keen_namespaces(keen: object, name: str, field: str) -> None:
    error = refusal({"keen": keen})
    assert error.name == name
    assert field in error.description


@given(
    st.datetimes(datetime(1900, 1, 2), datetime(2299, 12, 30)),
    st.sampled_from(["Z", "", "+00:00", "+05:30", "-0800", "+14:00"]),
    st.sampled_from(["auto", "minutes", "seconds", "milliseconds", "microseconds"]),
)
def test_timestamps_against_datetime(time: datetime, zone: str, precision: str) -> None:
    text = time.isoformat(timespec=precision)
    offset = {"+05:30": timedelta(hours=5, minutes=30), "-0800": timedelta(hours=-8), "+14:00": timedelta(hours=14)}
    expected = datetime.fromisoformat(text).replace(tzinfo=timezone(offset.get(zone, timedelta())))
    milliseconds = (expected - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert parse_timestamp(text + zone) == milliseconds


@pytest.mark.parametrize(
    "text",
    ["", "2026", "2026-13-01T00:00:00Z", "2026-01-01x00:00:00Z", "1899-12-31T23:59:59.999Z", "2300-01-01T00:00:00Z",
     "12026-01-01T00:00:00Z", "2026-01-01T00:00:00+99:00", "2026-01-01T25:00:00Z", "2026-01-01 -0500", "2026-01-01 UTC",
     "2026-01-01T25:00:00 UTC", "2026-01-01 00:00 CET", "2026-01-01 10:00:00 +9900", "2026-01-01 10:00 10:00 UTC"],
)  # fmt: skip
def test_bad_timestamps(text: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_timestamp(text)
    assert caught.value.name == "InvalidPropertyValueError"


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2019-10-01 00:00:00 UTC", "2019-10-01T00:00:00Z"),
        ("2019-10-01 00:00:00.25 UTC", "2019-10-01T00:00:00.250Z"),
        ("2019-10-01T00:00:00z", "2019-10-01T00:00:00Z"),
        ("2019-10-01 02:00:00 +0200", "2019-10-01T00:00:00Z"),
        ("2019-10-01 00:00:00.123456789 +0000 UTC", "2019-10-01T00:00:00.123Z"),
        ("2019-10-01 00:00 gmt", "2019-10-01T00:00:00Z"),
        ("20191001T000000Z", "2019-10-01T00:00:00Z"),
    ],
)
def test_a_zone_may_stand_apart_and_separators_be_left_out(text: str, iso: str) -> None:
    assert parse_timestamp(text) == parse_timestamp(iso)


def test_the_first_and_the_last_timestamp() -> None:
    assert parse_timestamp("1900-01-01") == -2_208_988_800_000
    assert parse_timestamp("2299-12-31T23:59:59.9999Z") == 10_413_791_999_999


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        (b'{"a": {"b": NaN}}', "InvalidPropertyValueError", "'a.b' is not a finite number"),
        (b'{"a": [1, -Infinity]}', "InvalidPropertyValueError", "'a' is not a finite number"),
        (b'{"a": 1e400}', "InvalidPropertyValueError", "'a' is not a finite number"),
        (b'{"a": "\xff"}', "InvalidPropertyValueError", "'a' is text that is not valid UTF-8"),
        (b'{"a": "\\ud83d"}', "InvalidPropertyValueError", "'a' is text that is not valid UTF-8"),
        (b'{"\xff": 1}', "InvalidPropertyValueError", "has a name that is not valid UTF-8"),
        (b'{"a": 1', "InvalidEventError", "line 1 column 8"),
        (b"", "InvalidEventError", "not JSON"),
        (b"\xef\xbb\xbf{}", "InvalidEventError", "byte order mark"),
        (b"[" * 5_000 + b"]" * 5_000, "InvalidPropertyValueError", "nested far too deeply"),
        (b'{"a":"' + b"x" * 1_000_000, "InvalidEventError", "of 1,000,000 bytes or less you are told where"),
    ],
)
def test_broken_json_is_explained(text: bytes, name: str, says: str) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        parse_json(text)
    error = explain_broken(text)
    assert error.name == name
    assert says in error.description
    error.description.encode()


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
@example(b"100000000000000000000")
def test_whatever_comes_is_parsed_or_explained(text: bytes) -> None:
    try:
        value = parse_json(text)
    except ValueError:
        explain_broken(text).description.encode()
    else:
        # Of an integer that cannot have 64 bits, by its length, it is only known that it is beyond them.
        assert json.loads(text, parse_int=lambda digits: int(digits) if len(digits) <= 20 else INT_MAX + 1) == value
