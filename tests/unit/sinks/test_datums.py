"""Which records go into a container: those, and only those, that decoding would take."""

import json
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from headwater.codec import Codec, CodecError, codec, schemas_folder
from headwater.topics import collection_topic
from sinks.datums import Collection, DatumCheck, datum, identify, sort_records

EVENT = codec("event")
OURS = Collection("a" * 24, "sign ups 🙂")
TOPIC = collection_topic("test", OURS.project_id, OURS.name)


def event(**changes: Any) -> dict[str, Any]:
    return {
        "project_id": OURS.project_id,
        "collection": OURS.name,
        "id": "6f4f6d5e-2a0b-4a1f-9f3e-6865616477a7",
        "timestamp": 1_700_000_000_000,
        "received_at": 1_700_000_000_001,
        "processed_at": 1_700_000_000_002,
        "properties": '{"a":1}',
    } | changes


def record(value: bytes | None, offset: int = 0, topic: str = TOPIC) -> Message:
    return Message(topic=topic, partition=0, offset=offset, value=value)


GOOD = EVENT.encode(event())
CHECK = DatumCheck(EVENT, EVENT.header, OURS)


def decodes(value: bytes) -> bool:
    try:
        decoded = EVENT.decode(value)
    except CodecError:
        return False
    return (decoded["project_id"], decoded["collection"]) == (OURS.project_id, OURS.name)


@given(
    st.fixed_dictionaries(
        {
            name: st.integers(-(2**63), 2**63 - 1) | st.integers(0, 2**41)
            for name in ("timestamp", "received_at", "processed_at")
        }
    ),
    st.text(max_size=200) | st.integers(0, 20_000).map(lambda size: "x" * size),
    st.uuids().map(str) | st.text(),
)
def test_whole_datums_are_taken(times: dict[str, int], properties: str, event_id: str) -> None:
    assert CHECK.fault(EVENT.encode(event(**times, properties=properties, id=event_id))) is None


@given(st.binary(max_size=80) | st.binary(max_size=120).map(lambda rest: GOOD[:10] + rest))
def test_noise_is_judged_as_decoding_judges_it(value: bytes) -> None:
    assert (CHECK.fault(value) is None) == decodes(value)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255), st.sampled_from(["set", "cut", "insert"]))
def test_a_damaged_record_is_judged_as_decoding_judges_it(position: int, byte: int, how: str) -> None:
    rest = {"set": GOOD[position + 1 :], "cut": b"", "insert": GOOD[position:]}[how]
    damaged = GOOD[:position] + (b"" if how == "cut" else bytes([byte])) + rest
    assert (CHECK.fault(damaged) is None) == decodes(damaged)


@pytest.mark.parametrize(
    ("value", "reason", "message"),
    [
        (None, "unreadable", "starts with nothing"),
        (b"", "unreadable", "starts with nothing"),
        (b'{"a":1}', "unreadable", "not with the marker"),
        (GOOD + b"\x00", "unreadable", "1 bytes follow"),
        (GOOD[:-1], "unreadable", "not a event record"),
        (b"\xc3\x01" + b"12345678" + GOOD[10:], "unreadable", "unknown schema fingerprint"),
        (EVENT.encode(event(collection="other")), "invalid_event", "'other'"),
        (EVENT.encode(event(project_id="b" * 24)), "invalid_event", "b" * 24),
    ],
)
def test_each_fault_has_its_reason(value: bytes | None, reason: str, message: str) -> None:
    groups, faulty = sort_records(EVENT, OURS, [record(GOOD, 1), record(value, 2), record(GOOD, 3)])
    assert [one.offset() for group in groups.values() for one in group] == [1, 3]
    [(refused, fault)] = faulty
    assert refused.offset() == 2
    assert fault.reason == reason
    assert message in fault.message


def test_the_newest_schema_is_checked_without_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Codec, "decode")
    assert CHECK.fault(GOOD) is None


def test_a_datum_is_its_record_without_the_header() -> None:
    assert datum(record(GOOD)) == GOOD[10:]


def test_versions_of_the_schema_are_kept_apart_and_any_form_of_one_is_read(tmp_path: Path) -> None:
    first = json.loads((schemas_folder() / "event.1.avsc").read_text())
    second = first | {"fields": [*first["fields"], {"name": "note", "type": ["null", "string"], "default": None}]}
    (tmp_path / "event.1.avsc").write_text(json.dumps(first))
    (tmp_path / "event.2.avsc").write_text(json.dumps(second))
    both = Codec("event", tmp_path)
    newer = both.encode(event(note="x"))
    groups, faulty = sort_records(
        both, OURS, [record(GOOD, 1), record(newer, 2), record(newer + b"x", 3), record(GOOD, 4)]
    )
    assert {header: [one.offset() for one in group] for header, group in groups.items()} == {
        EVENT.header: [1, 4],
        both.header: [2],
    }
    assert [one.offset() for one, _ in faulty] == [3]


def test_a_topic_is_identified_by_its_first_right_record() -> None:
    stray = EVENT.encode(event(collection="other"))
    assert identify(EVENT, "test", [record(None), record(b"junk"), record(stray), record(GOOD)]) == OURS
    assert identify(EVENT, "test", [record(None), record(stray)]) is None


def test_a_topic_whose_name_is_shortened_is_identified() -> None:
    long = Collection(OURS.project_id, "é" * 200)
    topic = collection_topic("test", long.project_id, long.name)
    assert identify(EVENT, "test", [record(EVENT.encode(event(collection=long.name)), topic=topic)]) == long


def test_without_a_collection_no_record_can_be_stored() -> None:
    groups, faulty = sort_records(EVENT, None, [record(b"junk", 1), record(GOOD, 2)])
    assert not groups
    assert [(one.offset(), fault.reason) for one, fault in faulty] == [(1, "unreadable"), (2, "invalid_event")]


@given(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 2**41), st.integers(0, 2**41))
def test_when_an_event_was_there_first(received_at: int, processed_at: int) -> None:
    value = EVENT.encode(event(received_at=received_at, processed_at=processed_at))
    assert CHECK.accepted_at(record(value)) == min(received_at, processed_at)
