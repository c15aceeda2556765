"""The datums of raw events and of events by hand: what the codec reads and writes, in a third of its time.

Tests hold the two equal. Avro 1.11, section "Binary encoding": a long is a zigzag varint, text its length and its bytes, a
union the number of its branch and the value.
"""

import re
from enum import IntEnum
from functools import lru_cache

from headwater.codec import HEADER_LENGTH
from headwater.container import avro_long

# What `raw_event` reads: the fields of schemas/raw_event.2.avsc. A newer version is the codec's to read.
RAW_EVENT_FIELDS = {
    "project_id": "string",
    "collection": "string",
    "id": ["null", "string"],
    "timestamp": ["null", {"type": "long"}],
    "received_at": ["null", {"type": "long"}],
    "id_given": "boolean",
    "time_given": "boolean",
    "ip": ["null", "string"],
    "user_agent": ["null", "string"],
    "addons": ["null", "string"],
    "properties": "string",
}


RawDatum = tuple[
    tuple[str, str],
    bytes | None,
    int | None,
    int | None,
    bytes | None,
    bytes,
    str | None,
    str | None,
    str | None,
    bytes,
]
"""The fields of a raw_event record: project and collection, id, timestamp, received_at; timestamp and received_at as they
are encoded in an event's record; id_given and time_given, a byte each, 0 or 1; ip, user_agent, addons, properties.

The encoded times are None where one of the two is not given, or is further away than six bytes reach, or the id is not given
as a UUID in its canonical form.
"""

# id (a UUID in its canonical form), timestamp and received_at, all there, both times between 1970 and 2248: six bytes
# each; id_given and time_given.
_USUAL = re.compile(
    rb"\x02\x48([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
    rb"\x02([\x80-\xff]{5}[\x00-\x7f])\x02([\x80-\xff]{5}[\x00-\x7f])([\x00\x01]{2})"
).match


# The field as it was encoded last, and its text: events that follow each other mostly ask for the same.
_last_addons: tuple[bytes, str | None] = b"\x00", None


class Given(IntEnum):
    """What an event has again when its sender sends it again."""

    NOT_THE_ID = 0
    ID_AND_TIME = 1
    ID_ONLY = 2


GIVEN = {  # by id_given and time_given
    b"\x00\x00": Given.NOT_THE_ID,
    b"\x00\x01": Given.NOT_THE_ID,
    b"\x01\x00": Given.ID_ONLY,
    b"\x01\x01": Given.ID_AND_TIME,
}


def raw_event(data: bytes) -> RawDatum:
    """The fields of a raw_event record (version 2).

    Raises ValueError or IndexError where the datum is none.
    """
    global _last_addons
    project = data[HEADER_LENGTH]
    at = HEADER_LENGTH + 1 + (project >> 1)
    collection = data[at]
    if project > 0x7F or collection > 0x7F:
        first, at = _text(data, HEADER_LENGTH)
        second, at = _text(data, at)
        names = first, second
    else:
        at += 1 + (collection >> 1)
        names = _names(data[HEADER_LENGTH:at])
    id_: bytes | None
    timestamp: int | None
    received_at: int | None
    times: bytes | None
    usual = _USUAL(data, at)
    if usual is not None:
        id_, one, other, facts = usual.groups()
        timestamp = received_at = _milliseconds(one)
        if other != one:
            received_at = _milliseconds(other)
        times = one + other
        at = usual.end()
    else:
        id_, at = _optional_id(data, at)
        timestamp, at = _optional_long(data, at)
        received_at, at = _optional_long(data, at)
        times = None
        facts = data[at : at + 2]
        if facts not in GIVEN:
            raise ValueError("a boolean is neither 0 nor 1")
        at += 2
    ip, at = _optional_text(data, at)
    user_agent, at = _optional_text(data, at)
    last = _last_addons
    if data.startswith(last[0], at):
        at += len(last[0])
    else:
        began = at
        asked, at = _optional_text(data, at)
        last = data[began:at], asked
    size = data[at]
    at += 1
    if size > 0x7F:
        more = data[at]
        if more < 0x80:
            size = size & 0x7F | more << 7
            at += 1
        else:
            size, at = _rest(data, size, at)
    if at + (size >> 1) != len(data) or size & 1:
        raise ValueError(f"{len(data)} bytes are not what the datum says")
    _last_addons = last  # not before: of a datum that is cut off, it would be how other fields begin
    return (names, id_, timestamp, received_at, times, facts, ip, user_agent, last[1], data[at:])


def event(prefix: bytes, id_: bytes, times: bytes, processed: bytes, properties: bytes) -> bytes:
    """An event's record: `prefix` is header, project and collection; `times` and `processed` are encoded longs."""
    return b"".join((prefix, ID_LENGTH, id_, times, processed, length(properties), properties))


def length(text: bytes) -> bytes:
    """What stands in front of a string."""
    size = len(text)
    return _LENGTHS[size] if size < len(_LENGTHS) else avro_long(size)


def text(value: str) -> bytes:
    """A string."""
    data = value.encode()
    return length(data) + data


def times(timestamp: int, received_at: int) -> bytes:
    """The two times of an event's record."""
    return avro_long(timestamp) + avro_long(received_at)


_LENGTHS = tuple(map(avro_long, range(4_096)))  # of most events; 4,096 short byte strings
ID_LENGTH = avro_long(36)  # an event's id is a UUID in its canonical form


@lru_cache(10_000)
def _names(data: bytes) -> tuple[str, str]:
    """Project and collection, of less than 64 bytes each."""
    end = 1 + (data[0] >> 1)
    if data[0] & 1 or data[end] & 1:
        raise ValueError("text has a negative length")
    return data[1:end].decode(), data[end + 1 :].decode()


def _milliseconds(data: bytes) -> int:
    """A long of six bytes."""
    number = _high_bits(data[2:]) | (data[1] & 0x7F) << 7 | data[0] & 0x7F
    return ~(number >> 1) if number & 1 else number >> 1


@lru_cache(1_000)  # the same for eight seconds
def _high_bits(data: bytes) -> int:
    """The four last bytes of such a long."""
    number, _ = _rest(data, data[0], 1)
    return number << 14


def _optional_text(data: bytes, at: int) -> tuple[str | None, int]:
    """A union of null and string, and where it ends."""
    branch = data[at]
    if branch == 0:
        return None, at + 1
    size = data[at + 1]
    at += 2
    if size > 0x7F:
        more = data[at]
        if more < 0x80:  # as of all texts of 64 to 8,191 bytes
            size = size & 0x7F | more << 7
            at += 1
        else:
            size, at = _rest(data, size, at)
    if branch != 2 or size & 1:
        raise ValueError("a union has no such branch, or a text this length")
    end = at + (size >> 1)
    return data[at:end].decode(), end


def _optional_id(data: bytes, at: int) -> tuple[bytes | None, int]:
    """A union of null and string, and where it ends."""
    branch = data[at]
    if branch == 0:
        return None, at + 1
    if branch != 2:
        raise ValueError("a union has no such branch")
    text, at = _text(data, at + 1)
    return text.encode(), at


def _optional_long(data: bytes, at: int) -> tuple[int | None, int]:
    """A union of null and long, and where it ends."""
    branch = data[at]
    if branch == 0:
        return None, at + 1
    if branch != 2:
        raise ValueError("a union has no such branch")
    number = data[at + 1]
    at += 2
    if number > 0x7F:
        number, at = _rest(data, number, at)
    return (number >> 1) ^ -(number & 1), at


def _text(data: bytes, at: int) -> tuple[str, int]:
    """A string, and where it ends."""
    size = data[at]
    at += 1
    if size > 0x7F:
        size, at = _rest(data, size, at)
    if size & 1:
        raise ValueError("text has a negative length")
    end = at + (size >> 1)
    return data[at:end].decode(), end


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
