"""What becomes of the messages of one request's body, for Segment's routes: records, and what is refused.

Pure. Bodies that are short are judged in the event loop, a turn at a time; the others are tasks for another process.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import orjson

from collector.autofill import fill_all
from collector.errors import ApiError, refused
from collector.judging import BATCH_EVENTS_MAX, BROKEN_AT_ONCE_BYTES, EVENT_AT_ONCE_BYTES, PART_EVENTS, reads_quickly
from collector.lenient_json import parse_lenient
from collector.records import Given, Record, RequestRecords
from collector.segment_mapping import Mapped, cloud_events, device_events, identified, switched_on
from collector.segment_messages import Envelope, Message, batch_of, message_of, object_of
from headwater.control import Grant, ProjectSettings
from headwater.rules import RuleError, explain_broken, parse_values
from headwater.segment_users import IDENTIFY, user_key

TOO_LARGE_KEPT = 200_000  # bytes of an event that is too large, in its dead letter
# How context.library.name begins where it is the user's own device that sends.
ON_DEVICES = (
    "analytics.js",
    "analytics-android",
    "analytics-flutter",
    "analytics-ios",
    "analytics-kotlin",
    "analytics-swift",
    "@segment/analytics-react-native",
    "RudderLabs JavaScript SDK",
)


class Document(NamedTuple):
    """A body's JSON; `good_values` as `headwater.rules.parse_values` says."""

    value: Any
    good_values: bool

    @property
    def write_key(self) -> object:
        """What it says in the place of the key."""
        return object_of(self.value).get("writeKey")


class Sender(NamedTuple):
    """Who sends: address and user agent, and whether that is a page in a browser or a pixel."""

    ip: str | None
    user_agent: str | None
    by_page: bool


class Turn(NamedTuple):
    """What some messages become: records, and how many of these are events; what is refused of them, as records for the
    processors to put with the dead letters, how often with which error, and the first; how many make no event, by why."""

    records: list[Record]
    events: int
    dead: list[Record]
    refused: Mapping[str, int]
    first_refusal: RuleError | None
    without_event: Mapping[str, int]


class KeyTask(NamedTuple):
    """A body that has yet to tell whose it is."""

    def judge(self, body: bytes) -> Iterator[str | None]:
        """The one part is what it says in the place of the key, where that is text. Raises ApiError where it is no JSON."""
        key = read(body).write_key
        yield key if isinstance(key, str) else None


class MessagesTask(NamedTuple):
    """What messages are judged by: `kind` is the type of a single one, by its path; with None they are a batch."""

    kind: str | None
    sender: Sender
    received: int  # milliseconds since 1970 UTC
    make: RequestRecords
    grant: Grant
    settings: ProjectSettings
    event_max_bytes: int

    def judge(self, body: bytes) -> Iterator[Turn]:
        """Raises ApiError where it is no JSON, or no batch."""
        yield from self.turns(read(body), PART_EVENTS)

    def turns(self, document: Document, messages_each: int) -> Iterator[Turn]:
        """What becomes of a document's messages, so many in each turn at most. Raises ApiError where it is no batch."""
        if self.kind is None:
            given, envelope = _batch(document.value), Envelope.of(document.value, self.received)
        else:
            given, envelope = [document.value], Envelope.of({}, self.received)
        for start in range(0, len(given), messages_each):
            yield self._turn(given[start : start + messages_each], envelope, document.good_values)

    def _turn(self, given: Sequence[Any], envelope: Envelope, good_values: bool) -> Turn:
        project_id = self.grant.project_id
        without_event: Counter[str] = Counter()
        refusals: list[_Refusal] = []
        events: list[Mapped] = []
        for one in given:
            try:
                message = _with_sender(message_of(one, envelope, self.kind), self.sender)
                mapped, why_none = _events(message, self.settings)
            except RuleError as error:
                # Its traceback would hold this turn, as a cycle that only the garbage collection ends.
                error.__traceback__ = error.__context__ = None
                refusals.append(_Refusal(error, "", one))
                continue
            events += mapped
            if why_none is not None:
                without_event[why_none] += 1
        fill_all([each.event for each in events if each.is_event], self.grant)
        records: list[Record] = []
        told = 0  # users that the processors are told of
        for each, made in zip(events, _made(events, project_id, self.make, good_values), strict=True):
            if isinstance(made, RuleError):
                refusals.append(_Refusal(made, each.collection, each.event))
                continue
            told += not each.is_event
            records.append(made if each.user is None else (user_key(project_id, each.user), made[1]))
        return Turn(
            records,
            len(records) - told,
            _as_envelopes(project_id, refusals, self.event_max_bytes),
            Counter([refusal.reason.name for refusal in refusals]) if refusals else {},
            refusals[0].reason if refusals else None,
            without_event,
        )


class _Refusal(NamedTuple):
    """A message that makes no event, or an event that is against the rules, and why."""

    reason: RuleError
    collection: str
    properties: object


def read_at_once(body: bytes, kind: str | None) -> Document | None:
    """The JSON of a message, or with None of a batch; None where it takes long. Raises ApiError where it is no JSON."""
    if not (reads_quickly(body) if kind is None else len(body) <= EVENT_AT_ONCE_BYTES):
        return None
    try:
        return Document(*parse_values(body))
    except ValueError:
        return read(body) if len(body) <= BROKEN_AT_ONCE_BYTES else None


def read(body: bytes) -> Document:
    """A body's JSON, also where it is not strict. Raises ApiError where it is none. Takes long for what is long."""
    try:
        return Document(*parse_values(body))
    except ValueError:
        try:
            return Document(parse_lenient(body), good_values=False)
        except ValueError:
            raise ApiError(400, "InvalidMessageError", explain_broken(body).description) from None


def _batch(document: object) -> list[Any]:
    try:
        batch = batch_of(document)
    except RuleError as error:
        raise refused(error) from None
    if len(batch) > BATCH_EVENTS_MAX:  # Segment knows no 413
        message = f"The batch has {len(batch):,} messages; {BATCH_EVENTS_MAX:,} is the most."
        raise ApiError(400, "InvalidBatchError", message)
    return batch


def _with_sender(message: Message, sender: Sender) -> Message:
    """A message that says where it comes from, where the user's device sent it: a server's address would be nobody's."""
    context = message.context
    library = object_of(context.get("library")).get("name")
    if not sender.by_page and context.get("direct") is not True and not str(library).startswith(ON_DEVICES):
        return message
    known = {"ip": sender.ip, "userAgent": sender.user_agent if sender.by_page else None}
    return replace(message, context=known | {name: value for name, value in context.items() if value is not None})


def _events(message: Message, settings: ProjectSettings) -> tuple[list[Mapped], str | None]:
    """The events of a message; where there are none, why. Raises RuleError."""
    if not switched_on(message.integrations):
        return [], "switched_off"
    if settings.segment_mode == "device":
        who = identified(message)
        events = device_events(message, settings) if who is None else [who]
    else:
        events = cloud_events(message, settings)
    return events, None if events else message.type


def _made(
    events: Sequence[Mapped], project_id: str, make: RequestRecords, good_values: bool
) -> list[Record | RuleError]:
    """What becomes of each event, in their order; those of a collection are made together.

    What is no event goes as an envelope, since no event's collection can have its name.
    """
    by_collection: dict[str, list[int]] = {}
    made: dict[int, Record | RuleError] = {}
    for position, mapped in enumerate(events):
        if mapped.is_event:
            by_collection.setdefault(mapped.collection, []).append(position)
            continue
        envelope = {"project_id": project_id, "collection": mapped.collection, "properties": mapped.event}
        made[position] = (b"", orjson.dumps(envelope))
    for collection, positions in by_collection.items():
        together = [events[position].event for position in positions]
        given = [Given(time=events[position].time_given) for position in positions]
        records = make.records(collection, together, good_values=good_values, given=given)
        made.update(zip(positions, records, strict=True))
    return [made[position] for position in range(len(events))]


def _as_envelopes(project_id: str, refusals: Sequence[_Refusal], largest: int) -> list[Record]:
    """What was refused, as raw records in JSON: the processors refuse it by the same rules, and keep it as dead letters.

    Processors take larger events than the `largest` bytes of collectors: of those the beginning goes, as text, which is no event.
    """
    records = []
    for _, collection, properties in refusals:
        name = "" if collection == IDENTIFY else collection  # which is refused as well, and is no identify
        envelope = {"project_id": project_id, "collection": name, "properties": properties}
        try:
            value = orjson.dumps(envelope)
        except TypeError:  # integers beyond 64 bits, or nested too deeply for orjson
            try:
                value = json.dumps(envelope).encode()
            except RecursionError:
                continue
        if len(value) > largest:
            beginning = value[: min(TOO_LARGE_KEPT, largest)].decode("utf-8", "replace")
            value = orjson.dumps(envelope | {"properties": beginning})
        records.append((project_id.encode(), value))
    return records
