"""Bodies within their limit."""

import gzip
import zlib
from collections.abc import MutableMapping
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.body import decompress, read_body
from collector.errors import ApiError

LIMIT = 10_000


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush()


@given(st.binary(max_size=LIMIT))
def test_what_was_compressed_comes_back(data: bytes) -> None:
    half = len(data) // 2
    assert decompress(gzip.compress(data), b"gzip", LIMIT) == data
    assert decompress(gzip.compress(data[:half]) + gzip.compress(data[half:]), b"gzip", LIMIT) == data
    assert decompress(zlib.compress(data), b"deflate", LIMIT) == data
    assert decompress(raw_deflate(data), b"deflate", LIMIT) == data


@pytest.mark.parametrize("size", [LIMIT + 1, 100_000_000])
@pytest.mark.parametrize(("encoding", "compress"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress)])
def test_bombs(size: int, encoding: bytes, compress: Any) -> None:
    with pytest.raises(ApiError) as caught:
        decompress(compress(bytes(size)), encoding, LIMIT)
    assert caught.value.status == 413


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress, raw_deflate])
@pytest.mark.parametrize(
    "data",
    [bytes(5_000_000), bytes(1024 * 1024), bytes(range(256)) * 15_000, Random(0).randbytes(300_000)],
    ids=["zeros", "one part of zeros", "repeated", "random"],
)
def test_what_is_more_than_one_piece_comes_back(data: bytes, compress: Any) -> None:
    assert decompress(compress(data), b"deflate" if compress is raw_deflate else b"gzip", len(data)) == data
    with pytest.raises(ApiError) as caught:
        decompress(compress(data), b"deflate" if compress is raw_deflate else b"gzip", len(data) - 1)
    assert caught.value.status == 413
    with pytest.raises(ApiError) as caught:
        decompress(compress(data)[:-1], b"deflate" if compress is raw_deflate else b"gzip", len(data))
    assert caught.value.status == 400
    if compress is not raw_deflate:
        assert decompress(compress(data) + compress(data), b"gzip", 2 * len(data)) == data + data


def test_a_bomb_in_many_members() -> None:
    with pytest.raises(ApiError) as caught:
        decompress(gzip.compress(bytes(100)) * 101, b"gzip", LIMIT)
    assert caught.value.status == 413


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (b"{}", b"gzip", 400),
        (gzip.compress(b"{}", mtime=0)[:-4], b"gzip", 400),
        (b"", b"gzip", 400),
        (gzip.compress(b"{}", mtime=0) + b"rest", b"gzip", 400),
        (b"{}", b"br", 415),
    ],
)
def test_broken_and_unknown_encodings(body: bytes, encoding: bytes, status: int) -> None:
    with pytest.raises(ApiError) as caught:
        decompress(body, encoding, LIMIT)
    assert caught.value.status == status


async def received(chunks: list[bytes], headers: dict[bytes, bytes], ends: bool = True) -> bytes:
    messages: list[MutableMapping[str, Any]] = [
        {"type": "http.request", "body": chunk, "more_body": not ends or number < len(chunks)}
        for number, chunk in enumerate(chunks, 1)
    ]
    queue = iter([*messages, {"type": "http.disconnect"}])

    async def receive() -> MutableMapping[str, Any]:
        return next(queue)

    return await read_body(receive, headers, LIMIT)


@pytest.mark.parametrize("headers", [{}, {b"content-encoding": b" Identity "}, {b"content-encoding": b""}])
async def test_chunks_are_joined(headers: dict[bytes, bytes]) -> None:
    assert await received([b"a", b"", b"bc"], headers) == b"abc"


@given(st.binary(max_size=LIMIT), st.lists(st.integers(0, LIMIT), max_size=5), st.sampled_from(["gzip", "zlib", "raw"]))
async def test_compressed_chunks_are_one_body(data: bytes, cuts: list[int], form: str) -> None:
    compress = {"gzip": gzip.compress, "zlib": zlib.compress, "raw": raw_deflate}[form]
    packed = compress(data)
    ends = [0, *sorted(cut % (len(packed) + 1) for cut in cuts), len(packed)]
    chunks = [packed[one:other] for one, other in pairwise(ends)]
    headers = {b"content-encoding": b"gzip" if form == "gzip" else b"deflate"}
    assert await received(chunks, headers) == data
    with pytest.raises(ApiError) as caught:
        await received([*chunks[:-1], chunks[-1][:-1]] if chunks[-1] else [packed[:-1]], headers)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("packed", "status", "unread"),
    [
        (gzip.compress(bytes(100_000_000), 1), 413, True),
        (b"no gzip" * 200_000, 400, False),
    ],
    ids=["a bomb is refused before it is all there", "what is broken is read to its end"],
)
async def test_when_a_compressed_body_is_refused(packed: bytes, status: int, unread: bool) -> None:
    size, limit = 65_536, len(packed)
    left = [packed[start : start + size] for start in range(0, len(packed), size)]

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    with pytest.raises(ApiError) as caught:
        await read_body(receive, {b"content-encoding": b"gzip"}, limit)
    assert caught.value.status == status
    assert bool(left) is unread


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress, raw_deflate])
async def test_a_large_compressed_body_is_decompressed_while_it_arrives(compress: Any) -> None:
    data = Random(1).randbytes(600_000) + bytes(2_000_000)  # more than is gathered, and more than is taken out at once
    packed = compress(data)
    left = [packed[start : start + 50_000] for start in range(0, len(packed), 50_000)]

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    encoding = b"deflate" if compress is raw_deflate else b"gzip"
    assert await read_body(receive, {b"content-encoding": encoding}, len(data)) == data


async def test_an_unknown_encoding_in_many_chunks() -> None:
    with pytest.raises(ApiError) as caught:
        await received([b"{", b"}"], {b"content-encoding": b"br"})
    assert caught.value.status == 415


@pytest.mark.parametrize(
    ("chunks", "headers", "ends", "status"),
    [
        ([b"x" * 5_001, b"x" * 5_000], {}, True, 413),
        ([b"x" * (LIMIT + 1)], {}, True, 413),
        ([b"x"], {b"content-length": b"10001"}, True, 413),
        ([b"x"], {}, False, 400),
    ],
)
async def test_too_much_or_too_little(
    chunks: list[bytes], headers: dict[bytes, bytes], ends: bool, status: int
) -> None:
    with pytest.raises(ApiError) as caught:
        await received(chunks, headers, ends)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("chunks", "declared", "asked"),
    [
        ([b"{}"], b"2", 1),  # all there: that nothing follows need not be heard
        ([b"{", b"}"], b"2", 2),
        ([b"{}", b""], None, 2),  # of so many bytes as come
        ([b"", b""], b"0", 1),
    ],
)
async def test_a_body_is_waited_for_until_it_is_all_there(
    chunks: list[bytes], declared: bytes | None, asked: int
) -> None:
    left = list(chunks)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": left.pop(0), "more_body": declared is not None or bool(left)}

    headers = {} if declared is None else {b"content-length": declared}
    assert await read_body(receive, headers, LIMIT) == b"".join(chunks)
    assert len(chunks) - len(left) == asked
