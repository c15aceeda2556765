"""Raw records written by hand against the codec."""

import uuid
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import TooLargeError
from collector.records import RequestRecords
from headwater.codec import codec
from headwater.identity import event_id
from headwater.rules import TIMESTAMP_MAX, TIMESTAMP_MIN, RuleError
from headwater.settings import Settings, load_settings

PROJECT = "0123456789abcdef01234567"
SETTINGS = load_settings()
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


def make(ip: str | None = None, user_agent: str | None = None, settings: Settings = SETTINGS) -> RequestRecords:
    return RequestRecords(settings, PROJECT, ip, user_agent)


def decoded(collection: str, event: dict[str, Any], records: RequestRecords | None = None) -> dict[str, Any]:
    """What a reader has; the bytes are checked to be the codec's own."""
    _, value = (records or make()).record(collection, event)
    record = codec("raw_event").decode(value)
    assert codec("raw_event").encode(record) == value
    return record


@given(
    st.text(st.characters(max_codepoint=127), min_size=1, max_size=64),
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
    key, value = make().record("c", event)
    identity = codec("raw_event").decode(value)["id"]
    assert key.decode() == f"{PROJECT}:{user or identity}"


def test_too_large_names_the_largest_property() -> None:
    settings = load_settings(event_max_bytes=1_000)
    assert decoded("c", {"a": "x" * 992}, make(settings=settings))
    with pytest.raises(TooLargeError) as caught:
        make(settings=settings).record("c", {"small": 1, "blob": "x" * 1_000})
    assert "'blob'" in caught.value.description


def test_nesting_beyond_what_json_writers_do_is_refused_not_failed() -> None:
    value: Any = 1
    for _ in range(490):
        value = [value]
    with pytest.raises(RuleError):
        make(settings=load_settings(event_max_depth=500)).record("c", {"a": value})


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
                make().record("c", {"keen": {"addons": bad}})
