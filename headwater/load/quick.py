"""JSON of events as a file has it, given an id and a time: what need not be written anew is not."""

from collections.abc import Mapping
from typing import Any

import orjson

KEEN = b'"keen"'
BACKSLASH = 0x5C
BRACE = 0x7B


def with_keen(text: bytes, properties: Mapping[str, Any], event_id: str, timestamp: str) -> bytes | None:
    """The event's JSON with `keen.uniqueness_token` and `keen.timestamp`; None where that takes more than to put them in.

    `text` is the JSON object, without white space around it, that was read as `properties`.
    """
    given = properties.get("keen")
    if given is None:
        if "keen" in properties:
            return None
        keen = orjson.dumps({"uniqueness_token": event_id, "timestamp": timestamp})
        return b'{"keen":%b%b%b' % (keen, b"," if properties else b"", text[1:])
    # Without escapes the name stands there as it is; where it does so once, there it is the event's own, before its object.
    at = text.find(KEEN)
    if type(given) is not dict or "uniqueness_token" in given or BACKSLASH in text or text.find(KEEN, at + 1) >= 0:
        return None
    if "timestamp" not in given:
        members = orjson.dumps({"uniqueness_token": event_id, "timestamp": timestamp})
    elif given["timestamp"] == timestamp:
        members = orjson.dumps({"uniqueness_token": event_id})
    else:
        return None
    inside = text.index(BRACE, at) + 1
    return b"%b%b%b%b" % (text[:inside], members[1:-1], b"," if given else b"", text[inside:])
