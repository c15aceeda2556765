"""NDJSON: a body of which each line is an event of one collection."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from collector.errors import ApiError
from collector.keen_judging import Batch, event_or_error, within_limits
from collector.request import Request
from headwater.fields import as_id, as_time
from headwater.rules import RuleError, parse_each

NDJSON = frozenset({b"application/x-ndjson", b"application/ndjson", b"application/jsonl"})
KEYED = {None: False, "true": True, "false": False}


def is_ndjson(request: Request) -> bool:
    """Whether a request's body is NDJSON, as its Content-Type says."""
    kind = request.headers.get(b"content-type")
    return kind is not None and kind.partition(b";")[0].strip().lower() in NDJSON


class Lines(NamedTuple):
    """A body's form: lines, the collection of them all, and where their ids and times are.

    `id_field` and `timestamp_field` name members of every event; else what its `keen` object says holds, and `timestamp` where
    that says no time. `keyed`: before each event stand its id and a tab. Blank lines are none.
    """

    collection: str
    id_field: str | None = None
    timestamp_field: str | None = None
    timestamp: str | None = None
    keyed: bool = False

    @staticmethod
    def asked(request: Request) -> "Lines":
        """The form that a request's parameters name. Raises ApiError."""
        query = request.query
        collection, keyed, id_field = (
            request.scope["path_params"]["collection"],
            query.get("keyed"),
            query.get("id_field"),
        )
        if keyed not in KEYED:
            raise ApiError(
                400, "InvalidBatchError", f"Parameter 'keyed' is {keyed!r:.80}; it is true, false or not there."
            )
        if KEYED[keyed] and id_field:
            raise ApiError(
                400, "InvalidBatchError", "Parameters 'keyed' and 'id_field' both say what an event's id is: give one."
            )
        return Lines(collection, id_field, query.get("timestamp_field"), query.get("timestamp"), KEYED[keyed])

    def read(self, body: bytes) -> Batch:
        """The events. Raises ApiError where there is no id before one, ValueError where a line is not JSON."""
        keys, texts = self._cut(body)
        return self._batch(keys, *parse_each(texts))

    def read_or_repair(self, body: bytes) -> Batch:
        """The events, and a RuleError for each line that is not JSON. Raises ApiError. Takes long for what is long and broken."""
        try:
            return self.read(body)
        except ValueError:
            keys, texts = self._cut(body)
            return self._batch(keys, [event_or_error(text, "line") for text in texts], False)

    def _cut(self, body: bytes) -> tuple[Sequence[str | None], list[bytes]]:
        """The ids before the events, where they stand there, and the events' texts."""
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
        batch = within_limits(Batch({collection: events}, good_values))
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
                    keen["uniqueness_token"] = key
                elif id_field:
                    keen["uniqueness_token"] = as_id(event.get(id_field), id_field)
                if timestamp_field:
                    keen["timestamp"] = as_time(event.get(timestamp_field), timestamp_field)
                elif timestamp and not keen.get("timestamp"):
                    keen["timestamp"] = timestamp
            except ValueError as error:
                events[number] = RuleError("InvalidPropertyValueError", f"{error}.")
        return batch
