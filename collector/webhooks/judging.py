"""What becomes of a webhook's request: records, or what it is refused with.

Pure. Bodies that are short are judged in the event loop; the others are tasks for another process.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from collector.autofill import fill_all
from collector.errors import ApiError, refused
from collector.judging import PART_EVENTS
from collector.records import Record, RequestRecords
from collector.webhooks.acceptable import fitted
from collector.webhooks.vendor_event import DeliveryError, MediaTypeError, SignatureError, VendorEvent
from collector.webhooks.vendors import Delivery, Vendor
from headwater.control import Grant
from headwater.rules import RuleError, timestamp_text

AT_ONCE_BYTES = 64 * 1024  # of a body: vendors' events are larger than others'

NOT_SIGNED = "InvalidSignatureError"
INVALID = "InvalidEventError"


class Turn(NamedTuple):
    """What some events become: their records; and the collection and id of each that was cut to fit."""

    records: list[Record]
    cut: list[tuple[str, str]]


class DeliveryTask(NamedTuple):
    """What a vendor's request is judged by."""

    vendor: Vendor
    delivery: Delivery
    make: RequestRecords
    grant: Grant
    event_max_bytes: int

    def judge(self, body: bytes) -> Iterator[Turn]:
        """Raises ApiError: 401 NOT_SIGNED, 415, else 400 for what is no request of the vendor's, and for what the key's autofill makes of
        an event against the rules."""
        events = self._events(body)
        for start in range(0, len(events), PART_EVENTS):
            yield self._turn(events[start : start + PART_EVENTS])

    def _events(self, body: bytes) -> list[VendorEvent]:
        try:
            return self.vendor.read(body, self.delivery)
        except SignatureError as error:
            raise ApiError(401, NOT_SIGNED, str(error)) from None
        except MediaTypeError as error:
            raise ApiError(415, INVALID, str(error)) from None
        except DeliveryError as error:
            raise ApiError(400, INVALID, str(error)) from None

    def _turn(self, events: list[VendorEvent]) -> Turn:
        turn = Turn([], [])
        for event in events:
            fill_all([event.properties], self.grant)
            properties = fitted(event.properties, self.event_max_bytes)
            if properties is not event.properties:
                turn.cut.append((event.collection, event.id))
            properties["keen"] = _keen(event)
            [record] = self.make.records(event.collection, [properties])
            if isinstance(record, RuleError):
                raise refused(record)
            turn.records.append(record)
        return turn


def _keen(event: VendorEvent) -> dict[str, Any]:
    keen: dict[str, Any] = {"uniqueness_token": event.id, "addons": event.addons}
    if event.timestamp is not None:
        keen["timestamp"] = timestamp_text(event.timestamp)
    return keen
