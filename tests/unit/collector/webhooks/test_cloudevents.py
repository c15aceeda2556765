"""CloudEvents: the three modes, their headers' encoding, and what is none."""

import json
from typing import Any

import pytest

from collector.webhooks.cloudevents import events
from collector.webhooks.vendor_event import DeliveryError, MediaTypeError, VendorEvent

EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "7",
    "source": "/shop/orders",
    "type": "com.example.order.placed",
    "time": "2026-01-31T12:00:00.123456789Z",
    "subject": "order 7",
}
BINARY = {
    b"ce-specversion": b"1.0",
    b"ce-id": b"7",
    b"ce-source": b"/shop/orders",
    b"ce-type": b"com.example.order.placed",
    b"ce-time": b"2026-01-31T12:00:00.123456789Z",
    b"ce-subject": b"order%207",
}
JSON = {b"content-type": b"application/json"}
STRUCTURED = {b"content-type": b"application/cloudevents+json; charset=UTF-8"}
BATCH = {b"content-type": b"application/cloudevents-batch+json"}


def found(properties: dict[str, Any]) -> VendorEvent:
    return VendorEvent("com.example.order.placed", properties, "/shop/orders 7", 1_769_860_800_123, [])


def test_structured() -> None:
    event = EVENT | {"data": {"total": 7.5}, "traceid": "abc"}
    assert events(json.dumps(event).encode(), STRUCTURED, 100) == [found(event)]


def test_batch() -> None:
    body = json.dumps([EVENT, EVENT | {"id": "8", "data_base64": "AAE="}]).encode()
    first, second = events(body, BATCH, 100)
    assert first == found(EVENT)
    assert (second.id, second.properties["data_base64"]) == ("/shop/orders 8", "AAE=")
    assert events(b"[]", BATCH, 100) == []


@pytest.mark.parametrize(
    ("content_type", "body", "data"),
    [
        (b"application/json", b'{"total": 7.5}', {"data": {"total": 7.5}}),
        (b"application/vnd.shop+json; charset=utf-8", b"[1]", {"data": [1]}),
        (b"application/json", b'{"total": ', {"data": '{"total": '}),
        (b"text/plain", b"7", {"data": "7"}),
        (b"application/xml", "<é/>".encode(), {"data": "<é/>"}),
        (b"image/gif", b"\xff\x00", {"data_base64": "/wA="}),
        (b"application/json", b"", {}),
    ],
)
def test_binary(content_type: bytes, body: bytes, data: dict[str, Any]) -> None:
    [event] = events(body, BINARY | {b"content-type": content_type}, 100)
    assert event == found(EVENT | {"datacontenttype": content_type.decode()} | data)


def test_binary_without_content_type() -> None:
    assert events(b'{"a":1}', BINARY, 100) == [found(EVENT | {"data": {"a": 1}})]


@pytest.mark.parametrize(
    ("header", "value"),
    [
        (b"caf%C3%A9", "café"),
        ("café".encode(), "café"),
        ("café".encode("latin-1"), "café"),
        (b'"a \\"b\\" c"', 'a "b" c'),
        (b"Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        (b"50%25", "50%"),
        (b"100%", "100%"),
    ],
)
def test_header_values(header: bytes, value: str) -> None:
    [event] = events(b"", BINARY | JSON | {b"ce-subject": header}, 100)
    assert event.properties["subject"] == value


def test_source_and_id_make_the_id() -> None:
    ids = {
        events(b"", BINARY | {b"ce-source": source, b"ce-id": identity}, 100)[0].id
        for source, identity in ((b"/a", b"1"), (b"/a", b"2"), (b"/b", b"1"))
    }
    assert len(ids) == 3


def test_a_time_that_is_none_is_kept_as_text() -> None:
    [event] = events(b"", BINARY | {b"ce-time": b"yesterday"}, 100)
    assert (event.timestamp, event.properties["time"]) == (None, "yesterday")


@pytest.mark.parametrize("name", ["id", "source", "type", "specversion"])
@pytest.mark.parametrize("value", [None, "", 7])
def test_what_is_missing_is_named(name: str, value: object) -> None:
    with pytest.raises(DeliveryError, match=name):
        events(json.dumps([EVENT, EVENT | {name: value}]).encode(), BATCH, 100)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"no", STRUCTURED),
        (b"[]", STRUCTURED),
        (b"{}", BATCH),
        (b"[1]", BATCH),
        (b"", BINARY | {b"ce-specversion": b"0.3"}),
        (b"", BINARY | {b"ce-subject": b"%FF"}),
        (b"", {b"ce-id": b"7"}),
    ],
)
def test_what_is_no_cloud_event(body: bytes, headers: dict[bytes, bytes]) -> None:
    with pytest.raises(DeliveryError):
        events(body, headers, 100)


@pytest.mark.parametrize(
    "content_type", [None, "application/json", "application/cloudevents+avro", "application/cloudevents-batch+x"]
)
def test_other_formats(content_type: str | None) -> None:
    headers = {} if content_type is None else {b"content-type": content_type.encode()}
    with pytest.raises(MediaTypeError):
        events(json.dumps(EVENT).encode(), headers, 100)
