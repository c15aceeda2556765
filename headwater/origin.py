"""Where a record stood first: what the headers of one that is written again say, so that it is the same event.

Ids and times that a record does not have itself are derived from where it stands in Kafka. A copy has another offset and another
time, so it brings those of the first one along; whoever derives something takes them from here.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from confluent_kafka import Message

ORIGIN = "Headwater-Origin"  # topic/partition/offset
TIME = "Headwater-Origin-Time"  # the record's own, in milliseconds since 1970 UTC
ATTEMPT = "Headwater-Attempt"  # 2 for a record that was given up once
REPLAY = "Headwater-Replay"  # of a record that is processed once more and counts already
NAMES = frozenset({ORIGIN, TIME, ATTEMPT, REPLAY})

Headers = Iterable[tuple[str, str | bytes | None]]

_PLACE = re.compile(r"([a-zA-Z0-9._-]{1,249})/([0-9]{1,9})/([0-9]{1,18})")
_NUMBER = re.compile(r"-?[0-9]{1,15}")


class Origin(NamedTuple):
    """Where a record stood first. `replay`: it is a copy of one that is processed already, for all that counts."""

    topic: str
    partition: int
    offset: int
    timestamp: int | None  # the record's own, in milliseconds since 1970 UTC
    attempt: int = 1
    replay: bool = False

    def headers(self) -> list[tuple[str, bytes]]:
        """The headers of a record that is written again."""
        headers = [(ORIGIN, f"{self.topic}/{self.partition}/{self.offset}".encode())]
        if self.timestamp is not None:
            headers.append((TIME, b"%d" % self.timestamp))
        if self.attempt > 1:
            headers.append((ATTEMPT, b"%d" % self.attempt))
        if self.replay:
            headers.append((REPLAY, b"true"))
        return headers


def headers_of(record: Message) -> list[tuple[str, str | bytes | None]]:
    """A record's headers, as confluent-kafka reads it."""
    headers = record.headers() or []
    return list(headers.items()) if isinstance(headers, dict) else list(headers)


def origin_in(headers: Headers, topic: str) -> Origin | None:
    """The origin of a record of `topic` that was written again; None for one that was not.

    Anybody may write headers: what cannot be read, or names another topic and is no replay, is none.
    """
    found = {name: _text(value) for name, value in headers if name in NAMES}
    place = _PLACE.fullmatch(found.get(ORIGIN, ""))
    if place is None:
        return None
    replay = REPLAY in found
    if place[1] != topic and not replay:
        return None
    time, attempt = (_NUMBER.fullmatch(found.get(name, "")) for name in (TIME, ATTEMPT))
    return Origin(
        place[1],
        int(place[2]),
        int(place[3]),
        None if time is None else int(time[0]),
        1 if attempt is None else max(1, min(int(attempt[0]), 2**31 - 2)),
        replay,
    )


def without_origin(headers: Headers) -> list[tuple[str, bytes | None]]:
    """The headers that are the sender's own."""
    return [(name, _bytes(value)) for name, value in headers if name not in NAMES]


def all_headers(headers: Headers) -> list[tuple[str, bytes | None]]:
    """The headers as bytes."""
    return [(name, _bytes(value)) for name, value in headers]


def _text(value: str | bytes | None) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
