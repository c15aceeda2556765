"""SendGrid's requests: the signature of its own library's tests, the fan-out, and custom arguments of any name."""

import json
from typing import Any

import pytest

from collector.webhooks.sendgrid import DATE, GEO, PARTNER_COLLECTION, URL, USER_AGENT, events, verify
from collector.webhooks.vendor_event import DeliveryError, SignatureError, VendorEvent
from collector.webhooks.vendors import SENDGRID, Delivery
from headwater.control import ProjectSettings
from tests import signed_by_sendgrid as signed

SIGNATURE, TIME = signed.HEADERS


def read(*given: dict[str, Any]) -> list[VendorEvent]:
    return events(json.dumps(given).encode(), {}, None, 100)


@pytest.mark.parametrize(
    "key", [signed.PUBLIC_KEY, f"-----BEGIN PUBLIC KEY-----\n{signed.PUBLIC_KEY}\n-----END PUBLIC KEY-----\n"]
)
def test_the_signed_event_of_its_library(key: str) -> None:
    [found] = events(signed.BODY, signed.HEADERS, key, 100)
    assert found == VendorEvent(
        "email_dropped", signed.EVENT, str(signed.EVENT["sg_event_id"]), 1_600_112_492_000, [DATE]
    )


@pytest.mark.parametrize(
    ("body", "headers", "key"),
    [
        (signed.BODY.rstrip(), signed.HEADERS, signed.PUBLIC_KEY),
        (b"payload", signed.HEADERS, signed.PUBLIC_KEY),
        (signed.BODY, signed.HEADERS, signed.OTHER_PUBLIC_KEY),
        (signed.BODY, signed.HEADERS | {SIGNATURE: signed.OTHER_SIGNATURE}, signed.PUBLIC_KEY),
        (signed.BODY, signed.HEADERS | {SIGNATURE: b"!"}, signed.PUBLIC_KEY),
        (signed.BODY, signed.HEADERS | {SIGNATURE: b"\xff"}, signed.PUBLIC_KEY),
        (signed.BODY, signed.HEADERS | {TIME: b"1600112503"}, signed.PUBLIC_KEY),
        (signed.BODY, {SIGNATURE: signed.HEADERS[SIGNATURE]}, signed.PUBLIC_KEY),
        (signed.BODY, {}, signed.PUBLIC_KEY),
        (signed.BODY, signed.HEADERS, "no key"),
        (signed.BODY, signed.HEADERS, "bm8ga2V5"),
    ],
)
def test_what_is_not_signed(body: bytes, headers: dict[bytes, bytes], key: str) -> None:
    with pytest.raises(SignatureError):
        verify(body, headers, key)


def test_each_event_has_its_collection_and_the_add_ons_for_what_it_has() -> None:
    click = {
        "event": "click",
        "sg_event_id": "c",
        "ip": "8.8.8.8",
        "useragent": "Mozilla",
        "url": "https://example.com/",
    }
    delivered = {"event": "Delivered", "sg_event_id": "d", "timestamp": "1600112492", "ip": "8.8.8.8"}
    found = read(click, delivered, {"event": "group_unsubscribe", "sg_event_id": "g"}, {"sg_event_id": "u", "ip": 7})
    assert [(event.collection, event.id, event.addons) for event in found] == [
        ("email_click", "c", [GEO, USER_AGENT, URL, DATE]),
        ("email_delivered", "d", [GEO, DATE]),
        ("email_group_unsubscribe", "g", [DATE]),
        ("email_unknown", "u", [DATE]),
    ]
    assert [event.timestamp for event in found] == [None, 1_600_112_492_000, None, None]


def test_a_project_may_do_without_add_ons() -> None:
    body = b'[{"event":"open","sg_event_id":"1","ip":"8.8.8.8"}]'
    project = ProjectSettings.model_validate({"sendgrid.addons": "false"})
    [event] = SENDGRID.read(body, Delivery({}, project, 100, 0.0))
    assert event.addons == []


def test_keens_older_integration_has_all_in_one_collection_too() -> None:
    body = b'[{"event":"open","sg_event_id":"1"},{"event":"click","sg_event_id":"2"}]'
    found = events(body, {}, None, 100, PARTNER_COLLECTION)
    assert [(event.collection, event.id) for event in found] == [
        ("email_open", "1"),
        ("SendGrid Email Events", "1"),
        ("email_click", "2"),
        ("SendGrid Email Events", "2"),
    ]
    assert found[0].properties is not found[1].properties  # which the collector changes


def test_custom_arguments_never_stand_where_an_add_on_writes() -> None:
    [event] = read(
        {"event": "open", "order.id": 7, "first name": "Ann", "keen": "x", "parsed_url": "no", "ip_geo_info": 1}
    )
    assert event.properties == {
        "event": "open",
        "order_id": 7,
        "first name": "Ann",
        "keen_": "x",
        "parsed_url_": "no",
        "ip_geo_info_": 1,
    }


def test_without_an_id_the_same_event_has_the_same_one() -> None:
    first, again, other = read({"event": "open", "a": 1}, {"a": 1, "event": "open"}, {"event": "open", "a": 2})
    assert first.id == again.id != other.id


def test_one_object_is_an_event_too_and_an_empty_list_none() -> None:
    assert len(events(b'{"event":"open"}', {}, None, 100)) == 1
    assert events(b"[]\r\n", {}, None, 100) == []


@pytest.mark.parametrize("body", [b"", b"no", b'"open"', b"[1]", b'[{"event":"open"},[]]'])
def test_what_is_no_request_of_sendgrids(body: bytes) -> None:
    with pytest.raises(DeliveryError):
        events(body, {}, None, 100)
