"""Request bodies: read and decompressed within the limit, so that no client can make the collector hold more."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter
from typing import Any

from collector.errors import ApiError
from headwater import metrics

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

AT_ONCE_BYTES = 2_048  # compressed
# What is copied at a time, in and out: no other thread runs meanwhile.
PIECE_BYTES = 64 * 1024
PART_BYTES = 1024 * 1024
GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
RAW_DEFLATE = -zlib.MAX_WBITS
ZLIB_FIRST_BYTE = 0x78  # what every zlib stream in use starts with; a raw one cannot

_received = metrics.collector_phase_seconds.labels("receive").inc


async def read_body(receive: Receive, headers: dict[bytes, bytes], limit: int) -> bytes:
    """The body, decompressed. Raises ApiError: 413 beyond `limit` bytes before or after, 415, 400 for a broken stream."""
    declared = headers.get(b"content-length", b"")
    whole = int(declared) if declared.isdigit() else None
    if whole is not None and whole > limit:
        raise too_large(limit)
    began = perf_counter()
    message = await receive()
    body: bytes = message.get("body", b"")
    # To be told that nothing follows what is all there takes as long as to judge an event.
    if message.get("more_body") and len(body) != whole:
        body = await _rest(receive, body, whole, limit)
    _received(perf_counter() - began)
    if len(body) > limit:
        raise too_large(limit)
    encoding = headers.get(b"content-encoding")
    if encoding is None:
        return body
    given = (body, encoding.strip().lower(), limit)
    # A few kilobytes may come out as many megabytes, and other requests go on meanwhile.
    return decompress(*given) if len(body) <= AT_ONCE_BYTES else await asyncio.to_thread(decompress, *given)


async def _rest(receive: Receive, first: bytes, whole: int | None, limit: int) -> bytes:
    chunks, size, more = [first], len(first), True
    while more and size != whole:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ApiError(400, "InvalidEventError", "The body ended early.")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise too_large(limit)
        more = message.get("more_body", False)
    return b"".join(chunks)


def decompress(body: bytes, encoding: bytes, limit: int) -> bytes:
    """A body without its content encoding: gzip (several members too), deflate (zlib or raw) or identity. Raises ApiError."""
    if encoding in (b"identity", b""):
        return body
    if encoding not in (b"gzip", b"x-gzip", b"deflate"):
        raise ApiError(415, "InvalidEventError", "Content-Encoding must be gzip, deflate or identity.")
    window = RAW_DEFLATE if encoding == b"deflate" and body[:1] != bytes([ZLIB_FIRST_BYTE]) else GZIP_OR_ZLIB
    stream = zlib.decompressobj(window)
    parts: list[bytes] = []
    size = 0
    try:
        for start in range(0, len(body), PIECE_BYTES):
            piece, more = body[start : start + PIECE_BYTES], False
            while piece or more:
                if stream.eof:  # another member follows
                    stream = zlib.decompressobj(window)
                part = stream.decompress(piece, PART_BYTES)
                size += len(part)
                if size > limit:
                    raise too_large(limit)
                parts.append(part)
                piece = stream.unused_data if stream.eof else stream.unconsumed_tail
                more = (
                    len(part) == PART_BYTES and not stream.eof
                )  # it may hold back what is no part of the input any more
    except zlib.error:
        raise ApiError(400, "InvalidEventError", "The body is not what its Content-Encoding says.") from None
    if not stream.eof:
        raise ApiError(400, "InvalidEventError", "The compressed body ends early.")
    return b"".join(parts)


def too_large(limit: int) -> ApiError:
    """The answer to a body beyond the limit."""
    return ApiError(413, "InvalidBatchError", f"The body has more than {limit:,} bytes (after decompression).")
