"""Containers of datums read back, by fastavro, as what was written."""

import io
from typing import Any

import fastavro
import pytest
from fastavro.schema import to_parsing_canonical_form
from hypothesis import given
from hypothesis import strategies as st

from headwater.codec import HEADER_LENGTH, codec
from headwater.container import BLOCK_DATUMS, avro_long, avro_string, container

EVENT = codec("event")
SCHEMA = to_parsing_canonical_form(EVENT.schema)

longs = st.integers(-(2**63), 2**63 - 1)
events = st.fixed_dictionaries(
    {
        "project_id": st.text(),
        "collection": st.text(),
        "id": st.text(),
        "timestamp": longs,
        "received_at": longs,
        "processed_at": longs,
        "properties": st.text(max_size=300),
    }
)


def datum(event: dict[str, Any]) -> bytes:
    return EVENT.encode(event)[HEADER_LENGTH:]


@given(st.lists(events, max_size=20))
def test_reads_back_as_what_was_written(written: list[dict[str, Any]]) -> None:
    file = container(SCHEMA, [datum(event) for event in written])
    assert list(fastavro.reader(io.BytesIO(file))) == written


def test_a_container_larger_than_a_reader_buffers_reads_back() -> None:
    event = dict.fromkeys(("project_id", "collection", "id"), "x") | dict.fromkeys(
        ("timestamp", "received_at", "processed_at"), 1
    )
    written = [event | {"properties": "é" * size} for size in (0, 100_000, 3, 1_000_000)]
    file = container(SCHEMA, [datum(one) for one in written])
    assert list(fastavro.reader(io.BytesIO(file))) == written


def test_many_datums_are_several_blocks() -> None:
    written = [{"number": number} for number in range(2 * BLOCK_DATUMS + 1)]
    schema = '{"type":"record","name":"N","fields":[{"name":"number","type":"long"}]}'
    file = container(schema, (avro_long(number) for number in range(len(written))))
    assert list(fastavro.reader(io.BytesIO(file))) == written
    blocks = list(fastavro.block_reader(io.BytesIO(file)))
    assert [block.num_records for block in blocks] == [BLOCK_DATUMS, BLOCK_DATUMS, 1]


def test_carries_its_schema_for_readers_of_any_version() -> None:
    reader = fastavro.reader(io.BytesIO(container(SCHEMA, [])))
    assert to_parsing_canonical_form(reader.writer_schema) == SCHEMA
    assert list(reader) == []


def test_the_same_datums_give_the_same_bytes() -> None:
    assert container(SCHEMA, [b"a"]) == container(SCHEMA, [b"a"])


@given(longs)
def test_longs_are_those_of_the_reference(number: int) -> None:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, {"type": "long"}, number)
    assert avro_long(number) == out.getvalue()


@pytest.mark.parametrize("text", ["", "a", "é", "🙂" * 100])
def test_strings_are_those_of_the_reference(text: str) -> None:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, {"type": "string"}, text)
    assert avro_string(text) == out.getvalue()
