"""Whether a record is of the event that is looked for. Most are not, and that is told without decoding them."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
from confluent_kafka import Message

from headwater.codec import HEADER_LENGTH, MARKER, CodecError, codec
from headwater.identity import event_id, origin_id
from headwater.origin import Origin, headers_of, origin_in
from headwater.rules import RuleError, parse_json, parse_timestamp
from headwater.scanning import time_of
from headwater.trace.found import Place, Put, Raw

PROJECT = 1 + 24  # bytes of a project's id and its length, as Avro has them
NAMED = 5  # the version of UUIDs that are made of a name: of what a client calls its event, or of where a record stands
_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_OWN_ID = b"\x02\x48"  # not null, and as long as a UUID's text


class Wanted(NamedTuple):
    """The event that is looked for: its id, and what the user calls it."""

    project_id: str
    id: str
    given: str

    @classmethod
    def of(cls, project_id: str, given: str) -> "Wanted":
        """An event by its id, or by what its client calls it."""
        return cls(project_id, event_id(project_id, given), given)

    @property
    def derived(self) -> bool:
        """Whether the id is made of a name, so that a record may hold it without its text."""
        return self.id[14] == str(NAMED)


class RawMatch:
    """Finds the raw records of an event."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._needles = tuple({wanted.id.encode(), wanted.given.encode(), orjson.dumps(wanted.given)[1:-1]})

    def of(self, message: Message) -> Raw | None:
        """The record as one of the event's; None where it is another's, or none that can be read."""
        value = message.value()
        if not value or not self._may_be(value):
            return None
        raw = read_raw(message)
        matches = raw is not None and raw.project_id == self._wanted.project_id and raw.id == self._wanted.id
        return raw if matches else None

    def _may_be(self, value: bytes) -> bool:
        if any(needle in value for needle in self._needles):
            return True
        if not self._wanted.derived:
            return False
        if not value.startswith(MARKER):
            return True
        # An id that is null follows from where the record stands, one of another form from its text. It comes behind the names
        # of project and collection; a name is printable ASCII of 64 characters at most, but nobody has checked that here.
        at = HEADER_LENGTH + PROJECT
        length = value[at] if len(value) > at else 0
        return length > 0x7F or value[at + 1 + length // 2 :][:2] != _OWN_ID


def read_raw(message: Message) -> Raw | None:
    """A record of the raw topic, or of the one for history, as processors understand it; None for what they cannot read."""
    value, topic, partition, offset = (
        message.value() or b"",
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
    )
    written_at = time_of(message)
    origin = origin_in(headers_of(message), topic) or Origin(topic, partition, offset, written_at)
    copy_of = Place(*origin[:3]) if (topic, partition, offset) != origin[:3] else None
    own_time = written_at if origin.timestamp is None else origin.timestamp
    try:
        record = _from_envelope(value) if value.startswith(b"{") else codec("raw_event").decode(value)
    except (CodecError, RuleError, ValueError):
        return None
    identity, project_id = record["id"], record["project_id"]
    if identity is None:
        identity = origin_id(*origin[:3])
    elif not _CANONICAL.fullmatch(identity):
        identity = event_id(project_id, identity)
    timestamp, received_at = record["timestamp"], record["received_at"]
    return Raw(
        topic,
        partition,
        offset,
        written_at,
        identity,
        project_id,
        record["collection"],
        own_time if timestamp is None else timestamp,
        own_time if received_at is None else received_at,
        record["id_given"],
        record["time_given"],
        record["properties"],
        copy_of,
    )


def read_put(message: Message) -> tuple[str, str, Put] | None:
    """Project, id and record of an event in its collection's topic; None for what is none."""
    try:
        event = codec("event").decode(message.value() or b"")
    except CodecError:
        return None
    origin = origin_in(headers_of(message), message.topic() or "")
    put = Put(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        time_of(message),
        event["collection"],
        event["timestamp"],
        event["received_at"],
        event["processed_at"],
        event["properties"],
        Place(*origin[:3]) if origin else None,
    )
    return event["project_id"], event["id"], put


def is_letter_of(wanted: Wanted, letter: Mapping[str, Any]) -> bool:
    """Whether a dead letter is of the event: it holds its record, or is what is looked for itself."""
    if letter["id"] == wanted.id:
        return True
    payload = letter["payload"] or b""
    try:
        record = _from_envelope(payload) if payload.startswith(b"{") else _decoded(payload)
    except (CodecError, RuleError, ValueError):
        return False
    if (record["project_id"] or letter["project_id"]) != wanted.project_id:
        return False
    identity = record["id"]
    if identity is None:
        identity = origin_id(letter["topic"], letter["partition"], letter["offset"])
    return event_id(wanted.project_id, identity) == wanted.id


def waiting_id(project_id: str, message: Message) -> str:
    """The id of an event in a topic that a producer writes, as collectors make it: docs/kafka.md."""
    for name, raw in dict(message.headers() or ()).items():
        if name == "id" and raw is not None:
            return event_id(project_id, raw if isinstance(raw, str) else raw.decode(errors="replace"))
    try:
        event = parse_json(message.value() or b"")
    except ValueError:
        event = None
    keen = event.get("keen") if isinstance(event, dict) else None
    given = (keen.get("uniqueness_token") or keen.get("id")) if isinstance(keen, dict) else None
    if isinstance(given, str):
        return event_id(project_id, given)
    topic = message.topic() or ""
    origin = origin_in(headers_of(message), topic)
    return origin_id(*(origin[:3] if origin else (topic, message.partition() or 0, message.offset() or 0)))


def _decoded(payload: bytes) -> dict[str, Any]:
    try:
        return codec("raw_event").decode(payload)
    except CodecError:
        return codec("event").decode(payload)


def _from_envelope(value: bytes) -> dict[str, Any]:
    """A JSON envelope with the fields of a raw_event, or a plain event as producers write it. Raises ValueError."""
    envelope = parse_json(value)
    properties = envelope.get("properties")
    if isinstance(properties, str):
        properties = parse_json(properties.encode())
    if not isinstance(properties, dict):
        properties = envelope
    keen = properties.get("keen")
    keen = keen if isinstance(keen, dict) else {}
    given = envelope.get("id") or keen.get("uniqueness_token") or keen.get("id")
    timestamp = _time(envelope.get("timestamp"))
    if timestamp is None:
        timestamp = _time(keen.get("timestamp"))
    return {
        "project_id": envelope.get("project_id"),
        "collection": envelope.get("collection"),
        "id": given if isinstance(given, str) else None,
        "timestamp": timestamp,
        "received_at": _time(envelope.get("received_at")),
        "id_given": isinstance(given, str),
        "time_given": timestamp is not None,
        "properties": orjson.dumps(properties).decode(),
    }


def _time(value: object) -> int | None:
    return value if value is None or type(value) is int else parse_timestamp(value)
