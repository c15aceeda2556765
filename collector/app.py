"""The collector's front door."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from collector.intake import Intake
from collector.keen import KeenRoutes
from collector.publish import Publisher
from collector.rates import Rates
from collector.segment import SegmentRoutes
from collector.webhooks.routes import WebhookRoutes
from headwater.control import Access, ControlPlane
from headwater.settings import Settings


def create_app(settings: Settings) -> Starlette:
    """The collector as an ASGI application with a lifespan.

    `app.state.ready()` says whether it can take events (it may block for two seconds); `app.state.hot_route(scope)` is what
    answers the requests that most are, past the router. Without Kafka it starts all the same, answers 503, and recovers
    by itself. Raises SettingsError where the deployment has no secret; its lifespan
    raises SecretMismatchError where the secret is another one.
    """
    plane = ControlPlane(settings)
    publisher = Publisher(settings, Rates(plane))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with plane.running(), Intake(settings, plane).running():
            yield
            publisher.close()

    access = Access(plane, scoped_keys=settings.scoped_keys)
    keen = KeenRoutes(settings, access, publisher)
    segment = SegmentRoutes(settings, access, plane, publisher)
    webhooks = WebhookRoutes(settings, access, plane, publisher)
    app = Starlette(
        routes=[*keen.routes(), *segment.routes(), *webhooks.routes()],
        lifespan=lifespan,
        exception_handlers={HTTPException: _no_route},
    )
    app.state.hot_route = lambda scope: keen.hot_route(scope) or segment.hot_route(scope)
    app.state.ready = lambda: plane.caught_up and publisher.reachable()
    return app


async def _no_route(request: Request, error: Exception) -> Response:
    """404 and 405 in the form of all errors."""
    assert isinstance(error, HTTPException)
    name = "MethodNotAllowedError" if error.status_code == 405 else "ResourceNotFoundError"
    return JSONResponse({"message": error.detail, "error_code": name}, error.status_code, error.headers)
