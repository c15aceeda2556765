"""Events as records of the raw topic: checked, named, and written as Avro by hand.

The datum is what headwater.codec would write (a test holds the two against each other), in a fifth of its time.
"""

import time

import orjson

from collector.errors import TooLargeError
from headwater.codec import codec
from headwater.identity import event_id, new_event_id, record_key
from headwater.rules import RuleError, check_event, take_reserved
from headwater.settings import Settings

Record = tuple[bytes, bytes]  # key and value

SENDER_MAX = 1_000  # bytes of an address or user agent that is kept
NULL = b"\x00"
GIVEN = b"\x02"  # the second branch of a union with null
PLACEHOLDER = b"${keen."


class RequestRecords:
    """Makes the records of one request: they share project, time of receipt and sender."""

    def __init__(self, settings: Settings, project_id: str, ip: str | None, user_agent: str | None) -> None:
        self._max_depth = settings.event_max_depth
        self._max_bytes = settings.event_max_bytes
        self._project_id = project_id
        self._ip = ip
        self._user_agent = user_agent
        self._received_at = time.time_ns() // 1_000_000
        self._received = GIVEN + _long(self._received_at)
        self._project = codec("raw_event").header + _string(project_id.encode())
        self._collections: dict[str, bytes] = {}

    def record(self, collection: str, event: object) -> Record:
        """The record of one event of a collection whose name has been checked. Changes `event`. Raises RuleError."""
        check_event(event, self._max_depth)
        assert isinstance(event, dict)
        reserved = take_reserved(event)
        try:
            properties = orjson.dumps(event)
        except TypeError as error:  # the nesting that orjson writes ends before event_max_depth may
            raise RuleError("InvalidPropertyValueError", "The event is nested too deeply.") from error
        if len(properties) > self._max_bytes:
            raise _too_large(event, len(properties), self._max_bytes)
        client_id = reserved.client_id
        identity = new_event_id() if client_id is None else event_id(self._project_id, client_id)
        if PLACEHOLDER in properties or reserved.addons:
            sender = _optional(self._ip) + _optional(self._user_agent)
            sender += GIVEN + _string(orjson.dumps(reserved.addons)) if reserved.addons else NULL
        else:
            sender = b"\x00\x00\x00"
        head = self._collections.get(collection)
        if head is None:
            head = self._collections[collection] = self._project + _string(collection.encode()) + b"\x02\x48"
        received = self._received
        timestamp = received if reserved.timestamp is None else GIVEN + _long(reserved.timestamp)
        length = len(properties)
        size = _SIZES[length] if length < len(_SIZES) else _long(length)
        value = b"".join((head, identity.encode(), timestamp, received, sender, size, properties))
        return record_key(self._project_id, event, identity), value


def _too_large(event: dict[str, object], size: int, limit: int) -> TooLargeError:
    largest = max(event, key=lambda name: len(orjson.dumps(event[name])))
    return TooLargeError(
        "InvalidPropertyValueError",
        f"The event has {size:,} bytes; {limit:,} is the most. Its largest property is {largest[:80]!r}.",
    )


def _optional(text: str | None) -> bytes:
    return NULL if text is None else GIVEN + _string(text.encode("utf-8", "replace")[:SENDER_MAX])


def _string(text: bytes) -> bytes:
    return _long(len(text)) + text


def _long(number: int) -> bytes:
    """Avro's long: zigzag, then seven bits a byte, the lowest first."""
    number = (number << 1) ^ (number >> 63)
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_SIZES = tuple(_long(size) for size in range(4_096))  # of most events; 4,096 short byte strings
