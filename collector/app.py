"""The collector's front door."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from collector.intake import Intake
from collector.judges import Judges
from collector.keen import KeenRoutes
from collector.publish import Publisher
from collector.rates import Rates
from collector.segment import SegmentRoutes
from collector.webhooks.routes import WebhookRoutes
from headwater.control import Access, ControlPlane
from headwater.settings import Settings

log = structlog.get_logger("headwater.collector")


def create_app(settings: Settings) -> Starlette:
    """The collector as an ASGI application with a lifespan.

    `app.state.problems()` says what keeps it from taking events (it may block for two seconds); `app.state.hot_route(scope)` is what
    answers the requests that most are, past the router; `app.state.stop(seconds)` ends taking in topics of producers. Without Kafka it starts all the same, answers 503, and recovers
    by itself. Raises SettingsError where the deployment has no secret; its lifespan
    raises SecretMismatchError where the secret is another one.
    """
    plane = ControlPlane(settings)
    publisher, judges = Publisher(settings, Rates(plane)), Judges()
    intake = Intake(settings, plane)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with plane.running(), intake.running():
            polling = asyncio.create_task(publisher.poll_when_idle())
            yield
            await judges.close()
            polling.cancel()
            left = publisher.close()
            if left:
                log.warning(
                    "Kafka has not acknowledged all records; none of them was answered with success", records=left
                )

    access = Access(plane, scoped_keys=settings.scoped_keys)
    keen = KeenRoutes(settings, access, publisher, judges)
    segment = SegmentRoutes(settings, access, plane, publisher, judges)
    webhooks = WebhookRoutes(settings, access, plane, publisher, judges)
    app = Starlette(
        routes=[*keen.routes(), *segment.routes(), *webhooks.routes()],
        lifespan=lifespan,
        exception_handlers={HTTPException: _no_route},
    )
    app.state.hot_route = lambda scope: keen.hot_route(scope) or segment.hot_route(scope)
    app.state.name = "collector"
    app.state.problems = lambda: [*plane.problems(), *publisher.problems()]
    app.state.stop = intake.stop_soon
    return app


async def _no_route(request: Request, error: Exception) -> Response:
    """404 and 405 in the form of all errors."""
    assert isinstance(error, HTTPException)
    name = "MethodNotAllowedError" if error.status_code == 405 else "ResourceNotFoundError"
    return JSONResponse({"message": error.detail, "error_code": name}, error.status_code, error.headers)
