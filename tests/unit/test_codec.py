"""Records in Kafka: single-object encoding, and every schema version stays readable."""

import json
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.codec import Codec, CodecError, codec, schemas_folder

NAMES = ("raw_event", "event", "dead_letter", "dead_letter_outcome", "control_record")
LONG = st.integers(-(2**63), 2**63 - 1)
EVENT = st.fixed_dictionaries(
    {
        "project_id": st.text(),
        "collection": st.text(),
        "id": st.text(),
        "timestamp": LONG,
        "received_at": LONG,
        "processed_at": LONG,
        "properties": st.text(),
    }
)


@given(EVENT)
def test_what_is_encoded_is_read_back(event: dict[str, Any]) -> None:
    assert codec("event").decode(codec("event").encode(event)) == event


def test_the_header_is_the_specifications() -> None:
    """Avro specification, "Single-object encoding": C3 01, then the CRC-64-AVRO of the parsing canonical form, little endian."""
    crc, table = 0xC15D213AA4D7A795, []
    for i in range(256):
        value = i
        for _ in range(8):
            value = (value >> 1) ^ (0xC15D213AA4D7A795 & -(value & 1))
        table.append(value)
    schema = json.loads((schemas_folder() / "event.1.avsc").read_text())
    canonical = fastavro.schema.to_parsing_canonical_form(schema)
    for byte in canonical.encode():
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
    assert codec("event").header == b"\xc3\x01" + crc.to_bytes(8, "little")


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_with_codec_error_only(data: bytes) -> None:
    with pytest.raises(CodecError):
        codec("event").decode(data)


@given(EVENT, st.binary(min_size=1, max_size=20))
def test_trailing_bytes_are_refused(event: dict[str, Any], rest: bytes) -> None:
    with pytest.raises(CodecError, match="follow the datum"):
        codec("event").decode(codec("event").encode(event) + rest)


@pytest.mark.parametrize("record", [{}, {"project_id": 1}, None])
def test_a_record_that_does_not_fit_is_refused(record: Any) -> None:
    with pytest.raises(CodecError, match="not a event record"):
        codec("event").encode(record)


def test_an_unknown_schema_is_named() -> None:
    with pytest.raises(CodecError, match="no schema named nonsense"):
        codec("nonsense")


@pytest.mark.parametrize("name", NAMES)
def test_every_version_is_read_by_the_newest(name: str) -> None:
    """Holds for every version in the folder: a new one must give its new fields defaults."""
    newest = codec(name)
    for writer in newest.versions.values():
        sample = {field["name"]: _sample(field["type"]) for field in writer["fields"]}
        header = b"\xc3\x01" + next(key for key, schema in newest.versions.items() if schema is writer)
        assert set(newest.decode(header + _datum(writer, sample))) == {
            field["name"] for field in newest.schema["fields"]
        }


def test_a_newer_version_reads_older_records(tmp_path: Path) -> None:
    fields = [{"name": "a", "type": "long", "doc": "x"}]
    (tmp_path / "thing.1.avsc").write_text(json.dumps({"type": "record", "name": "Thing", "fields": fields}))
    old = Codec("thing", tmp_path).encode({"a": 7})
    fields.append({"name": "b", "type": "string", "default": "none", "doc": "y"})  # type: ignore[dict-item] - Avro defaults are of any type
    (tmp_path / "thing.2.avsc").write_text(json.dumps({"type": "record", "name": "Thing", "fields": fields}))
    assert Codec("thing", tmp_path).decode(old) == {"a": 7, "b": "none"}


@pytest.mark.parametrize("path", sorted(schemas_folder().glob("*.avsc")), ids=lambda path: path.name)
def test_every_field_has_a_doc(path: Path) -> None:
    schema = json.loads(path.read_text())
    assert schema["doc"]
    assert [field["name"] for field in schema["fields"] if not field.get("doc")] == []


def _datum(schema: Any, record: dict[str, Any]) -> bytes:
    import io

    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, record)
    return out.getvalue()


def _sample(kind: Any) -> Any:
    if isinstance(kind, list):
        return _sample(kind[-1])
    name = kind["type"] if isinstance(kind, dict) else kind
    if name == "array":
        return []
    return {"string": "x", "long": 5, "int": 5, "bytes": b"x", "boolean": True, "null": None}[name]
