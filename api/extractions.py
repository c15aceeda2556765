"""The routes of extractions that were asked for as files."""

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from api.extraction_files import ExtractionFiles
from api.parameters import granted
from api.responses import json_response
from headwater.control import Access


class Extractions:
    """The endpoints, over who may ask and the files."""

    def __init__(self, access: Access, files: ExtractionFiles) -> None:
        self._access = access
        self._files = files

    def routes(self, project: str) -> list[Route]:
        """The routes under a project's path."""
        return [
            Route(f"{project}/extractions", self.all, methods=["GET"]),
            Route(f"{project}/extractions/{{extraction_id}}", self.one, methods=["GET"]),
            Route(f"{project}/extractions/{{extraction_id}}/file", self.file, methods=["GET"]),
        ]

    async def all(self, request: Request) -> Response:
        """GET extractions: those that the key asked for, with the master key all; the newest first."""
        grant = await granted(request, self._access, "queries")
        return json_response({"extractions": self._files.listed(grant)})

    async def one(self, request: Request) -> Response:
        """GET extractions/{id}: how far it is, and where its file is."""
        grant = await granted(request, self._access, "queries")
        return json_response(self._files.one(grant, request.path_params["extraction_id"]))

    async def file(self, request: Request) -> Response:
        """GET extractions/{id}/file: the gzip file."""
        grant = await granted(request, self._access, "queries")
        path = self._files.file(grant, request.path_params["extraction_id"])
        return FileResponse(path, media_type="application/gzip", filename=path.name)
