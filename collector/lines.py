"""NDJSON: a body of which each line is an event of one collection."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from collector.errors import ApiError
from collector.judging import BATCH_EVENTS_MAX, reads_quickly
from collector.keen_judging import Batch, event_or_error
from collector.request import Request
from headwater.fields import as_id, as_moment, member
from headwater.rules import PROPERTY_NAME_MAX, RuleError, parse_each

NDJSON = frozenset({b"application/x-ndjson", b"application/ndjson", b"application/jsonl"})
FIELDS = ("id_field", "timestamp_field")
QUICK_LINES = 3_000
KEYED = {None: False, "true": True, "false": False}


def is_ndjson(request: Request) -> bool:
    """Whether a request's body is NDJSON, as its Content-Type says."""
    kind = request.headers.get(b"content-type")
    return kind is not None and kind.partition(b";")[0].strip().lower() in NDJSON


class Lines(NamedTuple):
    """A body's form: lines, the collection of them all, and where their ids and times are.

    `id_field` and `timestamp_field` name members of every event; else what its `keen` object says holds, and `timestamp` where
    that says no time. `keyed`: before each event stand an id, where its `keen` says none, and a tab. Blank lines are none.
    """

    collection: str
    id_field: str | None = None
    timestamp_field: str | None = None
    timestamp: str | None = None
    keyed: bool = False

    @staticmethod
    def asked(request: Request) -> "Lines":
        """The form that a request's parameters name. Raises ApiError."""
        text = request.scope["query_string"].decode("latin-1")
        # Not `request.query`, which passes over empty ones: a name that somebody meant to give must not count as none.
        query = dict(reversed(parse_qsl(text, keep_blank_values=True, errors="replace")))
        for name in FIELDS:  # of which an error is told with every event
            if not 0 < len(query.get(name, "a")) <= PROPERTY_NAME_MAX:
                raise ApiError(400, "InvalidBatchError", f"Parameter {name!r} must name a property of every event.")
        keyed, id_field = query.get("keyed"), query.get("id_field")
        if keyed not in KEYED:
            raise ApiError(
                400, "InvalidBatchError", f"Parameter 'keyed' is {keyed!r:.80}; it is true, false or not there."
            )
        if KEYED[keyed] and id_field:
            raise ApiError(
                400, "InvalidBatchError", "Parameters 'keyed' and 'id_field' both say what an event's id is: give one."
            )
        collection = request.scope["path_params"]["collection"]
        return Lines(collection, id_field, query.get("timestamp_field"), query.get("timestamp"), KEYED[keyed])

    def reads_quickly(self, body: bytes) -> bool:
        """As `collector.judging` says; and to put ids and times into very many events takes long, too."""
        return body.count(b"\n") < QUICK_LINES and reads_quickly(body)

    def read(self, body: bytes) -> Batch:
        """The events. Raises ApiError where there is no id before one, ValueError where a line is not JSON."""
        keys, texts = self._cut(body)
        return self._batch(keys, *parse_each(texts))

    def read_or_repair(self, body: bytes) -> Batch:
        """The events, and a RuleError for each line that is not JSON. Raises ApiError. Takes long for what is long and broken."""
        keys, texts = self._cut(body)
        try:
            events, good_values = parse_each(texts)
        except ValueError:
            events, good_values = [event_or_error(text, "line") for text in texts], False
        return self._batch(keys, events, good_values)

    def _cut(self, body: bytes) -> tuple[Sequence[str | None], list[bytes]]:
        """The ids before the events, where they stand there, and the events' texts."""
        if body.count(b"\n") + (not body.endswith(b"\n")) > BATCH_EVENTS_MAX:
            raise ApiError(413, "InvalidBatchError", f"The body has more than {BATCH_EVENTS_MAX:,} lines.")
        lines = body.split(b"\n")
        if not self.keyed:
            texts = [text for line in lines if (text := line.strip())]
            return [None] * len(texts), texts
        keys, texts = [], []
        for number, line in enumerate(lines, 1):
            key, tab, rest = line.partition(b"\t")
            if text := rest.strip():
                keys.append(key)
                texts.append(text)
            elif not tab and key.strip():
                raise ApiError(400, "InvalidBatchError", f"Line {number:,} has no tab behind an id (keyed=true).")
        try:
            return b"\n".join(keys).decode().split("\n") if keys else [], texts
        except UnicodeDecodeError:
            raise ApiError(400, "InvalidBatchError", "An id before an event is not valid UTF-8 text.") from None

    def _batch(self, keys: Sequence[str | None], events: list[Any], good_values: bool) -> Batch:
        """The events with their ids and times in `keen`, as the rules read them, or a RuleError. A `keen` that is no object stays for the rules to refuse."""
        collection, id_field, timestamp_field, timestamp, keyed = self
        batch = Batch({collection: events}, good_values)
        if not (keyed or id_field or timestamp_field or timestamp):
            return batch
        for number, (key, event) in enumerate(zip(keys, events, strict=True)):
            if type(event) is not dict:
                continue
            keen = event.get("keen")
            if keen is None:
                keen = event["keen"] = {}
            elif type(keen) is not dict:
                continue
            try:
                if key is not None:
                    if keen.get("uniqueness_token") is None and keen.get("id") is None:
                        keen["uniqueness_token"] = key
                elif id_field:
                    keen["uniqueness_token"] = as_id(member(event, id_field), id_field)
                if timestamp_field:
                    keen["timestamp"] = as_moment(member(event, timestamp_field), timestamp_field)
                elif timestamp and keen.get("timestamp") is None:
                    keen["timestamp"] = timestamp
            except ValueError as error:
                events[number] = RuleError("InvalidPropertyValueError", f"{error}.")
        return batch
