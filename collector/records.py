"""Events as records of the raw topic: checked, named, and written as Avro by hand.

The datum is what headwater.codec would write (a test holds the two against each other), in a fifth of its time.
"""

import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from time import perf_counter
from typing import NamedTuple

import orjson

from collector.errors import TooLargeError
from headwater import metrics
from headwater.codec import codec
from headwater.container import avro_long
from headwater.identity import event_id, new_event_ids, record_key
from headwater.rules import RuleError, check_collection_name, check_event, have_good_names, take_reserved
from headwater.settings import Settings

Record = tuple[bytes, bytes]  # key and value

SENDER_MAX = 1_000  # bytes of an address or user agent that is kept
NULL = b"\x00"
GIVEN = b"\x02"  # the second branch of a union with null
NOBODY = NULL * 3  # neither address nor user agent nor add-ons
PLACEHOLDER = b"${keen."
LITERAL = b"\\u0024{keen."  # the same in JSON, and no placeholder to processors, which look for its text
KNOWN_ADDONS_MAX = 1_000
KNOWN_ADDONS_BYTES = 4_096
HEADS_KEPT = 4_096
LOOKED_AT_MAX = 1_000  # properties

# id_given and time_given, by whether each is
FACTS = ((b"\x00\x00", b"\x00\x01"), (b"\x01\x00", b"\x01\x01"))

_made = metrics.collector_phase_seconds.labels("make").inc
_known_addons: dict[int, set[bytes]] = {}  # by the depth that they were judged by; a set is emptied when full


class Given(NamedTuple):
    """Whether an event's `keen` has id and time from the sender, who says the same when the event is sent again: where it has
    them at all."""

    id: bool = True
    time: bool = True


AS_GIVEN = Given()


class RequestRecords:
    """Makes the records of one request: they share project, time of receipt and sender."""

    def __init__(
        self,
        settings: Settings,
        project_id: str,
        ip: str | None,
        user_agent: str | None,
        *,
        placeholders: bool = True,
    ) -> None:
        """Without `placeholders`, those in the events' texts stand for themselves."""
        self._max_depth = settings.event_max_depth
        self._max_bytes = settings.event_max_bytes
        self._project_id = project_id
        self._received = GIVEN + avro_long(time.time_ns() // 1_000_000)
        self._ip = ip
        self._user_agent = user_agent
        self._literal = not placeholders
        self._sender: bytes | None = None  # both as Avro, once an event asks for them

    def records(
        self,
        collection: str,
        events: Sequence[object],
        *,
        good_values: bool = False,
        given: Sequence[Given] | None = None,
    ) -> list[Record | RuleError]:
        """For each event of a collection: its record, or what is wrong with it or with the collection's name.

        Changes the events. One that is a RuleError comes back as it is. `good_values` as `headwater.rules.parse_values`
        says; `given` for each event, where not all is.
        """
        began = perf_counter()
        try:
            check_collection_name(collection)
        except RuleError as error:
            return [error] * len(events)
        known = _known_addons.setdefault(self._max_depth, set())
        addons = [_take_known_addons(event, known) for event in events]
        good = good_values and len(events) > 1 and have_good_names(events, self._max_depth)
        head = _head(self._project_id, collection)
        ids = _fresh_ids(len(events))
        made: list[Record | RuleError] = []
        for event, text, (id_given, time_given) in zip(events, addons, given or [AS_GIVEN] * len(events), strict=True):
            try:
                if not good:
                    if type(event) is RuleError:
                        raise event
                    check_event(event, self._max_depth)
                assert type(event) is dict
                timestamp, client_id, judged = take_reserved(event)
                if judged:
                    text = orjson.dumps(judged)
                    _remember_addons(text, known)
                properties = orjson.dumps(event)
                if len(properties) > self._max_bytes:
                    raise _too_large(event, len(properties), self._max_bytes)
            except RuleError as error:
                # Its traceback would hold this call with all its events, as a cycle that only the garbage collection ends.
                error.__traceback__ = error.__context__ = None
                made.append(error)
                continue
            except TypeError:  # the nesting that orjson writes ends before event_max_depth may
                made.append(RuleError("InvalidPropertyValueError", "The event is nested too deeply."))
                continue
            if self._literal:
                properties = properties.replace(PLACEHOLDER, LITERAL)
            identity = next(ids) if client_id is None else event_id(self._project_id, client_id)
            datum = (
                head,
                identity.encode(),
                self._received if timestamp is None else GIVEN + avro_long(timestamp),
                self._received,
                FACTS[id_given and client_id is not None][time_given and timestamp is not None],
                NOBODY if text is None and PLACEHOLDER not in properties else self._asked(text),
                _size(properties),
                properties,
            )
            made.append((record_key(self._project_id, event, identity), b"".join(datum)))
        _made(perf_counter() - began)
        return made

    def _asked(self, addons: bytes | None) -> bytes:
        """Address, user agent and add-ons, of an event that has add-ons or a placeholder for the others."""
        if self._sender is None:
            self._sender = _optional(self._ip) + _optional(self._user_agent)
        return self._sender + (NULL if addons is None else GIVEN + _size(addons) + addons)


def _take_known_addons(event: object, known: set[bytes]) -> bytes | None:
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
    if text not in known:
        return None
    del keen["addons"]
    return text


def _remember_addons(text: bytes, known: set[bytes]) -> None:
    if len(text) <= KNOWN_ADDONS_BYTES:
        if len(known) >= KNOWN_ADDONS_MAX:
            known.clear()
        known.add(text)


def _fresh_ids(count: int) -> Iterator[str]:
    """So many new ids, made when the first is asked for."""
    yield from new_event_ids(count)


@lru_cache(maxsize=HEADS_KEPT)
def _head(project_id: str, collection: str) -> bytes:
    """A record up to its id."""
    return b"".join(
        (
            codec("raw_event").header,
            _string(project_id.encode()),
            _string(collection.encode()),
            GIVEN + avro_long(36),
        )
    )


def _too_large(event: dict[str, object], size: int, limit: int) -> TooLargeError:
    if len(event) > LOOKED_AT_MAX:  # others wait while each is measured
        about = f"It has {len(event):,} properties."
    else:
        largest = max(event, key=lambda name: len(orjson.dumps(event[name])))
        about = f"Its largest property is {largest[:80]!r}."
    return TooLargeError("InvalidPropertyValueError", f"The event has {size:,} bytes; {limit:,} is the most. {about}")


def _optional(text: str | None) -> bytes:
    return NULL if text is None else GIVEN + _string(text.encode("utf-8", "replace")[:SENDER_MAX])


def _string(text: bytes) -> bytes:
    return _size(text) + text


def _size(text: bytes) -> bytes:
    size = len(text)
    return _SIZES[size] if size < len(_SIZES) else avro_long(size)


_SIZES = tuple(avro_long(size) for size in range(4_096))  # of most events; 4,096 short byte strings
