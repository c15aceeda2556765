"""Reading the raw topic's records: Avro as our collector writes it, or a JSON envelope as anything else may."""

import re
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from headwater.codec import UnknownSchemaError, codec
from headwater.identity import event_id, origin_id
from headwater.rules import (
    TIMESTAMP_MAX,
    TIMESTAMP_MIN,
    RuleError,
    check_event,
    parse_json,
    parse_timestamp,
    take_reserved,
)
from processors import datums
from processors.datums import GIVEN, RAW_EVENT_FIELDS, Given, RawDatum, raw_event
from processors.placeholders import PLACEHOLDER_BYTES, fill, fill_text
from processors.routing import Key

ENVELOPE_FIELDS = frozenset(
    {
        *("project_id", "collection", "id", "timestamp", "received_at", "id_given", "time_given"),
        *("ip", "user_agent", "addons", "properties"),
    }
)
CANONICAL_ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch
DIGITS = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
LONG_RUN = b"0" * 19  # the shortest run of digits that may be no 64-bit integer
SAMPLED = 6  # of each run as long, three bytes in a row are in a sample of every sixth
SAMPLED_RUN = b"000"


class UnreadableError(ValueError):
    """The bytes are no record of the raw topic."""


class UnknownVersionError(UnreadableError):
    """The record is of a schema that is not known here: a newer collector wrote it, or something else altogether."""


class RawEvent(NamedTuple):
    """One event as read, its placeholders replaced.

    `key` is project and collection, `id` a UUID in its canonical form, `times` are timestamp and received_at as an event's
    record has them, `text` is the JSON of `properties`, `size` its length as it was received.
    """

    key: Key
    id: bytes
    timestamp: int
    received_at: int
    times: bytes
    addons: str | None
    size: int
    text: bytes
    properties: dict[str, Any]
    given: Given


RawFields = tuple[Key, bytes, int, int, bytes, str | None, int, bytes, dict[str, Any], Given]
"""The fields of a RawEvent. To take a plain tuple apart, as the hot loop does with every event, costs a fraction of what a named one does."""


class RawReader:
    """Reads records of one raw topic."""

    def __init__(self, topic: str, max_depth: int) -> None:
        self._topic = topic
        self._max_depth = max_depth
        self._codec = codec("raw_event")
        fields = {field["name"]: field["type"] for field in self._codec.schema["fields"]}
        # What no record starts with, where the newest schema is none that can be read by hand.
        self._by_hand = self._codec.header if fields == RAW_EVENT_FIELDS else b"{{"

    def read(self, value: bytes | None, partition: int, offset: int, record_time: int) -> RawFields:
        """The fields of the event in a record that stands at this partition and offset; `record_time` is Kafka's.

        Raises UnreadableError for what is no event at all, RuleError for one that is against the rules.
        """
        if not value:
            raise UnreadableError("the record is empty")
        if value.startswith(self._by_hand):
            try:
                datum = raw_event(value)
            except (ValueError, IndexError) as error:
                raise UnreadableError(f"not a raw_event record: {error}") from None
        elif value.startswith(b"{"):
            return self._from_envelope(value, partition, offset, record_time)
        else:
            datum = self._of_another_version(value)
        key, id_, timestamp, received_at, times, facts, ip, user_agent, addons, text = datum
        filled: bytes | None = text
        if PLACEHOLDER_BYTES in text:
            filled = fill_text(text, ip, user_agent)
        properties = self._properties(text if filled is None else filled)
        if filled is None:
            filled = _filled(properties, ip, user_agent)
        if timestamp is None:
            timestamp = record_time
        if received_at is None:
            received_at = record_time
        if not TIMESTAMP_MIN <= timestamp <= TIMESTAMP_MAX:
            raise _bad_time("timestamp", timestamp)
        if not TIMESTAMP_MIN <= received_at <= TIMESTAMP_MAX:
            raise _bad_time("received_at", received_at)
        if times is None or id_ is None:
            times = datums.times(timestamp, received_at)
            if id_ is None:
                id_ = origin_id(self._topic, partition, offset).encode()
            elif CANONICAL_ID(id_) is None:
                id_ = event_id(key[0], id_.decode()).encode()
        return key, id_, timestamp, received_at, times, addons, len(text), filled, properties, GIVEN[facts]

    def _properties(self, text: bytes) -> dict[str, Any]:
        """The object in JSON text, its integers exact."""
        try:
            if SAMPLED_RUN in text[::SAMPLED].translate(DIGITS) and LONG_RUN in text.translate(DIGITS):
                properties = parse_json(text)
                check_event(properties, self._max_depth)
            else:
                properties = orjson.loads(text)
        except RuleError:
            raise
        except ValueError as error:
            raise UnreadableError(f"properties are not JSON: {error}") from None
        if type(properties) is not dict:
            raise UnreadableError("properties are not a JSON object")
        return properties

    def _of_another_version(self, value: bytes) -> RawDatum:
        try:
            record = self._codec.decode(value)
        except UnknownSchemaError as error:
            raise UnknownVersionError(str(error)) from None
        except ValueError as error:
            raise UnreadableError(f"not a raw_event record: {error}") from None
        return (
            (record["project_id"], record["collection"]),
            None if record["id"] is None else record["id"].encode(),
            record["timestamp"],
            record["received_at"],
            None,
            bytes((record["id_given"], record["time_given"])),
            record["ip"],
            record["user_agent"],
            record["addons"],
            record["properties"].encode(),
        )

    def _from_envelope(self, value: bytes, partition: int, offset: int, record_time: int) -> RawFields:
        """Written without the collector, so all that it would have checked is checked here."""
        try:
            envelope = parse_json(value)
        except ValueError as error:
            raise UnreadableError(f"the record starts with {{ but is not JSON: {error}") from None
        unknown = envelope.keys() - ENVELOPE_FIELDS
        if unknown:
            raise UnreadableError(
                f"unknown field {min(unknown)!r} in the JSON envelope: it has {', '.join(sorted(ENVELOPE_FIELDS))}"
            )
        project_id, collection = _text(envelope, "project_id"), _text(envelope, "collection")
        if project_id is None or collection is None:
            raise UnreadableError("the JSON envelope needs project_id and collection")
        properties = envelope.get("properties")
        if type(properties) is str:
            try:
                properties = parse_json(properties.encode())
            except ValueError as error:
                raise UnreadableError(f"properties are not JSON: {error}") from None
        check_event(properties, self._max_depth)
        size = len(orjson.dumps(properties))
        reserved = take_reserved(properties)
        given_id = _text(envelope, "id") or reserved.client_id
        timestamp = _time(envelope, "timestamp")
        if timestamp is None:
            timestamp = reserved.timestamp
        given = bytes(
            (
                _boolean(envelope, "id_given") and bool(given_id),
                _boolean(envelope, "time_given") and timestamp is not None,
            )
        )
        if timestamp is None:
            timestamp = record_time
        received_at = _time(envelope, "received_at")
        if received_at is None:
            received_at = record_time
        id_ = event_id(project_id, given_id) if given_id else origin_id(self._topic, partition, offset)
        addons = envelope.get("addons") or reserved.addons
        ip, user_agent = _text(envelope, "ip"), _text(envelope, "user_agent")
        text = orjson.dumps(properties)
        if PLACEHOLDER_BYTES in text:
            text = _filled(properties, ip, user_agent)
        return (
            (project_id, collection),
            id_.encode(),
            timestamp,
            received_at,
            datums.times(timestamp, received_at),
            addons if addons is None or type(addons) is str else orjson.dumps(addons).decode(),
            size,
            text,
            properties,
            GIVEN[given],
        )


def _filled(properties: dict[str, Any], ip: str | None, user_agent: str | None) -> bytes:
    """The text of properties whose placeholders are replaced in place."""
    try:
        fill(properties, ip, user_agent)
        return orjson.dumps(properties)
    except (RecursionError, TypeError):
        raise RuleError("InvalidPropertyValueError", "The event is nested too deeply.") from None


def _text(envelope: dict[str, Any], name: str) -> str | None:
    value = envelope.get(name)
    if value is None or type(value) is str:
        return value
    raise UnreadableError(f"{name} of the JSON envelope is not text")


def _boolean(envelope: dict[str, Any], name: str) -> bool:
    """True where it is not there."""
    value = envelope.get(name)
    if value is None or type(value) is bool:
        return value is not False
    raise UnreadableError(f"{name} of the JSON envelope is neither true nor false")


def _time(envelope: dict[str, Any], name: str) -> int | None:
    """Milliseconds since 1970 UTC, or ISO 8601 text."""
    value = envelope.get(name)
    if value is None:
        return None
    if type(value) is str:
        return parse_timestamp(value)
    if type(value) is not int:
        raise UnreadableError(f"{name} of the JSON envelope is neither milliseconds nor ISO 8601 text")
    if not TIMESTAMP_MIN <= value <= TIMESTAMP_MAX:
        raise _bad_time(name, value)
    return value


def _bad_time(name: str, value: int) -> RuleError:
    try:
        shown = datetime.fromtimestamp(value / 1000, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        shown = str(value)
    return RuleError("InvalidPropertyValueError", f"{name} {shown} is outside the years 1900 to 2299.")
