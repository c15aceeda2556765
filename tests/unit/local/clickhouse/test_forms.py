"""Forms: fields are parameters, files are temporary tables."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3.filepost import encode_multipart_formdata

from headwater.local.clickhouse.body import Body
from headwater.local.clickhouse.errors import EngineError
from headwater.local.clickhouse.forms import ExternalTable, read_form
from headwater.local.clickhouse.request import Request, parse


def read(url: str, fields: dict[str, str | tuple[str, bytes, str]]) -> tuple[Request, list[ExternalTable]]:
    content, kind = encode_multipart_formdata(fields)
    return read_form(parse("POST", url, {}), Body(io.BytesIO(content), len(content), ""), kind)


@given(st.binary(max_size=200), st.text(max_size=20))
def test_fields_and_files_arrive_byte_for_byte(data: bytes, value: str) -> None:
    value = value.encode("utf-8", "replace").decode()
    request, tables = read(
        "/?t_types=UInt8,Map(String,Int8)&t_format=RowBinary&max_threads=1",
        {"query": "SELECT 1", "param_x": value, "t": ("t.bin", data, "application/octet-stream")},
    )
    assert (request.query, request.params, request.settings) == ("SELECT 1", {"x": value}, {"max_threads": "1"})
    assert tables == [ExternalTable("t", "_1 UInt8, _2 Map(String,Int8)", "RowBinary", data)]


def test_a_table_needs_its_columns() -> None:
    with pytest.raises(EngineError, match="t_structure"):
        read("/", {"t": ("t.tsv", b"1", "text/plain")})


def test_a_form_without_boundary_is_refused() -> None:
    with pytest.raises(EngineError, match="boundary"):
        read_form(parse("POST", "/", {}), Body(io.BytesIO(b"x"), 1, ""), "multipart/form-data")
