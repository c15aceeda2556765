"""Reading raw records."""

import io
import uuid
from typing import Any

import fastavro
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.codec import MARKER, codec, schema_fingerprint, schemas_folder
from headwater.identity import event_id, origin_id
from headwater.rules import TIMESTAMP_MAX, TIMESTAMP_MIN, RuleError
from processors.datums import Given, times
from processors.records import RawEvent, RawReader, UnknownVersionError, UnreadableError

TOPIC, PARTITION, OFFSET, TIME = "raw", 3, 17, 1_769_904_000_000
PROJECT = "a1" * 12


def read(value: bytes | None) -> RawEvent:
    return RawEvent(*RawReader(TOPIC, 100).read(value, PARTITION, OFFSET, TIME))


def avro(**fields: Any) -> bytes:
    return codec("raw_event").encode({"project_id": PROJECT, "collection": "c", "properties": "{}"} | fields)


def envelope(**fields: Any) -> bytes:
    return orjson.dumps({"project_id": PROJECT, "collection": "c", "properties": {}} | fields)


@pytest.mark.parametrize("make", [avro, envelope])
def test_what_is_not_given_comes_from_where_the_record_stands(make: Any) -> None:
    event = read(make())
    assert event.id == origin_id(TOPIC, PARTITION, OFFSET).encode()
    assert (event.timestamp, event.received_at, event.times) == (TIME, TIME, times(TIME, TIME))
    assert (event.addons, event.text, event.size) == (None, b"{}", 2)


@pytest.mark.parametrize("make", [avro, envelope])
def test_what_is_given_stays(make: Any) -> None:
    id_ = str(uuid.uuid4())
    event = read(make(id=id_, timestamp=1, received_at=2, ip="::1", user_agent="ua", addons="[]"))
    assert event[:6] == ((PROJECT, "c"), id_.encode(), 1, 2, times(1, 2), "[]")


def test_what_the_sender_gave_is_told_by_the_collector_and_seen_in_envelopes() -> None:
    assert read(avro(id="7", timestamp=1)).given == Given.NOT_THE_ID
    assert read(avro(id="7", id_given=True)).given == Given.ID_ONLY
    assert read(avro(id=str(uuid.uuid4()), timestamp=1, received_at=2, id_given=True)).given == Given.ID_ONLY
    assert read(avro(id="7", timestamp=1, id_given=True, time_given=True)).given == Given.ID_AND_TIME
    assert read(avro(timestamp=1, time_given=True)).given == Given.NOT_THE_ID
    assert read(envelope()).given == read(envelope(timestamp=1)).given == Given.NOT_THE_ID
    assert read(envelope(id="")).given == Given.NOT_THE_ID
    assert read(envelope(id="7")).given == Given.ID_ONLY
    assert read(envelope(properties={"keen": {"uniqueness_token": "7"}})).given == Given.ID_ONLY
    assert read(envelope(id="7", timestamp=1)).given == Given.ID_AND_TIME
    # As a copy of the collector's own records has it.
    assert read(envelope(id="7", timestamp=1, id_given=True, time_given=True)).given == Given.ID_AND_TIME
    assert read(envelope(id="7", timestamp=1, id_given=True, time_given=False)).given == Given.ID_ONLY
    assert read(envelope(id="7", timestamp=1, id_given=False, time_given=None)).given == Given.NOT_THE_ID
    assert read(envelope(id="7", properties={"keen": {"timestamp": "2026-02-01"}})).given == Given.ID_AND_TIME


def test_a_record_of_the_first_version_is_read() -> None:
    first = fastavro.parse_schema(orjson.loads((schemas_folder() / "raw_event.1.avsc").read_bytes()))
    header = MARKER + schema_fingerprint(first)
    record = {"project_id": PROJECT, "collection": "c", "id": "7", "timestamp": 1, "properties": '{"a":1}'}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, first, record)
    event = read(header + out.getvalue())
    assert (event.id, event.timestamp, event.received_at) == (event_id(PROJECT, "7").encode(), 1, TIME)
    assert (event.properties, event.given) == ({"a": 1}, Given.NOT_THE_ID)


@pytest.mark.parametrize("make", [avro, envelope])
@pytest.mark.parametrize("value", ["${keen.ip}", "at ${keen.ip}"])
def test_placeholders_are_replaced(make: Any, value: str) -> None:
    given = orjson.dumps({"a": value}).decode()
    event = read(make(ip="::1", user_agent="ua", properties=given))
    assert event.properties == {"a": value.replace("${keen.ip}", "::1")}
    assert orjson.loads(event.text) == event.properties
    assert event.size == len(given)
    assert read(make(properties=given)).properties == {"a": None if value == "${keen.ip}" else "at "}


@pytest.mark.parametrize("make", [avro, envelope])
def test_an_id_that_is_no_uuid_becomes_one(make: Any) -> None:
    assert read(make(id="order 7")).id == event_id(PROJECT, "order 7").encode()
    assert read(make(id=str(uuid.UUID(int=0xABC)).upper())).id == str(uuid.UUID(int=0xABC)).encode()


def test_the_text_of_an_avro_record_is_untouched() -> None:
    text = '{ "a" : 1.0, "b": 9223372036854775807, "c": "\\u00e4" }'
    event = read(avro(properties=text))
    assert (event.text, event.size) == (text.encode(), len(text))
    assert event.properties == {"a": 1.0, "b": 2**63 - 1, "c": "ä"}


def test_an_envelope_may_hold_what_keen_holds() -> None:
    keen = {"timestamp": "2026-02-01T00:00:00Z", "id": "7", "addons": [{"name": "n", "input": {}, "output": "o"}]}
    event = read(envelope(properties={"n": 1, "keen": keen}))
    assert (event.timestamp, event.id, event.properties) == (TIME, event_id(PROJECT, "7").encode(), {"n": 1})
    assert orjson.loads(event.addons or "") == keen["addons"]
    assert (event.text, event.size) == (b'{"n":1}', len(orjson.dumps({"n": 1, "keen": keen})))
    assert read(envelope(timestamp="1999-01-01", properties={"keen": keen})).timestamp == 915_148_800_000


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"plain text", "c301"),
        (codec("watermark").encode({"offset": 1}), "fingerprint"),
        (avro() + b"\0", "datum"),
        (avro(properties="[]"), "not a JSON object"),
        (avro(properties="{"), "not JSON"),
        (b"{", "not JSON"),
        (envelope(colection="x"), "'colection'"),
        (envelope(id_given="yes"), "id_given of the JSON envelope is neither true nor false"),
        (envelope(collection=None), "needs project_id and collection"),
        (envelope(collection=5), "collection of the JSON envelope is not text"),
        (envelope(timestamp=1.5), "timestamp of the JSON envelope is neither"),
        (envelope(properties="{"), "properties are not JSON"),
    ],
)
def test_what_is_no_event_is_unreadable(value: bytes | None, words: str) -> None:
    with pytest.raises(UnreadableError, match=words):
        read(value)


@pytest.mark.parametrize(
    "value",
    [
        avro(timestamp=TIMESTAMP_MIN - 1),
        avro(received_at=TIMESTAMP_MAX + 1),
        avro(timestamp=2**62),
        envelope(timestamp=TIMESTAMP_MAX + 1),
        envelope(timestamp="2400-01-01"),
        avro(properties=f'{{"n":{2**63}}}'),
        avro(properties=f'{{"n":{-(2**63) - 1}}}'),
        avro(properties=f'{{"n":{10**40}}}'),
        envelope(properties={"n": 2**63}),
        envelope(properties={"a.b": 1}),
        envelope(properties=[1]),
    ],
)
def test_what_is_against_the_rules_is_refused(value: bytes) -> None:
    with pytest.raises(RuleError):
        read(value)


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda noise: b"{" + noise))
def test_no_bytes_raise_anything_else(noise: bytes) -> None:
    with pytest.raises((UnreadableError, RuleError)):
        read(noise)


def test_a_schema_that_is_not_known_is_told_from_noise() -> None:
    """A newer collector writes one: it says nothing against the record."""
    with pytest.raises(UnknownVersionError, match="unknown schema fingerprint"):
        read(MARKER + b"12345678" + b"x")
    for noise in (b"nonsense", avro()[:-1]):
        with pytest.raises(UnreadableError) as caught:
            read(noise)
        assert type(caught.value) is UnreadableError
