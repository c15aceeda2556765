"""Events of lines of NDJSON, given an id and a time: what need not be known of a line is skipped, and nothing is written anew."""

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
import orjson
from msgspec import UNSET, UnsetType

from headwater.client.event import Event

KEEN = b'"keen"'
ESCAPED_LETTER = b"\\u"  # with these a name may stand there in other letters
BACKSLASH = 0x5C
BRACE = 0x7B
QUOTE = 0x22

Quick: TypeAlias = Callable[[str, bytes], Event | None]
AsTime: TypeAlias = Callable[[object, str], str]


class _Keen(msgspec.Struct):
    """What has to be known of an event's `keen` object."""

    timestamp: str | UnsetType = UNSET
    uniqueness_token: msgspec.Raw | UnsetType = UNSET


def quick(
    collection: str, started_at: str, as_time: AsTime, timestamp_field: str | None, id_field: str | None
) -> Quick | None:
    """A function that makes the event of a row's key and its line; None where it could not with fields of these names.

    The function returns None for a line that takes more than to put an id and a time in: it has to be read. Of what it skips it
    knows that it is JSON, but for one thing: it may be a number beyond all floats, for which the collector refuses a request as a
    whole.
    """
    fields: list[tuple[str, Any, Any]] = [("keen", _Keen | UnsetType, UNSET)]
    names = {}
    if timestamp_field is not None:
        fields.append(("at", int | float | str | None, None))
        names["at"] = timestamp_field
    if id_field is not None:
        fields.append(("id", str | None, None))
        names["id"] = id_field
    try:
        decode = msgspec.json.Decoder(msgspec.defstruct("Line", fields, rename=names, gc=False)).decode
    except ValueError:  # one name for two of them, or a name with a quote
        return None

    def make(key: str, text: bytes) -> Event | None:
        if text[-1:] != b"}" and (text := text.strip())[-1:] != b"}":
            return None
        try:
            line: Any = decode(text)
            if not text.isascii():
                text.decode()  # in what is skipped it would not be seen
            keen = line.keen
            given = UNSET if keen is UNSET else keen.timestamp
            written = id_field is None  # so its text is the same in JSON
            event_id = key if written else line.id
            if timestamp_field is not None:
                at = line.at
                timestamp = as_time(at, timestamp_field)
                written = written and type(at) is not str
            else:
                timestamp = started_at if given is UNSET else given
        except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
            return None
        if not event_id:
            return None
        if given is UNSET:
            if written:
                members = f'"uniqueness_token":"{event_id}","timestamp":"{timestamp}"'.encode()
            else:
                members = orjson.dumps({"uniqueness_token": event_id, "timestamp": timestamp})[1:-1]
        elif given == timestamp and given:
            members = orjson.dumps({"uniqueness_token": event_id})[1:-1]
        else:
            return None
        if keen is UNSET:
            if text[1] != QUOTE:
                return None
            payload = b"".join((b'{"keen":{', members, b"},", text[1:]))
        else:
            at_keen = text.find(KEEN)
            # Where the name stands once, and in its own letters, there it is the event's own, before its object.
            if (
                keen.uniqueness_token is not UNSET
                or text.find(KEEN, at_keen + 1) >= 0
                or (BACKSLASH in text and ESCAPED_LETTER in text)  # to look for a byte takes a third of the time
                or text[inside := text.index(BRACE, at_keen) + 1] != QUOTE
            ):
                return None
            payload = b"".join((text[:inside], members, b",", text[inside:]))
        return tuple.__new__(Event, (collection, event_id, payload))  # as make_event does

    return make
