"""The API's front door."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.access_keys import AccessKeys
from api.collections import Collections
from api.dataset_answers import DatasetAnswers
from api.datasets import Datasets
from api.deletions import DeletionRoutes
from api.extraction_files import ExtractionFiles
from api.extractions import Extractions
from api.kept import KeptTables
from api.live import LiveFollower
from api.parameters import granted, query_parameters, unfiltered
from api.projects import Projects
from api.purge import Purge
from api.queries import Queries
from api.reach import Reach
from api.refresher import Refresher
from api.responses import json_response, no_route, refused
from api.saved_queries import SavedQueries
from api.saved_results import SavedResults
from headwater.control import Access, ControlPlane, ControlWriter, DeletionWriter
from headwater.query import QueryError
from headwater.query.definition import ANALYSES
from headwater.query.restriction import restrict
from headwater.saved.lease import Lease
from headwater.settings import Settings

# Keen names the links of these analyses so, and those of the others without an ending.
ENDS_IN_URL = ("count", "count_unique", "select_unique", "extraction", "funnel")


def create_app(settings: Settings) -> Starlette:
    """The API as an ASGI application with a lifespan.

    `app.state.problems()` says what keeps it from answering (it may block for four seconds): projects, keys or live figures that
    have not been read yet, a ClickHouse that does not answer. `app.state.stop(seconds)` has what runs answered within so many.
    Raises SettingsError where the deployment has no secret; its lifespan raises SecretMismatchError where the secret is another one.
    """
    plane = ControlPlane(settings)
    live = LiveFollower(settings)
    files = ExtractionFiles(settings, plane)
    queries = Queries(settings, files)
    reach = Reach(settings.clickhouse)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with plane.running():
            live.start()
            files.start()
            async with refresher.running():
                yield
            files.stop()
            live.stop()
            results.close()
            tables.close()
            queries.close()
            reach.close()

    access = Access(plane, scoped_keys=settings.scoped_keys)
    writer = ControlWriter(settings, plane=plane)
    tables = KeptTables(settings)
    lease = Lease(settings, "refresher")
    results = SavedResults(queries, tables, plane.deletions, lambda: lease.held)
    saved = SavedQueries(settings, access, plane, writer, results)
    datasets = Datasets(settings, access, plane, writer, DatasetAnswers(queries, tables, plane.deletions))
    refresher = Refresher(lease, Purge(plane, tables), saved, datasets)
    routes = _Routes(settings, access, live, queries)
    collections = Collections(access, plane, live, queries)
    deletions = DeletionRoutes(settings, access, plane, DeletionWriter(settings, writer), collections)
    project = "/3.0/projects/{project_id}"
    app = Starlette(
        routes=[
            Route(f"{project}/queries", routes.analyses, methods=["GET"]),
            *saved.routes(project),
            Route(f"{project}/queries/{{analysis}}", routes.query, methods=["GET", "POST"]),
            Route(f"{project}/live", routes.live, methods=["GET"]),
            *Projects(access, plane, collections).routes(),
            *collections.routes(project),
            *deletions.routes(project),
            *Extractions(access, files).routes(project),
            *datasets.routes(project),
            *AccessKeys(settings, access, plane, writer).routes(project),
        ],
        lifespan=lifespan,
        exception_handlers={QueryError: refused, HTTPException: no_route},
    )
    app.state.name = "api"
    app.state.problems = lambda: [*plane.problems(), *live.problems(), *reach.problems()]
    app.state.stop = queries.hurry_after
    return app


class _Routes:
    """The endpoints, over what they need: who may ask, the live figures, the queries."""

    def __init__(self, settings: Settings, access: Access, live: LiveFollower, queries: Queries) -> None:
        self._settings = settings
        self._access = access
        self._live = live
        self._queries = queries

    async def analyses(self, request: Request) -> Response:
        """GET queries: where each analysis is."""
        project_id = (await granted(request, self._access, "queries")).project_id
        links = {
            f"{name}_url" if name in ENDS_IN_URL else name: f"/3.0/projects/{project_id}/queries/{name}"
            for name in ANALYSES
        }
        return json_response(links)

    async def query(self, request: Request) -> Response:
        """GET or POST queries/{analysis}: the answer under `result`."""
        grant = await granted(request, self._access, "queries")
        parameters = await query_parameters(request, self._settings.body_max_bytes)
        analysis = request.path_params["analysis"]
        restricted = restrict(analysis, parameters, grant.filters)
        return await self._queries.respond(request, grant, analysis, restricted)

    async def live(self, request: Request) -> Response:
        """GET live: the rolling figures of each collection."""
        grant = await granted(request, self._access, "queries")
        unfiltered(grant)
        return json_response(self._live.figures(grant.project_id))
