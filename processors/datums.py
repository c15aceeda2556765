"""The datums of raw events and of events by hand: what the codec reads and writes, in a third of its time.

Tests hold the two equal. Avro 1.11, section "Binary encoding": a long is a zigzag varint, text its length and its bytes, a
union the number of its branch and the value.
"""

from typing import Any

from headwater.codec import HEADER_LENGTH
from headwater.container import avro_long

# What `raw_event` reads: the fields of schemas/raw_event.1.avsc. A newer version is the codec's to read.
RAW_EVENT_FIELDS = {
    "project_id": "string",
    "collection": "string",
    "id": ["null", "string"],
    "timestamp": ["null", {"type": "long"}],
    "received_at": ["null", {"type": "long"}],
    "ip": ["null", "string"],
    "user_agent": ["null", "string"],
    "addons": ["null", "string"],
    "properties": "string",
}

RawDatum = tuple[str, str, str | None, int | None, int | None, str | None, str | None, str | None, bytes]


def raw_event(data: bytes) -> RawDatum:
    """The fields of a raw_event record (version 1) in their order, properties as bytes.

    Raises ValueError or IndexError where the datum is none.
    """
    texts: list[str] = []
    at = HEADER_LENGTH
    for _ in range(2):  # project_id, collection
        size = data[at]
        at += 1
        if size > 0x7F:
            size, at = _rest(data, size, at)
        end = at + (size >> 1)
        texts.append(data[at:end].decode())
        at = end
    optional: list[Any] = []
    for is_text in (True, False, False, True, True, True):  # id, timestamp, received_at, ip, user_agent, addons
        branch = data[at]
        at += 1
        if branch == 0:
            optional.append(None)
            continue
        if branch != 2:
            raise ValueError("a union has no such branch")
        number = data[at]
        at += 1
        if number > 0x7F:
            number, at = _rest(data, number, at)
        if is_text:
            end = at + (number >> 1)
            optional.append(data[at:end].decode())
            at = end
        else:
            optional.append((number >> 1) ^ -(number & 1))
    size = data[at]
    at += 1
    if size > 0x7F:
        size, at = _rest(data, size, at)
    if at + (size >> 1) != len(data) or size & 1:
        raise ValueError(f"{len(data)} bytes are not what the datum says")
    return (*texts, *optional, data[at:])


def event(prefix: bytes, id_: str, timestamp: int, received_at: int, processed: bytes, properties: bytes) -> bytes:
    """An event's record: `prefix` is header, project and collection; `processed` the encoded time of processing."""
    return b"".join(
        (
            prefix,
            ID_LENGTH,
            id_.encode(),
            long(timestamp),
            long(received_at),
            processed,
            long(len(properties)),
            properties,
        )
    )


def long(value: int) -> bytes:
    """A long."""
    rest = value << 1 if value >= 0 else (-value << 1) - 1
    if 0x800000000 <= rest < 0x40000000000:  # milliseconds from 1970 to 2039, but for the first half year: six bytes
        return bytes(
            (
                rest & 0x7F | 0x80,
                rest >> 7 & 0x7F | 0x80,
                rest >> 14 & 0x7F | 0x80,
                rest >> 21 & 0x7F | 0x80,
                rest >> 28 & 0x7F | 0x80,
                rest >> 35,
            )
        )
    return avro_long(value)


def text(value: str) -> bytes:
    """A string."""
    data = value.encode()
    return long(len(data)) + data


ID_LENGTH = long(36)  # an event's id is a UUID in its canonical form


def _rest(data: bytes, number: int, at: int) -> tuple[int, int]:
    """A varint whose first byte says that more follow, and where it ends."""
    number &= 0x7F
    shift = 7
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
        if shift > 63:
            raise ValueError("a long has more than ten bytes")
