"""Bodies read from the wire: of known length, chunked, compressed, broken off."""

import gzip
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.local.clickhouse.body import Body
from headwater.local.clickhouse.errors import EngineError


def read(body: Body) -> bytes:
    return b"".join(iter(body.read, b""))


def chunked(pieces: list[bytes], trailer: bytes = b"") -> bytes:
    return b"".join(b"%x;ext=1\r\n%b\r\n" % (len(p), p) for p in pieces if p) + b"0\r\n" + trailer + b"\r\n"


@given(st.lists(st.binary(max_size=100), max_size=5), st.sampled_from([b"", b"X-A: b\r\n"]))
def test_chunks_are_joined_and_the_next_request_is_left(pieces: list[bytes], trailer: bytes) -> None:
    source = io.BytesIO(chunked(pieces, trailer) + b"POST / HTTP/1.1")
    assert read(Body(source, None, "")) == b"".join(pieces)
    assert source.read() == b"POST / HTTP/1.1"


def test_a_body_of_known_length_ends_there() -> None:
    source = io.BytesIO(b"abcdef")
    assert read(Body(source, 4, "")) == b"abcd"
    assert source.read() == b"ef"


def test_a_compressed_chunked_body_is_decoded() -> None:
    wire = gzip.compress(b"x" * 3_000_000)
    body = Body(io.BytesIO(chunked([wire[:100], wire[100:]])), None, "gzip")
    pieces = list(iter(body.read, b""))
    assert b"".join(pieces) == b"x" * 3_000_000
    assert max(map(len, pieces)) <= 1 << 20


@pytest.mark.parametrize("wire", [b"5\r\nab", b"5\r\nabcde\r\n", b"zz\r\n", b""])
def test_a_chunked_body_that_breaks_off_is_an_error(wire: bytes) -> None:
    with pytest.raises(ConnectionError):
        read(Body(io.BytesIO(wire), None, ""))


def test_a_short_body_is_an_error() -> None:
    with pytest.raises(ConnectionError):
        read(Body(io.BytesIO(b"abc"), 4, ""))


def test_a_compressed_body_that_stops_early_is_an_error_of_the_client() -> None:
    wire = gzip.compress(b"hello" * 100)[:-4]
    with pytest.raises(EngineError, match="ends in the middle") as caught:
        read(Body(io.BytesIO(wire), len(wire), "gzip"))
    assert caught.value.code == 271


def test_draining_tells_whether_the_end_was_reached() -> None:
    assert Body(io.BytesIO(b"a" * 100), 100, "").drain(1 << 20)
    assert not Body(io.BytesIO(b"a" * 1_000_000), 1_000_000, "").drain(1000)
