"""Request bodies: read and decompressed within the limit, so that no client can make the collector hold more."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from time import perf_counter
from typing import Any

from collector.errors import ApiError
from headwater import metrics

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

AT_ONCE_BYTES = 2_048  # compressed
GATHERED_BYTES = 256 * 1024  # compressed; beyond it the beginning is decompressed before the rest arrives
# What is copied at a time, in and out: no other thread runs meanwhile, and so much stays in the processor's cache.
PIECE_BYTES = PART_BYTES = 64 * 1024
GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
RAW_DEFLATE = -zlib.MAX_WBITS
ZLIB_FIRST_BYTE = 0x78  # what every zlib stream in use starts with; a raw one cannot

_received = metrics.collector_phase_seconds.labels("receive").inc


async def read_body(receive: Receive, headers: dict[bytes, bytes], limit: int) -> bytes:
    """The body, decompressed.

    Raises ApiError: 413 beyond `limit` bytes before or after decompression, and then the rest of the body may be unread; 415, 400 for
    a broken stream.
    """
    declared = headers.get(b"content-length", b"")
    whole = int(declared) if declared.isdigit() else None
    if whole is not None and whole > limit:
        raise too_large(limit)
    encoding = headers.get(b"content-encoding")
    if encoding is not None:
        encoding = encoding.strip().lower()
        if encoding in (b"", b"identity"):
            encoding = None
    message = await _message(receive)
    body: bytes = message.get("body", b"")
    # To be told that nothing follows what is all there takes as long as to judge an event.
    if message.get("more_body") and len(body) != whole:
        chunks = _chunks(receive, body, whole, limit)
        if encoding is not None:
            return await _decompressed(chunks, encoding, limit)
        body = b"".join([chunk async for chunk in chunks])
    if len(body) > limit:
        raise too_large(limit)
    if encoding is None:
        return body
    # A few kilobytes may come out as many megabytes, and other requests go on meanwhile.
    given = (body, encoding, limit)
    return decompress(*given) if len(body) <= AT_ONCE_BYTES else await asyncio.to_thread(decompress, *given)


async def _message(receive: Receive) -> MutableMapping[str, Any]:
    began = perf_counter()
    message = await receive()
    _received(perf_counter() - began)
    return message


async def _chunks(receive: Receive, first: bytes, whole: int | None, limit: int) -> AsyncIterator[bytes]:
    """A body as it arrives, from its first chunk on. Raises ApiError."""
    yield first
    size, more = len(first), True
    while more and size != whole:
        message = await _message(receive)
        if message["type"] == "http.disconnect":
            raise ApiError(400, "InvalidEventError", "The body ended early.")
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise too_large(limit)
        yield chunk
        more = message.get("more_body", False)


async def _decompressed(chunks: AsyncIterator[bytes], encoding: bytes, limit: int) -> bytes:
    """A body that comes in several chunks, decompressed. What turns out too large is not received to its end."""
    waiting: list[bytes] = []
    size = 0
    try:
        stream = Decompression(encoding, limit)
        async for chunk in chunks:
            waiting.append(chunk)
            size += len(chunk)
            if size >= GATHERED_BYTES:
                await asyncio.to_thread(stream.add, b"".join(waiting))
                waiting, size = [], 0
        rest = b"".join(waiting)
        if len(rest) <= AT_ONCE_BYTES and stream.is_new:
            return stream.end(rest)
        return await asyncio.to_thread(stream.end, rest)
    except ApiError as error:
        if error.status != 413:  # whose answer ends the connection; the other answers do not
            async for _ in chunks:
                pass
        raise


def decompress(body: bytes, encoding: bytes, limit: int) -> bytes:
    """A body without its content encoding: gzip (several members too) or deflate (zlib or raw). Raises ApiError."""
    return Decompression(encoding, limit).end(body)


class Decompression:
    """A body that is decompressed part by part. Raises ApiError, as its methods do."""

    def __init__(self, encoding: bytes, limit: int) -> None:
        if encoding not in (b"gzip", b"x-gzip", b"deflate"):
            raise ApiError(415, "InvalidEventError", "Content-Encoding must be gzip, deflate or identity.")
        self._deflate = encoding == b"deflate"
        self._limit = limit
        self._stream: Any = None  # zlib has no name for its type
        self._window = GZIP_OR_ZLIB
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def is_new(self) -> bool:
        """Whether nothing was added yet."""
        return self._stream is None

    def add(self, body: bytes) -> None:
        """Decompress what follows. Raises ApiError where it is broken or brings more than the limit."""
        if self._stream is None and body:
            if self._deflate and body[0] != ZLIB_FIRST_BYTE:
                self._window = RAW_DEFLATE
            self._stream = zlib.decompressobj(self._window)
        try:
            for start in range(0, len(body), PIECE_BYTES):
                self._add(body[start : start + PIECE_BYTES])
        except zlib.error:
            raise ApiError(400, "InvalidEventError", "The body is not what its Content-Encoding says.") from None

    def end(self, body: bytes) -> bytes:
        """All of it, with the rest. Raises ApiError where its end is missing, too."""
        self.add(body)
        if self._stream is None or not self._stream.eof:
            raise ApiError(400, "InvalidEventError", "The compressed body ends early.")
        return b"".join(self._parts)

    def _add(self, piece: bytes) -> None:
        more = False
        while piece or more:
            if self._stream.eof:  # another member follows
                self._stream = zlib.decompressobj(self._window)
            part = self._stream.decompress(piece, PART_BYTES)
            self._size += len(part)
            if self._size > self._limit:
                raise too_large(self._limit)
            self._parts.append(part)
            piece = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            # It may hold back what is no part of the input any more.
            more = len(part) == PART_BYTES and not self._stream.eof


def too_large(limit: int) -> ApiError:
    """The answer to a body beyond the limit."""
    return ApiError(413, "InvalidBatchError", f"The body has more than {limit:,} bytes (after decompression).")
