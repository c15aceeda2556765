"""Which records of a collection's topic are whole event datums of that collection: settled without decoding them.

A batch's datums are joined into one container, where a record that is cut short or has bytes too many would shift all
that follow. So the bounds of every record are checked before: by a regular expression made from the writer's schema
(under 1 us a record, where decoding takes 4 to 8), and by decoding where that does not match.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from confluent_kafka import Message
from fastavro.schema import to_parsing_canonical_form

from headwater.codec import HEADER_LENGTH, MARKER, Codec, CodecError
from headwater.container import avro_string
from headwater.topics import collection_topic

_LONG = rb"[\x80-\xff]{0,8}[\x00-\x7f]"  # up to nine bytes: a tenth could overflow, and is left to decoding
_ID = re.escape(avro_string("x" * 36)[:1]) + rb"[\x00-\x7f]{36}"  # a UUID's text
_LENGTH = rb"(?P<length>[\x80-\xff]{0,4}[\x00-\x7f])"


@dataclass(frozen=True)
class Collection:
    """A project's collection."""

    project_id: str
    name: str


@dataclass(frozen=True)
class Fault:
    """Why a record cannot be stored: a dead letter's reason, error class and message."""

    reason: str
    error_class: str
    message: str


Faulty = list[tuple[Message, Fault]]


def identify(codec: Codec, prefix: str, records: Iterable[Message]) -> Collection | None:
    """The collection that a topic belongs to, read from the first of its records that is right; None where none is.

    A topic's name may hold a shortened form of the collection's, so the name is taken from a record and held against
    the topic's.
    """
    for record in records:
        try:
            event = codec.decode(record.value() or b"")
        except CodecError:
            continue
        if collection_topic(prefix, event["project_id"], event["collection"]) == record.topic():
            return Collection(event["project_id"], event["collection"])
    return None


def sort_records(
    codec: Codec, collection: Collection | None, records: Iterable[Message]
) -> tuple[dict[bytes, list[Message]], Faulty]:
    """The records that can be inserted, by their header, which tells the schema version; and those that cannot be.

    Where the collection is not known, none can.
    """
    groups: dict[bytes, list[Message]] = {}
    faulty: Faulty = []
    checks: dict[bytes, DatumCheck] = {}
    for record in records:
        value = record.value() or b""
        header = value[:HEADER_LENGTH]
        check = checks.get(header)
        if check is None:
            check = checks[header] = DatumCheck(codec, header, collection)
        fault = check.fault(value)
        if fault is None:
            groups.setdefault(header, []).append(record)
        else:
            faulty.append((record, fault))
    return groups, faulty


def datum(record: Message) -> bytes:
    """A checked record's datum: what follows the header."""
    value = record.value()
    assert value is not None
    return value[HEADER_LENGTH:]


class DatumCheck:
    """Checks the records that start with one header: that each is one whole datum of the collection's."""

    def __init__(self, codec: Codec, header: bytes, collection: Collection | None) -> None:
        self._codec = codec
        self._collection = collection
        schema = codec.versions.get(header[len(MARKER) :]) if header.startswith(MARKER) else None
        pattern = _pattern(schema, collection) if schema and collection else None
        self._match = re.compile(re.escape(header) + pattern, re.DOTALL).match if pattern else None

    def fault(self, value: bytes) -> Fault | None:
        """None for a record that can be stored, else what is wrong with it."""
        if self._match is not None:
            found = self._match(value)
            if found:
                text = value[found.end() :]
                if len(text) == _length(found["length"]) and (text.isascii() or _is_utf8(text)):
                    return None
        return self._fault_of_decoded(value)

    def accepted_at(self, record: Message) -> int:
        """When the event of a record without fault was received or processed, whichever was first (milliseconds since 1970)."""
        value = record.value()
        assert value is not None
        found = self._match(value) if self._match is not None else None
        if found:
            return min(_long(found["received_at"]), _long(found["processed_at"]))
        event = self._codec.decode(value)
        return int(min(event["received_at"], event["processed_at"]))

    def received_at(self, record: Message) -> int:
        """When the event of a record without fault was received (milliseconds since 1970)."""
        value = record.value()
        assert value is not None
        found = self._match(value) if self._match is not None else None
        return _long(found["received_at"]) if found else int(self._codec.decode(value)["received_at"])

    def _fault_of_decoded(self, value: bytes) -> Fault | None:
        try:
            event = self._codec.decode(value)
        except CodecError as error:
            return Fault("unreadable", type(error).__name__, str(error))
        found = Collection(event["project_id"], event["collection"])
        if found == self._collection:
            return None
        return Fault(
            "invalid_event",
            "WrongTopic",
            f"the event is of project {found.project_id!r} and collection {found.name!r}, whose events have another topic",
        )


def _pattern(schema: Any, collection: Collection) -> bytes | None:
    """What a datum of the schema looks like up to its last string's text; None for a schema of another form."""
    *fields, last = orjson.loads(to_parsing_canonical_form(schema))["fields"]
    parts = []
    for one in fields:
        match one["name"], one["type"]:
            case "project_id", "string":
                parts.append(re.escape(avro_string(collection.project_id)))
            case "collection", "string":
                parts.append(re.escape(avro_string(collection.name)))
            case "id", "string":
                parts.append(_ID)
            case ("received_at" | "processed_at") as name, "long":
                parts.append(b"(?P<%b>%b)" % (name.encode(), _LONG))
            case _, "long":
                parts.append(_LONG)
            case _:
                return None
    return b"".join(parts) + _LENGTH if last["type"] == "string" else None


@lru_cache(maxsize=8192)
def _length(encoded: bytes) -> int:
    """An Avro long that is a length."""
    return _long(encoded)


def _long(encoded: bytes) -> int:
    """An Avro long. Times that are near each other have all but their two lowest bytes in common."""
    number = encoded[0] & 0x7F
    if len(encoded) > 1:
        number |= (encoded[1] & 0x7F) << 7 | _bits(encoded[2:]) << 14
    return (number >> 1) ^ -(number & 1)


@lru_cache(maxsize=8192)
def _bits(encoded: bytes) -> int:
    number = 0
    for position, byte in enumerate(encoded):
        number |= (byte & 0x7F) << 7 * position
    return number


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
