"""Avro object containers made of datums as they are, without decoding one of them.

After the Avro specification, section "Object container files": a header (magic, metadata, sync marker), then blocks of
[number of datums][their bytes][datums][sync marker].
"""

import hashlib
import io
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice

MAGIC = b"Obj\x01"
_MORE = tuple(bytes([bits | 0x80]) for bits in range(0x80))  # bytes that others follow
BLOCK_DATUMS = 1_000


def container(schema: str, datums: Iterable[bytes]) -> bytes:
    """A container file of `datums`, all written with `schema` (JSON text), in blocks of up to 1,000, not compressed.

    The datums are not looked at: one that is not of the schema makes the file unreadable from there on. The sync marker
    comes from the schema, so the same datums give the same bytes.
    """
    sync = hashlib.md5(schema.encode(), usedforsecurity=False).digest()
    metadata = {"avro.schema": schema, "avro.codec": "null"}
    entries = b"".join(avro_string(name) + avro_string(value) for name, value in metadata.items())
    out = io.BytesIO()
    out.writelines((MAGIC, avro_long(len(metadata)), entries, avro_long(0), sync))
    rest = iter(datums)
    while block := list(islice(rest, BLOCK_DATUMS)):
        out.writelines((avro_long(len(block)), avro_long(sum(map(len, block))), *block, sync))
    return out.getvalue()


def avro_long(number: int) -> bytes:
    """A 64-bit integer in Avro's binary form: zigzag, then seven bits a byte, the lowest first."""
    rest = (number << 1) ^ (number >> 63)
    if rest >= 0x20_0000:
        return _MORE[rest & 0x7F] + _MORE[rest >> 7 & 0x7F] + _rest(rest >> 14)
    return _varint(rest)


@lru_cache(maxsize=4_096)
def _rest(number: int) -> bytes:
    """What follows the lowest 14 bits: of times near each other it is the same (2^13 milliseconds are 8 seconds)."""
    return _varint(number)


def _varint(rest: int) -> bytes:
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def avro_string(text: str) -> bytes:
    """A string in Avro's binary form: its length in bytes, then its UTF-8."""
    encoded = text.encode()
    return avro_long(len(encoded)) + encoded
