"""Request bodies: read and decompressed within the limit, so that no client can make the collector hold more."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from collector.errors import ApiError

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

AT_ONCE_BYTES = 2_048  # compressed
GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
RAW_DEFLATE = -zlib.MAX_WBITS
ZLIB_FIRST_BYTE = 0x78  # what every zlib stream in use starts with; a raw one cannot


async def read_body(receive: Receive, headers: dict[bytes, bytes], limit: int) -> bytes:
    """The body, decompressed. Raises ApiError: 413 beyond `limit` bytes before or after, 415, 400 for a broken stream."""
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > limit:
        raise too_large(limit)
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        body = await _rest(receive, body, limit)
    if len(body) > limit:
        raise too_large(limit)
    encoding = headers.get(b"content-encoding")
    if encoding is None:
        return body
    given = (body, encoding.strip().lower(), limit)
    # A few kilobytes may come out as many megabytes, and other requests go on meanwhile.
    return decompress(*given) if len(body) <= AT_ONCE_BYTES else await asyncio.to_thread(decompress, *given)


async def _rest(receive: Receive, first: bytes, limit: int) -> bytes:
    chunks, size, more = [first], len(first), True
    while more:
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
    raw = encoding == b"deflate" and body[:1] != bytes([ZLIB_FIRST_BYTE])
    parts: list[bytes] = []
    size, rest = 0, body
    try:
        while rest or not parts:
            stream = zlib.decompressobj(RAW_DEFLATE if raw else GZIP_OR_ZLIB)
            parts.append(stream.decompress(rest, limit + 1 - size))
            size += len(parts[-1])
            if size > limit:
                raise too_large(limit)
            if not stream.eof:
                raise ApiError(400, "InvalidEventError", "The compressed body ends early.")
            rest = stream.unused_data
    except zlib.error:
        raise ApiError(400, "InvalidEventError", "The body is not what its Content-Encoding says.") from None
    return b"".join(parts)


def too_large(limit: int) -> ApiError:
    """The answer to a body beyond the limit."""
    return ApiError(413, "InvalidBatchError", f"The body has more than {limit:,} bytes (after decompression).")
