"""How a load's requests go to the collector: lines as NDJSON, just as they stand in the file, and events that were made of rows in bulk."""

import threading
from urllib.parse import quote, urlencode

from headwater.client.bulk import HttpSend, RequestError, refusals
from headwater.load.rows import Lines
from headwater.load.sending import Failure, Request

NDJSON = "application/x-ndjson"


class Delivery:
    """Delivers to one collection. The id of a line is its key, else the value of `id_field`; its time the value of `timestamp_field`, else what its
    `keen` object says, else `timestamp`.
    """

    def __init__(
        self, send: HttpSend, collection: str, *, timestamp: str, timestamp_field: str | None, id_field: str | None
    ) -> None:
        self._send = send
        self._collection = collection
        self._keyed = id_field is None
        ids = {"keyed": "true"} if id_field is None else {"id_field": id_field}
        times = {"timestamp": timestamp} if timestamp_field is None else {"timestamp_field": timestamp_field}
        self._target = f"/{quote(collection, safe='')}?{urlencode(ids | times)}"

    def __call__(self, request: Request, stop: threading.Event) -> list[Failure]:
        """As Delivers says."""
        if request.lines is not None:
            return self._lines(request.lines, request.rows, stop)
        failed = self._send(request.events, stop)
        if not failed:
            return []
        numbers = dict(zip((event.id for event in request.events), request.numbers, strict=True))
        return [Failure(numbers[each.id], each.name, each.description, each.refused) for each in failed]

    def close(self) -> None:
        """Close the connections."""
        self._send.close()

    def _lines(self, lines: Lines, rows: int, stop: threading.Event) -> list[Failure]:
        try:
            response = self._send.deliver(self._target, self._body(lines), NDJSON, stop)
        except RequestError as error:
            return [Failure(lines.first, error.name, error.description, refused=False)]
        return [
            Failure(lines.numbers[each.place], each.name, each.description, each.refused)
            for each in refusals(response, {self._collection: rows})
        ]

    def _body(self, lines: Lines) -> bytes:
        if not self._keyed:
            return b"\n".join(lines.texts)
        return b"\n".join([b"%b\t%b" % pair for pair in zip(lines.keys, lines.texts, strict=True)])
