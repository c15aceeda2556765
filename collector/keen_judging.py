"""What becomes of the events of one request's body, for Keen's routes: records, and the answer to a request of many.

Pure. Bodies that are short are judged in the event loop, a turn at a time; the others are tasks for another process.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import orjson

from collector.autofill import fill_all
from collector.errors import ApiError
from collector.judging import BATCH_EVENTS_MAX, PART_EVENTS, reads_quickly
from collector.records import Record, RequestRecords
from collector.split import split_batch
from headwater.control import Grant
from headwater.rules import RuleError, explain_broken, parse_json, parse_values

STORED = b'{"success":true}'


class Batch(NamedTuple):
    """A body's collections with their events, where a RuleError stands for a broken one; `good_values` as
    `headwater.rules.parse_values` says."""

    collections: Mapping[str, list[Any]]
    good_values: bool


class Turn(NamedTuple):
    """What some events of a request of many become: their records, the next piece of the answer, how often which error was
    theirs; and whether the collection has more."""

    records: list[Record]
    answer: bytes
    refused: Mapping[str, int]
    more: bool


class EventTask(NamedTuple):
    """A body that is the event of a collection."""

    collection: str
    make: RequestRecords
    grant: Grant

    def judge(self, body: bytes) -> Iterator[Record | RuleError]:
        """The one part is what `judge_event` says."""
        yield judge_event(body, self.collection, self.make, self.grant)


class Form(Protocol):
    """How a body has many events. It is pickled with its task."""

    def reads_quickly(self, body: bytes) -> bool:
        """Whether `read` takes no more than a few milliseconds."""
        ...

    def read(self, body: bytes) -> Batch:
        """The events. Raises ApiError where the body has another form, ValueError where some of it is not JSON."""
        ...

    def read_or_repair(self, body: bytes) -> Batch:
        """Those of the events that are JSON, and a RuleError for each that is not. Raises ApiError. Takes long for what is long and broken."""
        ...


class BatchTask(NamedTuple):
    """A body that has many events."""

    form: Form
    make: RequestRecords
    grant: Grant

    def judge(self, body: bytes) -> Iterator[Turn]:
        """Raises ApiError where it cannot be cut into events."""
        yield from judge_batch(self.form.read_or_repair(body), self.make, self.grant, PART_EVENTS)


def judge_event(body: bytes, collection: str, make: RequestRecords, grant: Grant) -> Record | RuleError:
    """The record of a body's one event, or what is wrong with it."""
    try:
        event, good_values = parse_values(body)
    except ValueError:
        event, good_values = explain_broken(body), False
    fill_all([event], grant)
    [made] = make.records(collection, [event], good_values=good_values)
    return made


class Bulk:
    """The form of Keen's bulk requests: an object of lists, by the names of their collections."""

    def reads_quickly(self, body: bytes) -> bool:
        """As `collector.judging` says."""
        return reads_quickly(body)

    def read(self, body: bytes) -> Batch:
        """The events. Raises ApiError where the body has another form, ValueError where it is not JSON as a whole."""
        document, good_values = parse_values(body)
        if type(document) is not dict:
            raise ApiError(
                400, "InvalidBatchError", 'The body must be a JSON object: {"collection": [event, ...], ...}.'
            )
        for collection, events in document.items():
            if type(events) is not list:
                raise ApiError(400, "InvalidBatchError", f"Collection {collection[:80]!r} must have a list of events.")
        return _within_limits(Batch(document, good_values))

    def read_or_repair(self, body: bytes) -> Batch:
        """Those of the events that are JSON, and a RuleError for each that is not. Raises ApiError. Takes long for what is long and broken."""
        try:
            return self.read(body)
        except ValueError:
            # What does not end so ends early, wherever that is.
            parts = split_batch(body) if body.rstrip(b" \t\r\n").endswith(b"}") else None
        if parts is None:
            raise ApiError(400, "InvalidBatchError", explain_broken(body).description)
        collections: dict[str, list[Any]] = {}
        for name, texts in parts:
            try:
                collection = orjson.loads(name)
            except ValueError:
                raise ApiError(400, "InvalidBatchError", "The name of a collection is not valid UTF-8 text.") from None
            collections[collection] = [event_or_error(text) for text in texts]
        return _within_limits(Batch(collections, good_values=False))


def event_or_error(text: bytes, what: str = "body") -> Any:
    """The JSON value of a text, or why it is none; `what` the text is."""
    try:
        return parse_json(text)
    except ValueError:
        return explain_broken(text, what)


def judge_batch(batch: Batch, make: RequestRecords, grant: Grant, events_each: int) -> Iterator[Turn]:
    """What becomes of a batch's events, so many in each turn at most; their answers together are the request's."""
    before = b"{"
    for collection, events in batch.collections.items():
        before += orjson.dumps(collection) + b":["
        for start in range(0, len(events), events_each):
            some = events[start : start + events_each]
            fill_all(some, grant)
            made = make.records(collection, some, good_values=batch.good_values)
            records = [each for each in made if type(each) is tuple]
            if len(records) == len(made):
                refused: Mapping[str, int] = {}
                results = [STORED] * len(made)
            else:
                refused = dict(Counter([each.name for each in made if isinstance(each, RuleError)]))
                results = [*map(_result, made)]
            yield Turn(records, before + b",".join(results), refused, start + events_each < len(events))
            before = b","
        before = b"]," if events else before + b"],"
    yield Turn([], before.removesuffix(b",") + b"}", {}, more=False)


def _within_limits(batch: Batch) -> Batch:
    count = sum(map(len, batch.collections.values()))
    if count > BATCH_EVENTS_MAX:
        raise ApiError(413, "InvalidBatchError", f"The body has {count:,} events; {BATCH_EVENTS_MAX:,} is the most.")
    return batch


def _result(made: Record | RuleError) -> bytes:
    """What a bulk request is told of one event."""
    if isinstance(made, RuleError):
        return orjson.dumps({"success": False, "error": {"name": made.name, "description": made.description}})
    return STORED
