"""A dead letter: what is kept of a record that was given up."""

from typing import Any, NamedTuple

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from headwater.identity import origin_id
from headwater.origin import Headers, Origin, all_headers, headers_of, origin_in, without_origin


class GivenUp(NamedTuple):
    """A record that is given up: where it stood first, and its untouched parts."""

    origin: Origin
    key: bytes | None
    payload: bytes | None
    headers: list[tuple[str, bytes | None]]

    @classmethod
    def at(cls, place: Origin, key: bytes | None, payload: bytes | None, headers: Headers) -> "GivenUp":
        """That of a record that stands at `place`.

        Of one that was written again the origin stays: it is the same letter once more. Of a replay, which counts already, the
        letter is the copy's own, with the headers that say so: it must never be taken for what did not count.
        """
        origin = origin_in(headers, place.topic)
        if origin is None:
            return cls(place, key, payload, without_origin(headers))
        if origin.replay:
            return cls(place, key, payload, all_headers(headers))
        return cls(origin, key, payload, without_origin(headers))

    @classmethod
    def of(cls, record: Message) -> "GivenUp":
        """That of a record as confluent-kafka reads it."""
        return cls.at(place_of(record), record.key(), record.value(), headers_of(record))


def place_of(record: Message) -> Origin:
    """Where a record stands, as confluent-kafka reads it."""
    topic, partition, offset = record.topic(), record.partition(), record.offset()
    assert topic is not None  # the client's types allow for none, which no record has
    assert partition is not None
    assert offset is not None
    kind, written_at = record.timestamp()
    return Origin(topic, partition, offset, None if kind == TIMESTAMP_NOT_AVAILABLE else written_at)


def dead_letter(
    record: GivenUp,
    stage: str,
    reason: str,
    error_class: str,
    message: str,
    failed_at: int,
    project_id: str | None = None,
    collection: str | None = None,
) -> dict[str, Any]:
    """The dead letter of a record, as schemas/dead_letter has it; `failed_at` in milliseconds since 1970 UTC.

    Its id comes from where the record stood first, so that a second one folds with the first.
    """
    origin = record.origin
    return {
        "id": origin_id(origin.topic, origin.partition, origin.offset),
        "stage": stage,
        "reason": reason,
        "error_class": error_class,
        "message": message,
        "topic": origin.topic,
        "partition": origin.partition,
        "offset": origin.offset,
        "failed_at": failed_at,
        "project_id": project_id,
        "collection": collection,
        "record_timestamp": origin.timestamp,
        "key": record.key,
        "payload": record.payload,
        "attempt": origin.attempt,
        "headers": [{"name": name, "value": value} for name, value in record.headers],
    }
