"""Raw records written by hand against the codec."""

import json
import uuid
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import TooLargeError
from collector.records import Given, Record, RequestRecords
from headwater.codec import codec
from headwater.identity import event_id
from headwater.rules import TIMESTAMP_MAX, TIMESTAMP_MIN, RuleError, parse_json, parse_values
from headwater.settings import Settings, load_settings

PROJECT = "0123456789abcdef01234567"
SETTINGS = load_settings()
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


def make(ip: str | None = None, user_agent: str | None = None, settings: Settings = SETTINGS) -> RequestRecords:
    return RequestRecords(settings, PROJECT, ip, user_agent)


def made(records: RequestRecords, collection: str, event: object) -> Record:
    """The record of one event. Raises what is wrong with it."""
    [record] = records.records(collection, [event])
    if isinstance(record, RuleError):
        raise record
    return record


def decoded(collection: str, event: dict[str, Any], records: RequestRecords | None = None) -> dict[str, Any]:
    """What a reader has; the bytes are checked to be the codec's own."""
    _, value = made(records or make(), collection, event)
    record = codec("raw_event").decode(value)
    assert codec("raw_event").encode(record) == value
    return record


@given(
    st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9 '/-]{0,40}[a-z]", fullmatch=True),
    st.dictionaries(st.sampled_from(["a", "b", "user_id"]), text | st.integers(-5, 5), max_size=3),
    st.none() | text.filter(bool),
    st.none() | text,
    st.none() | text,
)
def test_the_datum_is_the_codecs(
    collection: str, event: dict[str, Any], token: str | None, ip: str | None, user_agent: str | None
) -> None:
    sent = dict(event) | {"says": "${keen.ip}"}
    record = decoded(collection, sent | {"keen": {"uniqueness_token": token}}, make(ip, user_agent))
    assert record["collection"] == collection
    assert record["project_id"] == PROJECT
    assert orjson.loads(record["properties"]) == sent
    assert record["timestamp"] == record["received_at"]
    if token is not None:
        assert record["id"] == event_id(PROJECT, token)
    assert str(uuid.UUID(record["id"])) == record["id"]
    assert (record["ip"], record["user_agent"]) == (ip, user_agent)


def test_a_record_says_what_the_client_gave() -> None:
    def facts(keen: dict[str, Any], *given: Given) -> tuple[bool, bool]:
        [made_of_it] = make().records("c", [{"a": 1, "keen": keen}], given=given or None)
        assert not isinstance(made_of_it, RuleError)
        record = codec("raw_event").decode(made_of_it[1])
        return record["id_given"], record["time_given"]

    both = {"id": "7", "timestamp": "2026-02-01"}
    assert facts({}) == facts({}, Given()) == (False, False)
    assert facts({"timestamp": "2026-02-01"}) == (False, True)
    assert facts({"id": "7"}) == facts({"uniqueness_token": "7"}) == (True, False)
    assert facts(both) == (True, True)
    assert facts(both, Given(time=False)) == (True, False)
    assert facts(both, Given(id=False)) == (False, True)


@given(st.integers(TIMESTAMP_MIN, TIMESTAMP_MAX))
def test_timestamps_before_and_after_1970(milliseconds: int) -> None:
    seconds, rest = divmod(milliseconds, 1000)
    days, of_day = divmod(seconds, 86_400)
    import datetime

    date = datetime.date(1970, 1, 1) + datetime.timedelta(days=days)
    clock = f"{of_day // 3600:02}:{of_day // 60 % 60:02}:{of_day % 60:02}.{rest:03}Z"
    assert decoded("c", {"keen": {"timestamp": f"{date.isoformat()}T{clock}"}})["timestamp"] == milliseconds


@pytest.mark.parametrize("size", [0, 1, 63, 64, 4_095, 4_096, 8_191, 8_192, 100_000])
def test_sizes_of_every_length(size: int) -> None:
    assert orjson.loads(decoded("c", {"a": "x" * size})["properties"]) == {"a": "x" * size}


def test_the_sender_is_kept_only_where_something_asks_for_it() -> None:
    records = make("1.2.3.4", "curl")
    addon = {"name": "keen:ua_parser", "input": {"ua_string": "a"}, "output": "b"}
    assert decoded("c", {"a": 1}, records)["ip"] is None
    with_addon = decoded("c", {"a": 1, "keen": {"addons": [addon]}}, records)
    assert (with_addon["ip"], with_addon["user_agent"]) == ("1.2.3.4", "curl")
    assert orjson.loads(with_addon["addons"]) == [addon]
    assert orjson.loads(with_addon["properties"]) == {"a": 1}


@pytest.mark.parametrize(
    ("event", "user"),
    [
        ({"user_id": "u1"}, "u1"),
        ({"userId": "u2"}, "u2"),
        ({"user": {"id": 7}}, "7"),
        ({"user": {"uuid": "u3", "id": ""}}, "u3"),
        ({"user": "name", "user_id": True}, None),
        ({"user_id": "u" * 257}, None),
        ({}, None),
    ],
)
def test_one_users_events_have_one_key(event: dict[str, Any], user: str | None) -> None:
    key, value = made(make(), "c", event)
    identity = codec("raw_event").decode(value)["id"]
    assert key.decode() == f"{PROJECT}:{user or identity}"


def test_too_large_names_the_largest_property() -> None:
    settings = load_settings(event_max_bytes=1_000)
    assert decoded("c", {"a": "x" * 992}, make(settings=settings))
    with pytest.raises(TooLargeError) as caught:
        made(make(settings=settings), "c", {"small": 1, "blob": "x" * 1_000})
    assert "'blob'" in caught.value.description


def test_too_large_by_many_properties_counts_them() -> None:
    with pytest.raises(TooLargeError, match=r"It has 1,001 properties\.$"):
        made(make(settings=load_settings(event_max_bytes=1_000)), "c", {f"p{number}": 1 for number in range(1_001)})


def test_nesting_beyond_what_json_writers_do_is_refused_not_failed() -> None:
    value: Any = 1
    for _ in range(490):
        value = [value]
    with pytest.raises(RuleError):
        made(make(settings=load_settings(event_max_depth=500)), "c", {"a": value})


def test_add_ons_that_were_good_before_are_taken_and_others_are_still_judged() -> None:
    addon = {"name": "keen:ua_parser", "input": {"ua_string": "a"}, "output": "b"}
    for _ in range(3):
        record = decoded("c", {"a": 1, "keen": {"addons": [dict(addon)], "uniqueness_token": "t"}})
        assert orjson.loads(record["addons"]) == [addon]
        assert record["properties"] == '{"a":1}'
        assert record["id"] == event_id(PROJECT, "t")
    deep: Any = 1
    for _ in range(110):
        deep = {"x": deep}
    for bad in ([addon, 1], addon, [addon | {"output": "keen.x"}], [addon | {"input": deep}], [addon | {"x": 2**64}]):
        for _ in range(2):
            with pytest.raises(RuleError):
                made(make(), "c", {"keen": {"addons": bad}})


names = st.sampled_from(["a", "b", "user_id", "x.y", "$z", " ", "keen", "n" * 256])
keens = st.sampled_from(
    [
        {"timestamp": "2026-01-31"},
        {"timestamp": 5},
        {"uniqueness_token": "t"},
        {"id": ""},
        {"created_at": {"a.b": 1}},
        {"z": 1},
        {"addons": [{"name": "n", "input": {"x.y": "z"}, "output": "o"}]},
        {"addons": [{"name": "n", "input": {"x": "z"}, "output": "o"}]},
        {"location": {"coordinates": [1, 2], "$a": 1}},
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(values | st.dictionaries(names, values | keens, max_size=4) | keens.map(lambda k: {"keen": k}), max_size=6)
)
def test_events_together_are_judged_as_each_alone(events: list[Any]) -> None:
    body = json.dumps(events).encode()
    parsed, good_values = parse_values(body)
    depth = load_settings(event_max_depth=3)
    together = make(settings=depth).records("c", parsed, good_values=good_values)
    for event, result in zip(parse_json(body), together, strict=True):
        [alone] = make(settings=depth).records("c", [event])
        if isinstance(alone, RuleError):
            assert isinstance(result, RuleError)
            assert (result.name, result.description) == (alone.name, alone.description)
        else:
            assert not isinstance(result, RuleError)
            one, other = (codec("raw_event").decode(value) for _, value in (alone, result))
            assert (one["properties"], one["addons"]) == (other["properties"], other["addons"])
            if "uniqueness_token" in (event.get("keen") or {}):
                assert one["id"] == other["id"]
            if "timestamp" in (event.get("keen") or {}):
                assert one["timestamp"] == other["timestamp"]


def test_ids_of_events_that_bring_none_differ() -> None:
    records = make().records("c", [{"a": 1} for _ in range(300)], good_values=True)
    found = {codec("raw_event").decode(record[1])["id"] for record in records if not isinstance(record, RuleError)}
    assert len(found) == 300
    assert {uuid.UUID(one).version for one in found} == {4}


def test_a_bad_name_of_the_collection_is_said_of_each_event() -> None:
    results = make().records("_c", [{}, 1])
    assert [type(result) for result in results] == [RuleError, RuleError]
