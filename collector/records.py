"""Events as records of the raw topic: checked, named, and written as Avro by hand.

The datum is what headwater.codec would write (a test holds the two against each other), in a fifth of its time.
"""

import time

import orjson

from collector.errors import TooLargeError
from headwater.codec import codec
from headwater.container import avro_long
from headwater.identity import event_id, new_event_id, record_key
from headwater.rules import RuleError, check_event, take_reserved
from headwater.settings import Settings

Record = tuple[bytes, bytes]  # key and value

SENDER_MAX = 1_000  # bytes of an address or user agent that is kept
NULL = b"\x00"
GIVEN = b"\x02"  # the second branch of a union with null
PLACEHOLDER = b"${keen."
KNOWN_ADDONS_MAX = 1_000
KNOWN_ADDONS_BYTES = 4_096

_known_addons: set[tuple[int, bytes]] = set()  # with the depth that they were judged by; emptied when full


class RequestRecords:
    """Makes the records of one request: they share project, time of receipt and sender."""

    def __init__(self, settings: Settings, project_id: str, ip: str | None, user_agent: str | None) -> None:
        self._max_depth = settings.event_max_depth
        self._max_bytes = settings.event_max_bytes
        self._project_id = project_id
        self._sender = _optional(ip) + _optional(user_agent)
        self._received_at = time.time_ns() // 1_000_000
        self._received = GIVEN + avro_long(self._received_at)
        self._project = codec("raw_event").header + _string(project_id.encode())
        self._collections: dict[str, bytes] = {}

    def record(self, collection: str, event: object) -> Record:
        """The record of one event of a collection whose name has been checked. Changes `event`. Raises RuleError."""
        addons = self._take_known_addons(event)
        check_event(event, self._max_depth)
        assert isinstance(event, dict)
        reserved = take_reserved(event)
        if reserved.addons:
            addons = orjson.dumps(reserved.addons)
            self._remember(addons)
        try:
            properties = orjson.dumps(event)
        except TypeError as error:  # the nesting that orjson writes ends before event_max_depth may
            raise RuleError("InvalidPropertyValueError", "The event is nested too deeply.") from error
        if len(properties) > self._max_bytes:
            raise _too_large(event, len(properties), self._max_bytes)
        client_id = reserved.client_id
        identity = new_event_id() if client_id is None else event_id(self._project_id, client_id)
        if addons is not None or PLACEHOLDER in properties:
            sender = self._sender + (NULL if addons is None else GIVEN + _string(addons))
        else:
            sender = b"\x00\x00\x00"
        head = self._collections.get(collection)
        if head is None:
            head = self._collections[collection] = self._project + _string(collection.encode()) + b"\x02\x48"
        received = self._received
        timestamp = received if reserved.timestamp is None else GIVEN + avro_long(reserved.timestamp)
        value = b"".join((head, identity.encode(), timestamp, received, sender, _size(properties), properties))
        return record_key(self._project_id, event, identity), value

    def _take_known_addons(self, event: object) -> bytes | None:
        """Remove add-ons that were found good before, as nearly all are, and return their text; else change nothing.

        Judging them costs as much as the rest of the event, and a client sends the same ones with every event.
        """
        keen = event.get("keen") if type(event) is dict else None
        if type(keen) is not dict or not keen.get("addons"):
            return None
        try:
            text = orjson.dumps(keen["addons"])
        except TypeError:  # too deep or too large a number for orjson, and so for the rules
            return None
        if (self._max_depth, text) not in _known_addons:
            return None
        del keen["addons"]
        return text

    def _remember(self, addons: bytes) -> None:
        if len(addons) <= KNOWN_ADDONS_BYTES:
            if len(_known_addons) >= KNOWN_ADDONS_MAX:
                _known_addons.clear()
            _known_addons.add((self._max_depth, addons))


def _too_large(event: dict[str, object], size: int, limit: int) -> TooLargeError:
    largest = max(event, key=lambda name: len(orjson.dumps(event[name])))
    return TooLargeError(
        "InvalidPropertyValueError",
        f"The event has {size:,} bytes; {limit:,} is the most. Its largest property is {largest[:80]!r}.",
    )


def _optional(text: str | None) -> bytes:
    return NULL if text is None else GIVEN + _string(text.encode("utf-8", "replace")[:SENDER_MAX])


def _string(text: bytes) -> bytes:
    return _size(text) + text


def _size(text: bytes) -> bytes:
    size = len(text)
    return _SIZES[size] if size < len(_SIZES) else avro_long(size)


_SIZES = tuple(avro_long(size) for size in range(4_096))  # of most events; 4,096 short byte strings
