"""Events of lines of NDJSON, given an id and a time: what need not be known of a line is skipped, and nothing is written anew."""

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
import orjson
from msgspec import UNSET, UnsetType

from headwater.client.event import Event
from headwater.client.writer import EVENT_BYTES
from headwater.load.rows import Lines

KEEN = b'"keen"'
ESCAPED_LETTER = b"\\u"  # with these a name may stand there in other letters
BACKSLASH = 0x5C
BRACE = 0x7B
QUOTE = 0x22

Quick: TypeAlias = Callable[[Lines, int, list[Event], int], tuple[int, int]]
AsTime: TypeAlias = Callable[[object, str], str]


class _Keen(msgspec.Struct):
    """What has to be known of an event's `keen` object."""

    timestamp: str | UnsetType = UNSET
    uniqueness_token: msgspec.Raw | UnsetType = UNSET


def quick(
    collection: str, started_at: str, as_time: AsTime, timestamp_field: str | None, id_field: str | None
) -> Quick | None:
    """A function that makes the events of lines; None where it could not with fields of these names.

    Given lines, the index of the first that is wanted, a list for the events, and how many bytes of them there is room for, it
    goes on until there is no room, or a line takes more than to put an id and a time in: that one has to be read. It returns the
    index of the first line that it made nothing of, and what room is left: none where the last event filled it, or more than
    that. Of what it skips it knows that it is JSON, but for one thing: it may be a number beyond all floats, for which the
    collector refuses a request as a whole.
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

    # One loop, not a function for each line: to call it, and to hand on what it made, took as long as what it does.
    def make(lines: Lines, start: int, events: list[Event], room: int) -> tuple[int, int]:
        made = 0
        for text, key in zip(lines.texts[start:], lines.keys[start:], strict=True):
            if text[-1:] != b"}" and (text := text.strip())[-1:] != b"}":
                break
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
                break
            if not event_id:
                break
            if given is UNSET:
                if written:
                    members = f'"uniqueness_token":"{event_id}","timestamp":"{timestamp}"'.encode()
                else:
                    members = orjson.dumps({"uniqueness_token": event_id, "timestamp": timestamp})[1:-1]
            elif given == timestamp and given:
                members = orjson.dumps({"uniqueness_token": event_id})[1:-1]
            else:
                break
            if keen is UNSET:
                if text[1] != QUOTE:
                    break
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
                    break
                payload = b"".join((text[:inside], members, b",", text[inside:]))
            size = len(payload)
            if size > EVENT_BYTES:
                break
            events.append(tuple.__new__(Event, (collection, event_id, payload)))  # as make_event does
            made += 1
            room -= size
            if room <= 0:
                break
        return start + made, room

    return make
