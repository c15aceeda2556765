"""Telling an event's records from all others, however they hold its id."""

import uuid
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from headwater.codec import Codec, codec
from headwater.identity import event_id, origin_id
from headwater.origin import Origin
from headwater.trace.matching import RawMatch, Wanted, is_letter_of, read_put, waiting_id

PROJECT, OTHER = "a" * 24, "b" * 24
OWN = "6f4f6d5e-2a0b-4a1f-9f3e-6865616477a7"


@dataclass
class Record:
    """A record as confluent-kafka reads it."""

    content: bytes | None
    at: int = 7
    given: tuple[tuple[str, bytes], ...] = ()

    def value(self) -> bytes | None:
        return self.content

    def topic(self) -> str:
        return "raw"

    def partition(self) -> int:
        return 2

    def offset(self) -> int:
        return self.at

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_000

    def headers(self) -> list[tuple[str, bytes]] | None:
        return list(self.given) or None


def avro(**fields: Any) -> bytes:
    return codec("raw_event").encode({"project_id": PROJECT, "collection": "orders", "properties": "{}"} | fields)


def envelope(**fields: Any) -> bytes:
    return orjson.dumps({"project_id": PROJECT, "collection": "orders", "properties": {}} | fields)


def find(given: str, value: bytes | None, offset: int = 7) -> Any:
    return RawMatch(Wanted.of(PROJECT, given)).of(Record(value, offset))  # type: ignore[arg-type]


ORIGIN = origin_id("raw", 2, 7)


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (OWN, avro(id=OWN)),
        (OWN.upper(), avro(id=OWN)),
        ("order 7", avro(id=event_id(PROJECT, "order 7"))),
        ("order 7", avro(id="order 7")),
        (event_id(PROJECT, "order 7"), avro(id="order 7")),
        (ORIGIN, avro()),
        (ORIGIN, avro(collection="c" * 200)),
        (ORIGIN, envelope()),
        (OWN, envelope(id=OWN)),
        ("order 7", envelope(id="order 7")),
        ('say "7"', envelope(id='say "7"')),
        ("order 7", envelope(properties={"keen": {"uniqueness_token": "order 7"}})),
        ("order 7", envelope(properties={"keen": {"id": "order 7"}})),
        (event_id(PROJECT, "order 7"), envelope(properties={"keen": {"id": "order 7"}})),
    ],
)
def test_a_record_of_the_event_is_found(given: str, value: bytes) -> None:
    raw = find(given, value)
    assert raw is not None
    assert (raw.topic, raw.partition, raw.offset, raw.id) == ("raw", 2, 7, event_id(PROJECT, given))
    assert (raw.written_at, raw.received_at) == (1_000, 1_000)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{",
        b"[1]",
        b"\xc3\x01",
        avro(),
        avro(id=str(uuid.UUID(int=3))),
        avro(id=OWN, project_id=OTHER),
        avro(properties=orjson.dumps({"of": OWN}).decode()),
        envelope(id=OWN, project_id=OTHER),
        envelope(properties={"of": OWN}),
        b"\xc3\x01" + OWN.encode(),
    ],
)
def test_a_record_of_another_event_is_not(value: bytes | None) -> None:
    assert find(OWN, value) is None


def test_a_record_of_an_older_version_is_read() -> None:
    old = Codec("raw_event")
    version_1 = next(schema for schema in old.versions.values() if "id_given" not in str(schema))
    import io

    import fastavro

    from headwater.codec import MARKER, schema_fingerprint

    out = io.BytesIO(MARKER + schema_fingerprint(version_1))
    out.seek(0, io.SEEK_END)
    fastavro.schemaless_writer(
        out, version_1, {"project_id": PROJECT, "collection": "orders", "id": OWN, "properties": "{}"}
    )
    raw = find(OWN, out.getvalue())
    assert raw is not None
    assert not raw.id_given


def test_a_record_that_was_written_again_is_the_event_that_it_was() -> None:
    first = origin_id("raw", 1, 3)
    headers = tuple(Origin("raw", 1, 3, 77, 2).headers())
    for value in (avro(), envelope()):
        raw = RawMatch(Wanted.of(PROJECT, first)).of(Record(value, given=headers))  # type: ignore[arg-type]
        assert raw is not None
        assert (raw.offset, raw.copy_of, raw.timestamp, raw.received_at, raw.written_at) == (
            7,
            ("raw", 1, 3),
            77,
            77,
            1_000,
        )
        assert RawMatch(Wanted.of(PROJECT, ORIGIN)).of(Record(value, given=headers)) is None  # type: ignore[arg-type]
    assert waiting_id(PROJECT, Record(b"{}", given=headers)) == first  # type: ignore[arg-type]


def letter(payload: bytes | None, **changes: Any) -> dict[str, Any]:
    return {"id": "l", "topic": "raw", "partition": 2, "offset": 7, "project_id": PROJECT, "payload": payload} | changes


EVENT = codec("event").encode(
    {
        "project_id": PROJECT,
        "collection": "orders",
        "id": OWN,
        "timestamp": 1,
        "received_at": 2,
        "processed_at": 3,
        "properties": "{}",
    }
)


@pytest.mark.parametrize(
    ("given", "payload"),
    [
        (OWN, EVENT),
        (OWN, avro(id=OWN)),
        (ORIGIN, avro()),
        ("order 7", envelope(id="order 7")),
        ("order 7", b'{"keen": {"uniqueness_token": "order 7"}}'),
    ],
)
def test_a_dead_letter_is_told_by_the_record_that_it_holds(given: str, payload: bytes) -> None:
    assert is_letter_of(Wanted.of(PROJECT, given), letter(payload))
    assert not is_letter_of(Wanted.of(PROJECT, "another"), letter(payload))
    assert not is_letter_of(Wanted.of(OTHER, given), letter(payload))


def test_a_dead_letter_that_cannot_be_read_is_found_by_its_own_id() -> None:
    broken = letter(b"\xff", id=OWN)
    assert is_letter_of(Wanted.of(PROJECT, OWN), broken)
    assert not is_letter_of(Wanted.of(PROJECT, "another"), broken)


def test_an_event_of_a_collections_topic_is_read() -> None:
    read = read_put(Record(EVENT))  # type: ignore[arg-type]
    assert read is not None
    assert read[:2] == (PROJECT, OWN)
    assert (read[2].collection, read[2].processed_at) == ("orders", 3)
    assert read_put(Record(b"x")) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("identity", "record"),
    [
        (event_id(PROJECT, "order 7"), Record(b"{}", given=(("id", b"order 7"),))),
        (event_id(PROJECT, "order 7"), Record(b'{"keen": {"uniqueness_token": "order 7"}}')),
        (event_id(PROJECT, "order 7"), Record(b'{"keen": {"id": "order 7"}}')),
        (ORIGIN, Record(b"{}")),
        (ORIGIN, Record(b"no json")),
        (ORIGIN, Record(b"[]")),
    ],
)
def test_a_producers_record_has_the_id_that_collectors_give_it(identity: str, record: Record) -> None:
    assert waiting_id(PROJECT, record) == identity  # type: ignore[arg-type]
