"""Compressed bodies of requests and answers, a chunk at a time: gzip, deflate, lz4 (frames) and zstd."""

import zlib
from typing import Protocol

import lz4.frame
import zstandard

from headwater.local.clickhouse import errors


class Decoder(Protocol):
    """Takes compressed chunks, gives what they hold."""

    def feed(self, chunk: bytes, limit: int) -> bytes:
        """At most about `limit` bytes of what `chunk` and what came before hold; call with b"" for more. b"" when dry."""

    def finished(self) -> bool:
        """Whether the compressed stream came to its proper end."""


class Encoder(Protocol):
    """Compresses a stream."""

    def feed(self, chunk: bytes) -> bytes:
        """What can be sent by now; may be empty."""

    def finish(self) -> bytes:
        """The end of the compressed stream."""


class _ZlibDecoder:
    """gzip or zlib, told apart by the header; gzip may have several members in a row."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._rest = b""

    def feed(self, chunk: bytes, limit: int) -> bytes:
        out = b""
        self._rest += chunk
        while self._rest and not out:
            if self._inner.eof:
                self._inner = zlib.decompressobj(zlib.MAX_WBITS | 32)
            out = self._inner.decompress(self._rest, limit)
            self._rest = self._inner.unused_data if self._inner.eof else self._inner.unconsumed_tail
        return out

    def finished(self) -> bool:
        return self._inner.eof and not self._rest


class _Lz4Decoder:
    def __init__(self) -> None:
        self._inner = lz4.frame.LZ4FrameDecompressor()

    def feed(self, chunk: bytes, limit: int) -> bytes:
        out = b""
        while not out:
            if self._inner.eof:
                chunk = (self._inner.unused_data or b"") + chunk
                if not chunk:
                    break
                self._inner = lz4.frame.LZ4FrameDecompressor()
            out = bytes(self._inner.decompress(chunk, max_length=limit))
            chunk = b""
            if not self._inner.eof:
                break
        return out

    def finished(self) -> bool:
        return bool(self._inner.eof)


class _ZstdDecoder:
    """zstd, several frames in a row. The library has no bound on its output, so it gets small bites: each gives 128 MiB at most."""

    _BITE = 4096

    def __init__(self) -> None:
        self._inner = zstandard.ZstdDecompressor().decompressobj()
        self._rest = b""

    def feed(self, chunk: bytes, limit: int) -> bytes:
        self._rest += chunk
        out = bytearray()
        position = 0
        while position < len(self._rest) and len(out) < limit:
            if self._inner.eof:
                self._inner = zstandard.ZstdDecompressor().decompressobj()
            bite = self._rest[position : position + self._BITE]
            out += self._inner.decompress(bite)
            position += len(bite) - len(self._inner.unused_data)
        self._rest = self._rest[position:]
        return bytes(out)

    def finished(self) -> bool:
        return self._inner.eof and not self._rest


class _ZlibEncoder:
    def __init__(self, window: int) -> None:
        self._inner = zlib.compressobj(level=3, wbits=window)

    def feed(self, chunk: bytes) -> bytes:
        return self._inner.compress(chunk)

    def finish(self) -> bytes:
        return self._inner.flush()


class _Lz4Encoder:
    def __init__(self) -> None:
        self._inner = lz4.frame.LZ4FrameCompressor()
        self._head = bytes(self._inner.begin())

    def feed(self, chunk: bytes) -> bytes:
        head, self._head = self._head, b""
        return head + bytes(self._inner.compress(chunk))

    def finish(self) -> bytes:
        return self._head + bytes(self._inner.flush())


class _ZstdEncoder:
    def __init__(self) -> None:
        self._inner = zstandard.ZstdCompressor(level=1).compressobj()

    def feed(self, chunk: bytes) -> bytes:
        return self._inner.compress(chunk)

    def finish(self) -> bytes:
        return self._inner.flush()


class Plain:
    """No compression, either way."""

    def feed(self, chunk: bytes, limit: int = 0) -> bytes:
        """The chunk as it is."""
        return chunk

    def finish(self) -> bytes:
        """Nothing."""
        return b""

    def finished(self) -> bool:
        """Always."""
        return True


DAMAGE = (zlib.error, zstandard.ZstdError, RuntimeError, EOFError)
"""What the decoders raise for bytes that are not what the encoding says."""


def decoder(encoding: str) -> Decoder:
    """The decoder for a Content-Encoding; raises EngineError (89) for one that is not known."""
    match encoding.strip().lower():
        case "" | "identity":
            return Plain()
        case "gzip" | "x-gzip" | "deflate":
            return _ZlibDecoder()
        case "lz4":
            return _Lz4Decoder()
        case "zstd":
            return _ZstdDecoder()
    raise errors.refused(
        errors.Code.UNKNOWN_COMPRESSION_METHOD,
        f"Content-Encoding {encoding!r} is not known: use lz4, zstd, gzip or deflate",
    )


def negotiate(accept_encoding: str) -> str:
    """The encoding to answer with: the first of the client's that is known here; empty for none."""
    for item in accept_encoding.split(","):
        name, _, quality = item.partition(";")
        if name.strip().lower() in ("lz4", "zstd", "gzip", "deflate") and quality.replace(" ", "") not in (
            "q=0",
            "q=0.0",
        ):
            return name.strip().lower()
    return ""


def encoder(encoding: str) -> Encoder:
    """The encoder for what `negotiate` chose."""
    match encoding:
        case "lz4":
            return _Lz4Encoder()
        case "zstd":
            return _ZstdEncoder()
        case "gzip":
            return _ZlibEncoder(zlib.MAX_WBITS | 16)
        case "deflate":
            return _ZlibEncoder(zlib.MAX_WBITS)
    return Plain()
