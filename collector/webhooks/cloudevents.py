"""CloudEvents 1.0 over HTTP: binary, structured and batched (its HTTP protocol binding and JSON format, version 1.0.2)."""

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from collector.webhooks.acceptable import acceptable, acceptable_collection, parse
from collector.webhooks.vendor_event import DeliveryError, MediaTypeError, VendorEvent, client_id, iso_time

VERSION = "1.0"
REQUIRED = ("id", "source", "type")
PREFIX = b"ce-"


def events(body: bytes, headers: Mapping[bytes, bytes], max_depth: int) -> list[VendorEvent]:
    """The events of a request, each in the collection of its type, with its source and id as id and its time.

    Properties are the attributes and `data` (`data_base64` where it is no text), as in the JSON format. Raises DeliveryError
    where one of them is no CloudEvent: then none is good, and MediaTypeError where the format is another one.
    """
    media_type = headers.get(b"content-type", b"").decode("latin-1").lower().split(";")[0].strip()
    if media_type.startswith("application/cloudevents-batch"):
        batch = _json(body, media_type, "application/cloudevents-batch+json")
        if type(batch) is not list:
            raise DeliveryError("A batch of CloudEvents must be a JSON array.")
        found = batch
    elif media_type.startswith("application/cloudevents"):
        found = [_json(body, media_type, "application/cloudevents+json")]
    elif any(name.startswith(PREFIX) for name in headers):
        found = [_binary(body, headers, media_type)]
    else:
        raise MediaTypeError(
            "This is no CloudEvent: headers ce-id, ce-source, ce-type and ce-specversion are missing, and Content-Type is "
            "neither application/cloudevents+json nor application/cloudevents-batch+json."
        )
    return [_event(each, number, max_depth) for number, each in enumerate(found)]


def _event(given: Any, number: int, max_depth: int) -> VendorEvent:
    if type(given) is not dict:
        raise DeliveryError(f"Event {number} must be a JSON object.")
    for name in REQUIRED:
        if type(given.get(name)) is not str or not given[name]:
            raise DeliveryError(f"Event {number} has no {name}: a CloudEvent needs it, as text.")
    if given.get("specversion") != VERSION:
        raise DeliveryError(f"The specversion of event {number} must be {VERSION!r}.")
    identity = client_id(f"{given['source']} {given['id']}")  # a source has no spaces
    collection = acceptable_collection(given["type"])
    return VendorEvent(collection, acceptable(given, max_depth), identity, iso_time(given.get("time")), [])


def _json(body: bytes, media_type: str, expected: str) -> Any:
    if media_type not in (expected, expected.removesuffix("+json")):
        raise MediaTypeError(f"Content-Type must be {expected}; of the formats of CloudEvents only JSON is read.")
    return parse(body)


def _binary(body: bytes, headers: Mapping[bytes, bytes], media_type: str) -> dict[str, Any]:
    event: dict[str, Any] = {
        name[len(PREFIX) :].decode("latin-1"): _attribute(name, value)
        for name, value in headers.items()
        if name.startswith(PREFIX)
    }
    if b"content-type" in headers:
        event["datacontenttype"] = headers[b"content-type"].decode("latin-1")
    event.pop("data", None)
    event.pop("data_base64", None)
    if not body:
        return event
    if not media_type or media_type.endswith(("/json", "+json")):
        try:
            return event | {"data": parse(body)}
        except DeliveryError:
            pass  # not what it is said to be: kept as it is
    try:
        return event | {"data": body.decode()}
    except UnicodeDecodeError:
        return event | {"data_base64": base64.b64encode(body).decode()}


def _attribute(name: bytes, value: bytes) -> str:
    """A header's value: out of its quotes, then percent-decoded once; some senders write UTF-8 as it is."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise DeliveryError(f"The header {name.decode('latin-1')} is percent-encoded text that is not UTF-8.") from None
