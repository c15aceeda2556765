"""The webhooks' routes: who may write, whether the vendor signed it, and the one publish."""

import asyncio
import base64
import binascii
import time
from collections.abc import Callable
from typing import Any

import orjson
import structlog
from starlette.routing import BaseRoute, Route

from collector.body import Receive, read_body
from collector.endpoint import JSON, Answer, endpoint, handler
from collector.errors import ApiError, not_allowed
from collector.judges import Judges
from collector.publish import Publisher
from collector.records import Record, RequestRecords
from collector.request import Request
from collector.webhooks.judging import AT_ONCE_BYTES, NOT_SIGNED, DeliveryTask, Turn
from collector.webhooks.vendors import PATHS, Delivery, Vendor
from headwater import metrics
from headwater.control import Access, AccessError, ControlPlane, Grant, ProjectSettings
from headwater.settings import Settings

log = structlog.get_logger("headwater.collector")


class WebhookRoutes:
    """The routes, over what they need: who may write, the projects' secrets, and where events go."""

    def __init__(
        self, settings: Settings, access: Access, plane: ControlPlane, publisher: Publisher, judges: Judges
    ) -> None:
        self._settings = settings
        self._access = access
        self._plane = plane
        self._publisher = publisher
        self._judges = judges

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
            records: list[Record] = []
            for turn in await self._judged(vendor, body, request, grant):
                records += turn.records
                for collection, identity in turn.cut:
                    log.warning("webhook event was cut", project=grant.project_id, collection=collection, id=identity)
            if records:
                await self._publisher.publish(grant.project_id, records)
                metrics.events_accepted.inc(len(records))
            return 200, orjson.dumps({"success": True, "events": len(records)}), JSON

        return store

    async def _judged(self, vendor: Vendor, body: bytes, request: Request, grant: Grant) -> list[Turn]:
        """What becomes of the request's events. Raises ApiError."""
        project, received = self._project_settings(grant), time.time()
        try:
            try:
                return await self._judge(vendor, body, request, grant, project, received)
            except ApiError as error:
                if error.name != NOT_SIGNED:
                    raise
                # A secret that was set a moment ago may not have come here yet.
                if not await asyncio.to_thread(self._plane.catch_up) or self._project_settings(grant) == project:
                    raise
                return await self._judge(vendor, body, request, grant, self._project_settings(grant), received)
        except ApiError as error:
            if error.name == NOT_SIGNED:
                metrics.signatures_refused.labels(vendor.name).inc()
                log.warning("webhook is not signed as it must be", vendor=vendor.name, project=grant.project_id)
            elif error.status in (400, 413):
                metrics.events_rejected.labels(error.name).inc()
            raise

    async def _judge(
        self, vendor: Vendor, body: bytes, request: Request, grant: Grant, project: ProjectSettings, received: float
    ) -> list[Turn]:
        # What looks like a placeholder is what somebody wrote, in an issue perhaps; the sender is only the vendor.
        make = RequestRecords(self._settings, grant.project_id, None, None, placeholders=False)
        delivery = Delivery(request.headers, project, self._settings.event_max_depth, received)
        task = DeliveryTask(vendor, delivery, make, grant, self._settings.event_max_bytes)
        if len(body) <= AT_ONCE_BYTES:
            return [*task.judge(body)]
        return await self._judges.ask(grant.project_id, task, body)

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
