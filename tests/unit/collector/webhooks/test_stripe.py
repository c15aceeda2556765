"""Stripe's requests: signatures by a known vector, and their age."""

import hmac
import json
from typing import Any

import pytest

from collector.webhooks.stripe import events, verify
from collector.webhooks.vendor_event import DeliveryError, SignatureError, VendorEvent
from collector.webhooks.vendors import STRIPE, Delivery
from headwater.control import ProjectSettings

BODY = b'{"id":"evt_1","object":"event"}'
SECRET = "whsec_test_secret"
NOW = 1_700_000_000
GOOD = b"v1=0c8670ed117751cc551a20e35839447075c42800ea3cf3e8a2fbda99cd1e6edd"
HEADER = b"t=1700000000," + GOOD


@pytest.mark.parametrize(
    "header",
    [
        HEADER,
        b"t=1700000000,v1=" + b"0" * 64 + b"," + GOOD + b",v0=abc",
        GOOD + b", t=1700000000",
    ],
)
@pytest.mark.parametrize("now", [NOW, NOW + 300, NOW - 100_000])
def test_what_is_signed(header: bytes, now: float) -> None:
    verify(BODY, header, SECRET, now)


@pytest.mark.parametrize(
    ("header", "now"),
    [
        (HEADER, NOW + 301),
        (b"t=1700000001," + GOOD, NOW),
        (b"t=1700000000,t=1700000000," + GOOD, NOW),
        (b"t=1700000000," + GOOD.replace(b"v1", b"v0"), NOW),
        (b"t=1700000000", NOW),
        (GOOD, NOW),
        (b"t=," + GOOD, NOW),
        (b"t=-1," + GOOD, NOW),
        (b"t=" + b"9" * 5_000 + b"," + GOOD, NOW),
        (b"t=1700000000,v1=\xff", NOW),
        (b"", NOW),
        (None, NOW),
    ],
)
def test_what_is_not_signed(header: bytes | None, now: float) -> None:
    with pytest.raises(SignatureError):
        verify(BODY, header, SECRET, now)


def test_another_body_or_secret() -> None:
    for body, secret in ((BODY + b" ", SECRET), (BODY, "whsec_other")):
        with pytest.raises(SignatureError):
            events(body, {b"stripe-signature": HEADER}, secret, 100, NOW)


def test_an_event() -> None:
    event: dict[str, Any] = {
        "id": "evt_1",
        "object": "event",
        "type": "customer.subscription.updated",
        "created": 1_699_999_999,
        "data": {"object": {"amount": 1999, "metadata": {"order.id": "7", "amount": "12.50"}}},
    }
    body = json.dumps(event, indent=2).encode()
    signature = hmac.new(SECRET.encode(), b"1700000000." + body, "sha256").hexdigest().encode()
    [found] = events(body, {b"stripe-signature": b"t=1700000000,v1=" + signature}, SECRET, 100, NOW)
    metadata = {"order_id": "7", "amount": "12.50"}
    assert found == VendorEvent(
        "stripe_customer_subscription_updated",
        event | {"data": {"object": {"amount": 1999, "metadata": metadata}}},
        "evt_1",
        1_699_999_999_000,
        [],
    )


def test_a_thin_event_has_its_time_as_text() -> None:
    body = b'{"id":"evt_2","object":"v2.core.event","type":"v1.billing.meter.no_meter_found","created":"2026-01-31T12:00:00.500Z"}'
    [found] = events(body, {}, None, 100, NOW)
    assert (found.collection, found.timestamp) == ("stripe_v1_billing_meter_no_meter_found", 1_769_860_800_500)


@pytest.mark.parametrize(
    "body", [b"no", b"[]", b"{}", b'{"id":"evt_1"}', b'{"id":1,"type":"a"}', b'{"id":"","type":"a"}']
)
def test_what_is_no_event(body: bytes) -> None:
    with pytest.raises(DeliveryError):
        events(body, {}, None, 100, NOW)


def test_a_project_may_have_all_events_in_one_collection() -> None:
    project = ProjectSettings.model_validate({"stripe.collection": "payments"})
    [event] = STRIPE.read(b'{"id":"evt_1","type":"charge.succeeded"}', Delivery({}, project, 100, 0.0))
    assert (event.collection, event.properties["type"]) == ("payments", "charge.succeeded")
