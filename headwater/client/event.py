"""An event on its way out: fixed id, fixed time, serialised once.

What makes a retry harmless is here: an event gets its id and its time when it is added, and both travel in its bytes.
"""

import os
import time
from collections import deque
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from headwater.identity import new_event_ids
from headwater.rules import check_collection_name, is_known_collection_name

MICROSECONDS = 1_000_000  # of a second
IDS_AHEAD = 64  # one call for their random bytes is most of what an id costs
_ids: deque[str] = deque()
os.register_at_fork(after_in_child=_ids.clear)  # parent and child would give the same ids

# The second that is, since 1970 in microseconds, and how its times begin: most of what their text costs.
_second: tuple[int, str] = (0, "1970-01-01T00:00:00.")

_OPTIONS = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z | orjson.OPT_SERIALIZE_NUMPY


class Event(NamedTuple):
    """A serialised event: `payload` is its JSON with the `keen` object inside."""

    collection: str
    id: str
    payload: bytes


def make_event(
    collection: str,
    properties: Mapping[str, Any],
    timestamp: datetime | str | None = None,
    client_id: str | None = None,
) -> Event:
    """The event with `keen.uniqueness_token` and `keen.timestamp`, as they are given here, else in `properties`, else new.

    `properties` may hold what JSON has, and datetimes (without a zone: UTC), UUIDs and numpy numbers; it is not changed
    and not kept. Numbers that are not finite become null, which is stored as absent. Raises ValueError for anything else, and
    for a collection name against the rules.
    """
    if not is_known_collection_name(collection):
        check_collection_name(collection)
    keen = properties.get("keen")
    if keen is None:
        keen = {}
    elif not isinstance(keen, Mapping):
        raise ValueError(f"collection {collection!r}: property 'keen' is reserved for an object, not {keen!r}")
    else:
        client_id = client_id or keen.get("uniqueness_token") or keen.get("id")
        timestamp = keen.get("timestamp") if timestamp is None else timestamp
    try:
        event_id = client_id or _ids.popleft()
    except IndexError:
        event_id = _fresh_id()
    if not isinstance(event_id, str):
        raise ValueError(f"collection {collection!r}: the id {event_id!r} is not text")
    when = _now() if timestamp is None else timestamp
    event = {**properties, "keen": {**keen, "uniqueness_token": event_id, "timestamp": when}}
    try:
        # As Event(...), without the call of a function that is written in Python.
        return tuple.__new__(Event, (collection, event_id, orjson.dumps(event, option=_OPTIONS)))
    except TypeError as error:
        raise ValueError(f"collection {collection!r}: the event cannot be written as JSON: {error}") from None


def _now() -> str:
    """The time as ISO 8601 text with microseconds."""
    global _second
    began, text = _second
    now = time.time_ns() // 1_000
    if not 0 <= now - began < MICROSECONDS:
        seconds = now // MICROSECONDS
        began, text = seconds * MICROSECONDS, time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(seconds))
        _second = began, text
    return text + str(MICROSECONDS + now - began)[1:] + "Z"


def _fresh_id() -> str:
    """A new id, and some for the next events; several threads may ask at once."""
    first, *others = new_event_ids(IDS_AHEAD)
    _ids.extend(others)
    return first


def bulk_body(events: list[Event]) -> tuple[bytes, dict[str, list[Event]]]:
    """The body of a bulk request of these events, at least one, and the events by collection, in the order in which the reply's results stand."""
    collections: dict[str, list[Event]] = {}
    for event in events:
        collections.setdefault(event.collection, []).append(event)
    parts: list[bytes] = []
    for name, members in collections.items():
        payloads = [event.payload for event in members]
        payloads[0] = b"%b%b:[%b" % (b"" if parts else b"{", orjson.dumps(name), payloads[0])
        payloads[-1] += b"]"
        parts += payloads
    parts[-1] += b"}"
    return b",".join(parts), collections  # to copy all of it once more would be most of what a body costs
