"""The vendors: how each one's requests are read, and at which addresses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import SecretStr

from collector.webhooks import cloudevents, github, sendgrid, stripe
from collector.webhooks.vendor_event import VendorEvent
from headwater.control import ProjectSettings


class Delivery(NamedTuple):
    """What a request's body is read by."""

    headers: Mapping[bytes, bytes]
    project: ProjectSettings
    max_depth: int  # of an event's nesting
    received: float  # seconds since 1970 UTC


@dataclass(frozen=True)
class Vendor:
    """How a vendor's requests are read: a body and its delivery give the events.

    `read` is a function that a module defines, as another process looks for it there. It raises SignatureError and DeliveryError.
    """

    name: str
    read: Callable[[bytes, Delivery], list[VendorEvent]]
    body_max: int = 0  # bytes, where it may be more than the settings' limit


def _read_github(body: bytes, delivery: Delivery) -> list[VendorEvent]:
    return github.events(body, delivery.headers, _clear(delivery.project.github_secret), delivery.max_depth)


def _read_stripe(body: bytes, delivery: Delivery) -> list[VendorEvent]:
    secret, collection = _clear(delivery.project.stripe_secret), delivery.project.stripe_collection
    return stripe.events(body, delivery.headers, secret, delivery.max_depth, delivery.received, collection)


def _read_sendgrid(body: bytes, delivery: Delivery) -> list[VendorEvent]:
    return _sendgrid_events(body, delivery, None)


def _read_sendgrid_partner(body: bytes, delivery: Delivery) -> list[VendorEvent]:
    return _sendgrid_events(body, delivery, sendgrid.PARTNER_COLLECTION)


def _sendgrid_events(body: bytes, delivery: Delivery, together: str | None) -> list[VendorEvent]:
    project = delivery.project
    return sendgrid.events(
        body,
        delivery.headers,
        project.sendgrid_public_key,
        delivery.max_depth,
        together,
        addons=project.sendgrid_addons,
    )


def _read_cloudevents(body: bytes, delivery: Delivery) -> list[VendorEvent]:
    return cloudevents.events(body, delivery.headers, delivery.max_depth)


def _clear(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


GITHUB = Vendor("github", _read_github, github.BODY_MAX)
STRIPE = Vendor("stripe", _read_stripe)
SENDGRID = Vendor("sendgrid", _read_sendgrid)
SENDGRID_PARTNER = Vendor("sendgrid", _read_sendgrid_partner)
CLOUDEVENTS = Vendor("cloudevents", _read_cloudevents)

PATHS = {
    "/webhooks/github/{project_id}": GITHUB,
    "/webhooks/stripe/{project_id}": STRIPE,
    "/webhooks/sendgrid/{project_id}": SENDGRID,
    "/3.0/projects/{project_id}/email/sendgrid/{version}": SENDGRID,
    "/3.0/projects/{project_id}/partners/sendgrid/versions/{version}": SENDGRID_PARTNER,
    "/webhooks/cloudevents/{project_id}": CLOUDEVENTS,
}
