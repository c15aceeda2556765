"""The webhooks' routes: who may write, whether the vendor signed it, and the one publish."""

import asyncio
import base64
import binascii
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from pydantic import SecretStr
from starlette.routing import BaseRoute, Route

from collector.autofill import fill_all
from collector.body import Receive, read_body
from collector.endpoint import JSON, Answer, endpoint, handler
from collector.errors import ApiError, not_allowed, refused
from collector.publish import Publisher
from collector.records import Record, RequestRecords
from collector.request import Request
from collector.webhooks import cloudevents, github, sendgrid, stripe
from collector.webhooks.acceptable import fitted
from collector.webhooks.vendor_event import DeliveryError, MediaTypeError, SignatureError, VendorEvent
from headwater import metrics
from headwater.control import Access, AccessError, ControlPlane, Grant, ProjectSettings
from headwater.rules import RuleError, timestamp_text
from headwater.settings import Settings

THREAD_BYTES = 64 * 1024  # bodies beyond it are worked on while other requests have the event loop

log = structlog.get_logger("headwater.collector")


@dataclass(frozen=True)
class Vendor:
    """How a vendor's requests are read: body, headers, the project's settings and the deepest nesting give its events.

    `read` raises SignatureError and DeliveryError.
    """

    name: str
    read: Callable[[bytes, Mapping[bytes, bytes], ProjectSettings, int], list[VendorEvent]]
    body_max: int = 0  # bytes, where it may be more than the settings' limit


def _read_github(
    body: bytes, headers: Mapping[bytes, bytes], project: ProjectSettings, max_depth: int
) -> list[VendorEvent]:
    return github.events(body, headers, _clear(project.github_secret), max_depth)


def _read_stripe(
    body: bytes, headers: Mapping[bytes, bytes], project: ProjectSettings, max_depth: int
) -> list[VendorEvent]:
    return stripe.events(body, headers, _clear(project.stripe_secret), max_depth, time.time())


def _clear(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


GITHUB = Vendor("github", _read_github, github.BODY_MAX)
STRIPE = Vendor("stripe", _read_stripe)
SENDGRID = Vendor(
    "sendgrid",
    lambda body, headers, project, max_depth: sendgrid.events(body, headers, project.sendgrid_public_key, max_depth),
)
SENDGRID_PARTNER = Vendor(
    "sendgrid",
    lambda body, headers, project, max_depth: sendgrid.events(
        body, headers, project.sendgrid_public_key, max_depth, sendgrid.PARTNER_COLLECTION
    ),
)
CLOUDEVENTS = Vendor(
    "cloudevents", lambda body, headers, project, max_depth: cloudevents.events(body, headers, max_depth)
)

PATHS = {
    "/webhooks/github/{project_id}": GITHUB,
    "/webhooks/stripe/{project_id}": STRIPE,
    "/webhooks/sendgrid/{project_id}": SENDGRID,
    "/3.0/projects/{project_id}/email/sendgrid/{version}": SENDGRID,
    "/3.0/projects/{project_id}/partners/sendgrid/versions/{version}": SENDGRID_PARTNER,
    "/webhooks/cloudevents/{project_id}": CLOUDEVENTS,
}


class WebhookRoutes:
    """The routes, over what they need: who may write, the projects' secrets, and where events go."""

    def __init__(self, settings: Settings, access: Access, plane: ControlPlane, publisher: Publisher) -> None:
        self._settings = settings
        self._access = access
        self._plane = plane
        self._publisher = publisher

    def routes(self) -> list[BaseRoute]:
        """The routes of every vendor, and CloudEvents' handshake."""
        posts: list[BaseRoute] = [
            Route(path, endpoint(handler(self._receiver(vendor))), methods=["POST"]) for path, vendor in PATHS.items()
        ]
        handshake = endpoint(handler(self._shake_hands))
        return [*posts, Route("/webhooks/cloudevents/{project_id}", handshake, methods=["OPTIONS"])]

    def _receiver(self, vendor: Vendor) -> Callable[[Request, Receive], Any]:
        body_max = max(vendor.body_max, self._settings.body_max_bytes)

        async def store(request: Request, receive: Receive) -> Answer:
            grant = await self._writer(request)
            body = await read_body(receive, request.headers, body_max)
            events = await self._events(vendor, body, request, grant)
            make = self._make_records
            if len(body) > THREAD_BYTES:
                records = await asyncio.to_thread(make, events, grant)
            else:
                records = make(events, grant)
            if records:
                await self._publisher.publish(grant.project_id, records)
                metrics.events_accepted.inc(len(records))
            return 200, orjson.dumps({"success": True, "events": len(records)}), JSON

        return store

    async def _events(self, vendor: Vendor, body: bytes, request: Request, grant: Grant) -> list[VendorEvent]:
        """The request's events. Raises ApiError."""
        settings = self._project_settings(grant)
        try:
            try:
                return await self._read(vendor, body, request, settings)
            except SignatureError:
                # A secret that was set a moment ago may not have come here yet.
                if not await asyncio.to_thread(self._plane.catch_up) or self._project_settings(grant) == settings:
                    raise
                return await self._read(vendor, body, request, self._project_settings(grant))
        except SignatureError as error:
            metrics.signatures_refused.labels(vendor.name).inc()
            log.warning("webhook is not signed as it must be", vendor=vendor.name, project=grant.project_id)
            raise ApiError(401, "InvalidSignatureError", str(error)) from None
        except MediaTypeError as error:
            raise ApiError(415, "InvalidEventError", str(error)) from None
        except DeliveryError as error:
            metrics.events_rejected.labels("InvalidEventError").inc()
            raise ApiError(400, "InvalidEventError", str(error)) from None

    async def _read(
        self, vendor: Vendor, body: bytes, request: Request, settings: ProjectSettings
    ) -> list[VendorEvent]:
        given = (body, request.headers, settings, self._settings.event_max_depth)
        return await asyncio.to_thread(vendor.read, *given) if len(body) > THREAD_BYTES else vendor.read(*given)

    def _make_records(self, events: list[VendorEvent], grant: Grant) -> list[Record]:
        """The events' records. Raises ApiError for what the key's autofill makes of them against the rules."""
        # What looks like a placeholder is what somebody wrote, in an issue perhaps; the sender is only the vendor.
        make = RequestRecords(self._settings, grant.project_id, None, None, placeholders=False).records
        records: list[Record] = []
        for event in events:
            fill_all([event.properties], grant)
            properties = fitted(event.properties, self._settings.event_max_bytes)
            if properties is not event.properties:
                log.warning("webhook event was cut", project=grant.project_id, collection=event.collection, id=event.id)
            properties["keen"] = _keen(event)
            [record] = make(event.collection, [properties])
            if isinstance(record, RuleError):
                metrics.events_rejected.labels(record.name).inc()
                raise refused(record)
            records.append(record)
        return records

    def _project_settings(self, grant: Grant) -> ProjectSettings:
        project = self._plane.project(grant.project_id)
        assert project is not None  # its key was found
        return project.settings

    async def _writer(self, request: Request) -> Grant:
        try:
            return await self._access.check(request.scope["path_params"]["project_id"], _key(request), "writes")
        except AccessError as error:
            raise not_allowed(error) from None

    async def _shake_hands(self, request: Request, receive: Receive) -> Answer:
        """The abuse protection of CloudEvents' webhooks, section 4: who has the key may send, as fast as they like."""
        await self._writer(request)
        origin = request.headers.get(b"webhook-request-origin", b"*")
        return 200, b"", ((b"allow", b"POST"), (b"webhook-allowed-origin", origin), (b"webhook-allowed-rate", b"*"))


def _key(request: Request) -> str | None:
    """The key: from the address, as most vendors can only send it, else from the Authorization header: bare, as a Bearer, or
    as the user or password of an address that has them."""
    key = request.query.get("api_key") or request.query.get("access_token")
    if key is not None or request.key is None:
        return key
    scheme, _, rest = request.key.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(rest).decode("utf-8", "replace").partition(":")
        except binascii.Error:
            return None
        return password or user
    return request.key


def _keen(event: VendorEvent) -> dict[str, Any]:
    keen: dict[str, Any] = {"uniqueness_token": event.id, "addons": event.addons}
    if event.timestamp is not None:
        keen["timestamp"] = timestamp_text(event.timestamp)
    return keen
