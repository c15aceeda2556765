"""SendGrid's Event Webhook: many events a request, signed with ECDSA ("Event Webhook Security Features" in its documents)."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256

from collector.webhooks.acceptable import acceptable, acceptable_collection, parse
from collector.webhooks.vendor_event import DeliveryError, SignatureError, VendorEvent, client_id, unix_time
from headwater.control.public_key import elliptic_key

PARTNER_COLLECTION = "SendGrid Email Events"  # where Keen's older integration put all of them

GEO = {"name": "keen:ip_to_geo", "input": {"ip": "ip"}, "output": "ip_geo_info"}
USER_AGENT = {"name": "keen:ua_parser", "input": {"ua_string": "useragent"}, "output": "parsed_user_agent"}
URL = {"name": "keen:url_parser", "input": {"url": "url"}, "output": "parsed_url"}
DATE = {"name": "keen:date_time_parser", "input": {"date_time": "keen.timestamp"}, "output": "timestamp_info"}
_ADDONS = (("ip", GEO), ("useragent", USER_AGENT), ("url", URL))
_OUTPUTS = tuple(str(addon["output"]) for addon in (GEO, USER_AGENT, URL, DATE))


def events(
    body: bytes,
    headers: Mapping[bytes, bytes],
    public_key: str | None,
    max_depth: int,
    together: str | None = None,
    *,
    addons: bool = True,
) -> list[VendorEvent]:
    """The events of a request, each in the collection `email_` and its name, and once more in the collection `together` where
    one is given; with sg_event_id as id, and (where `addons`) with the add-ons for what it has: geo, user agent, URL; date.

    Where there is a public key, raises SignatureError unless the body, as it came, is signed with its other half. Raises
    DeliveryError.
    """
    if public_key is not None:
        verify(body, headers, public_key)
    batch = parse(body)
    batch = [batch] if type(batch) is dict else batch
    if type(batch) is not list or any(type(each) is not dict for each in batch):
        raise DeliveryError("The body must be a JSON array of objects, as SendGrid's Event Webhook sends it.")
    found = [_event(each, max_depth, addons) for each in batch]
    if together is None:
        return found
    again = [event._replace(collection=together, properties=dict(event.properties)) for event in found]
    return [event for pair in zip(found, again, strict=True) for event in pair]


def verify(body: bytes, headers: Mapping[bytes, bytes], public_key: str) -> None:
    """Raises SignatureError unless the time in the headers and the body are signed by the public key's owner."""
    signature = headers.get(b"x-twilio-email-event-webhook-signature")
    time = headers.get(b"x-twilio-email-event-webhook-timestamp")
    if signature is None or time is None:
        raise SignatureError("The headers X-Twilio-Email-Event-Webhook-Signature and -Timestamp are missing.")
    try:
        key = elliptic_key(public_key)
    except ValueError:
        raise SignatureError(
            "The project's sendgrid.public_key is no public key: set the one that SendGrid shows."
        ) from None
    try:
        key.verify(base64.b64decode(signature, validate=True), time + body, ECDSA(SHA256()))
    except (InvalidSignature, binascii.Error):
        raise SignatureError("The signature is not made for the project's sendgrid.public_key.") from None


def _event(given: dict[str, Any], max_depth: int, addons: bool) -> VendorEvent:
    name = given.get("event")
    name = "_".join(name.lower().split()) if type(name) is str else ""
    collection = acceptable_collection(f"email_{name or 'unknown'}")
    # Custom arguments stand beside SendGrid's own members, under any name: none may be where an add-on writes.
    event = acceptable(given, max_depth, _OUTPUTS)
    asked = [*(addon for member, addon in _ADDONS if type(event.get(member)) is str), DATE] if addons else []
    return VendorEvent(collection, event, _id(given), unix_time(given.get("timestamp")), asked)


def _id(given: dict[str, Any]) -> str:
    """Its sg_event_id; else a hash of it, which is the same when it is sent again."""
    identity = given.get("sg_event_id")
    if type(identity) is str and identity:
        return client_id(identity)
    try:
        text = orjson.dumps(given, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # deeper than orjson writes
        text = repr(sorted(given)).encode("utf-8", "replace")
    return hashlib.sha256(text).hexdigest()
