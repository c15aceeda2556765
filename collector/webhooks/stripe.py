"""Stripe's webhooks: one event a request, signed with HMAC-SHA256 and a time (docs.stripe.com, "Verify webhook signatures")."""

import hmac
from collections.abc import Mapping

from collector.webhooks.acceptable import acceptable, acceptable_collection, parse
from collector.webhooks.vendor_event import DeliveryError, SignatureError, VendorEvent, client_id, iso_time, unix_time

TOLERANCE = 300  # seconds that a signature may be old


def events(
    body: bytes,
    headers: Mapping[bytes, bytes],
    secret: str | None,
    max_depth: int,
    now: float,
    collection: str | None = None,
) -> list[VendorEvent]:
    """The event of a request, in `collection`, else in `stripe_` and its type with underscores, with its own id and time.

    Nothing in it is changed but what the rules refuse: amounts stay in the smallest unit of their currency. Where there is a
    secret, raises SignatureError unless the body is signed with it and no more than TOLERANCE before `now` (seconds since
    1970). Raises DeliveryError.
    """
    if secret is not None:
        verify(body, headers.get(b"stripe-signature"), secret, now)
    event = parse(body)
    if type(event) is not dict or any(type(event.get(name)) is not str or not event[name] for name in ("id", "type")):
        raise DeliveryError("The body must be an event of Stripe's, a JSON object with an id and a type.")
    collection = acceptable_collection(collection or "stripe_" + event["type"].replace(".", "_"))
    created = event.get("created")
    time = iso_time(created) if type(created) is str else unix_time(created)  # thin events have text
    return [VendorEvent(collection, acceptable(event, max_depth), client_id(event["id"]), time, [])]


def verify(body: bytes, header: bytes | None, secret: str, now: float) -> None:
    """Raises SignatureError unless one of the header's v1 signatures is made with the secret, not long before `now`.

    There are several while a secret is rolled. Other schemes count for nothing.
    """
    if header is None:
        raise SignatureError("The header Stripe-Signature is missing.")
    pairs = [item.strip().partition(b"=") for item in header.split(b",")]
    times = [value for name, _, value in pairs if name == b"t"]
    if len(times) != 1 or not times[0].isdigit() or len(times[0]) > 12:
        raise SignatureError("The header Stripe-Signature has no time t.")
    expected = hmac.new(secret.encode(), times[0] + b"." + body, "sha256").hexdigest().encode()
    signatures = [value for name, _, value in pairs if name == b"v1"]
    if not any(hmac.compare_digest(expected, signature) for signature in signatures):
        raise SignatureError("Stripe-Signature is not made with the project's stripe.secret.")
    if int(times[0]) < now - TOLERANCE:
        raise SignatureError(f"Stripe-Signature is more than {TOLERANCE} seconds old.")
