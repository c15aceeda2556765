"""Datums by hand against the codec."""

import contextlib
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.codec import Codec, codec
from headwater.container import avro_long
from processors import datums

longs = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 4_000_000_000_000)
raw_events = st.fixed_dictionaries(
    {
        "project_id": st.text(max_size=80),
        "collection": st.text(max_size=80),
        "id": st.none() | st.text(max_size=200),
        "timestamp": st.none() | longs,
        "received_at": st.none() | longs,
        "id_given": st.booleans(),
        "time_given": st.booleans(),
        "ip": st.none() | st.text(max_size=80),
        "user_agent": st.none() | st.text(max_size=300),
        "addons": st.none() | st.text(max_size=300),
        "properties": st.text(max_size=300) | st.just("x" * 9_000),
    }
)


usual_events = st.builds(
    lambda record, id_, timestamp, received_at: {
        **record,
        "id": str(id_),
        "timestamp": timestamp,
        "received_at": received_at,
    },
    raw_events,
    st.uuids(),
    st.integers(20_000_000_000, 2_000_000_000_000),
    st.integers(1_700_000_000_000, 2_000_000_000_000),
)


def fields_of(read: datums.RawDatum) -> dict[str, Any]:
    """The fields as the codec has them."""
    (project, collection), id_, timestamp, received_at, _, facts, *texts, properties = read
    id_text = None if id_ is None else id_.decode()
    id_given, time_given = map(bool, facts)
    fields = (project, collection, id_text, timestamp, received_at, id_given, time_given, *texts, properties.decode())
    return dict(zip(datums.RAW_EVENT_FIELDS, fields, strict=True))


def test_the_fields_are_those_of_the_newest_schema() -> None:
    fields = {field["name"]: field["type"] for field in codec("raw_event").schema["fields"]}
    assert fields == datums.RAW_EVENT_FIELDS


@given(raw_events | usual_events)
def test_a_raw_event_is_read_as_the_codec_reads_it(record: dict[str, Any]) -> None:
    read = datums.raw_event(codec("raw_event").encode(record))
    assert fields_of(read) == record
    times = read[4]
    if times is not None:
        assert times == datums.times(record["timestamp"], record["received_at"])
        assert str(uuid.UUID(record["id"])) == record["id"]


@given(usual_events)
def test_what_the_collector_writes_is_read_the_quick_way(record: dict[str, Any]) -> None:
    assert datums.raw_event(codec("raw_event").encode(record))[4] is not None


@given(usual_events, usual_events)
def test_what_came_before_changes_nothing(record: dict[str, Any], other: dict[str, Any]) -> None:
    alike = record | {"addons": (record["addons"] or "") + "]"}  # begins as the record's own
    encoded = codec("raw_event").encode(record)
    for before in (other, alike, record | {"addons": None}, record):
        for cut in (len(codec("raw_event").encode(before)), *range(len(encoded) // 2, len(encoded), 7)):
            with contextlib.suppress(ValueError, IndexError):
                datums.raw_event(codec("raw_event").encode(before)[:cut])
            assert fields_of(datums.raw_event(encoded)) == record


@given(raw_events, st.data())
def test_what_is_cut_or_longer_is_refused(record: dict[str, Any], data: st.DataObject) -> None:
    encoded = codec("raw_event").encode(record)
    cut = data.draw(st.integers(10, len(encoded) - 1))
    for broken in (encoded[:cut], encoded + b"\0"):
        with pytest.raises((ValueError, IndexError)):
            datums.raw_event(broken)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_as_the_codec_does(noise: bytes) -> None:
    header = codec("raw_event").header
    try:
        expected = codec("raw_event").decode(header + noise)
    except ValueError:
        with pytest.raises((ValueError, IndexError)):
            datums.raw_event(header + noise)
    else:
        assert fields_of(datums.raw_event(header + noise)) == expected


@given(longs)
def test_a_long_is_written_as_the_codec_writes_it(value: int) -> None:
    watermark: Codec = codec("watermark")
    assert watermark.header + avro_long(value) == watermark.encode({"offset": value})


@given(st.text(max_size=80), st.text(max_size=80), st.uuids(), longs, longs, longs, st.text(max_size=300))
def test_an_event_is_written_as_the_codec_writes_it(
    project: str, collection: str, id_: object, timestamp: int, received: int, processed: int, properties: str
) -> None:
    record = {
        "project_id": project,
        "collection": collection,
        "id": str(id_),
        "timestamp": timestamp,
        "received_at": received,
        "processed_at": processed,
        "properties": properties,
    }
    prefix = codec("event").header + datums.text(project) + datums.text(collection)
    times = datums.times(timestamp, received)
    by_hand = datums.event(prefix, str(id_).encode(), times, avro_long(processed), properties.encode())
    assert by_hand == codec("event").encode(record)
