"""Compressed streams: what goes in comes out, in bounded pieces, whatever the pieces of the wire."""

import gzip
import zlib

import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from headwater.local.clickhouse import compression
from headwater.local.clickhouse.errors import EngineError

COMPRESS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "lz4": lz4.frame.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
ENCODINGS = sorted(COMPRESS)


def decode(encoding: str, pieces: list[bytes], limit: int = 1 << 16) -> tuple[bytes, bool]:
    decoder = compression.decoder(encoding)
    out = b""
    for piece in pieces:
        more = decoder.feed(piece, limit)
        while more:
            out += more
            more = decoder.feed(b"", limit)
    return out, decoder.finished()


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(
    members=st.lists(st.binary(max_size=300), min_size=1, max_size=3),
    size=st.integers(1, 50),
    limit=st.integers(1, 100),
)
def test_members_in_a_row_are_read_in_any_pieces(encoding: str, members: list[bytes], size: int, limit: int) -> None:
    if encoding == "deflate":
        members = members[:1]
    wire = b"".join(COMPRESS[encoding](member) for member in members)
    assert decode(encoding, cut(wire, size), limit) == (b"".join(members), True)


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(pieces=st.lists(st.binary(max_size=100), max_size=5))
def test_what_we_encode_the_decoder_reads(encoding: str, pieces: list[bytes]) -> None:
    encoder = compression.encoder(encoding)
    wire = b"".join([*(encoder.feed(piece) for piece in pieces), encoder.finish()])
    assert decode(encoding, [wire]) == (b"".join(pieces), True)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_stream_that_was_cut_is_not_finished(encoding: str) -> None:
    wire = COMPRESS[encoding](bytes(range(256)) * 50)
    assert decode(encoding, [wire[:-1]])[1] is False


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_bytes_of_another_kind_are_damage(encoding: str) -> None:
    with pytest.raises(compression.DAMAGE):
        decode(encoding, [b"this is no compressed stream at all"])


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_bomb_comes_out_in_bounded_pieces(encoding: str) -> None:
    decoder = compression.decoder(encoding)
    assert len(decoder.feed(COMPRESS[encoding](bytes(300_000_000))[:20_000], 1 << 20)) <= 128 << 20


def test_an_unknown_encoding_is_refused_by_name() -> None:
    with pytest.raises(EngineError, match="'snappy'") as caught:
        compression.decoder("snappy")
    assert caught.value.code == 89


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("", ""),
        ("br", ""),
        ("br, gzip", "gzip"),
        ("lz4,zstd", "lz4"),
        ("gzip;q=0, zstd;q=0.5", "zstd"),
        ("identity", ""),
    ],
)
def test_the_first_known_encoding_is_chosen(accepted: str, chosen: str) -> None:
    assert compression.negotiate(accepted) == chosen
