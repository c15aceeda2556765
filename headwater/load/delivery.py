"""How a load's requests go to the collector: lines as NDJSON, just as they stand in the file, and events that were made of rows in bulk."""

import threading
from urllib.parse import quote, urlencode

from headwater.client.bulk import HttpSend, RequestError, refusals
from headwater.client.event import bulk_body
from headwater.load.rows import Lines
from headwater.load.sending import Failure, Request


class Delivery:
    """Delivers to one collection. The id of a line is the value of `id_field`, else what its `keen` object says, else its key; its time the value of `timestamp_field`, else what its
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
        self._path = f"/{quote(collection, safe='')}?{urlencode(ids | times)}"

    def __call__(self, request: Request, stop: threading.Event) -> list[Failure]:
        """As Delivers says."""
        if request.lines is None:
            path, body, kind = "", bulk_body(request.events)[0], "application/json"
        else:
            path, body, kind = self._path, self._body(request.lines), "application/x-ndjson"
        try:
            response = self._send.deliver(path, body, kind, stop)
        except RequestError as error:
            return [Failure(request.line, error.name, error.description, refused=False)]
        found = [*refusals(response, {self._collection: request.rows - request.rejected})]
        if not found:
            return []
        numbers = request.numbers if request.lines is None else request.lines.numbers
        return [Failure(numbers[each.place], each.name, each.description, each.refused) for each in found]

    def close(self) -> None:
        """Close the connections."""
        self._send.close()

    def _body(self, lines: Lines) -> bytes:
        if not self._keyed:
            return b"\n".join(lines.texts)
        return b"\n".join([b"%b\t%b" % pair for pair in zip(lines.keys, lines.texts, strict=True)])
