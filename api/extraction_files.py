"""Extractions into files: written one after another in the background, kept in the data directory for a while.

Each has a folder, `extractions/<project>/<id>/`, with what is known of it (`about.json`) and its file once it is whole. What was not
finished when the process ended is begun again at the next start. Replicas have files of their own unless they share the folder.
"""

import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC
from pathlib import Path
from typing import Any

import orjson
import structlog

from api.connections import Connections
from headwater.control import Grant
from headwater.query import QueryError
from headwater.query.clickhouse import extracted
from headwater.query.definition import Definition, parse_definition
from headwater.query.extraction import ENDINGS
from headwater.query.statements import Cancellation, Limits
from headwater.query.zones import iso
from headwater.settings import Settings

MOST_UNFINISHED = 10  # of a project; they are written one after another
DAY = 86_400_000
_ID = re.compile(r"[0-9a-f]{32}")

log = structlog.get_logger("headwater.api")


class ExtractionFiles:
    """The extractions of all projects. Its methods touch the disk shortly."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.data_dir / "extractions"
        self._keep = round(settings.extraction_keep_days * DAY)
        self._limits = Limits.of(settings)
        self._connections = Connections(settings.clickhouse, self._limits)
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="extraction")
        self._stopping = threading.Event()
        self._cancellation = Cancellation()

    def start(self) -> None:
        """Take up what was left unfinished."""
        for about in self._all("*"):
            if about["status"] == "processing":
                self._writing.submit(self._write, about)

    def stop(self) -> None:
        """End what is being written; it is begun again at the next start."""
        self._stopping.set()
        self._writing.shutdown(wait=False, cancel_futures=True)
        with suppress(QueryError), self._connections.lent() as client:
            self._cancellation.cancel(client)
        self._writing.shutdown()
        self._connections.close()

    def begin(self, grant: Grant, parameters: Mapping[str, Any], now: int) -> dict[str, Any]:
        """Note an extraction and write it in the background; what is known of it. Raises QueryError (429)."""
        self._forget_old(grant.project_id)
        if sum(about["status"] == "processing" for about in self._all(grant.project_id)) >= MOST_UNFINISHED:
            raise QueryError(
                "TooManyQueriesError", f"{MOST_UNFINISHED} extractions are being written already; try again later.", 429
            )
        about = {
            "id": uuid.uuid4().hex,
            "project_id": grant.project_id,
            "key_id": grant.key_id,
            "status": "processing",
            "requested": now,
            # Neither a secret nor an address is kept.
            "parameters": {**{name: value for name, value in parameters.items() if name != "api_key"}, "email": True},
        }
        self._note(about)
        self._writing.submit(self._write, about)
        return self._public(about)

    def listed(self, grant: Grant) -> list[dict[str, Any]]:
        """What is known of the extractions that a key may see: its own, and with the master key all; the newest first."""
        self._forget_old(grant.project_id)
        seen = [about for about in self._all(grant.project_id) if _may_see(grant, about)]
        return [self._public(about) for about in sorted(seen, key=lambda about: -int(about["requested"]))]

    def one(self, grant: Grant, extraction_id: str) -> dict[str, Any]:
        """What is known of an extraction. Raises QueryError (404)."""
        return self._public(self._found(grant, extraction_id))

    def file(self, grant: Grant, extraction_id: str) -> Path:
        """The file of an extraction. Raises QueryError: 404 where there is none, 409 where it is not written yet or cannot be."""
        about = self._found(grant, extraction_id)
        if about["status"] != "done":
            raise QueryError("ExtractionNotReadyError", f"The extraction is {about['status']}.", 409)
        return self._place(about) / str(about["file"])

    def _found(self, grant: Grant, extraction_id: str) -> dict[str, Any]:
        self._forget_old(grant.project_id)
        if _ID.fullmatch(extraction_id):
            for about in self._all(grant.project_id, extraction_id):
                if _may_see(grant, about):
                    return about
        raise QueryError("ResourceNotFoundError", "There is no such extraction, or its time is over.", 404)

    def _write(self, about: dict[str, Any]) -> None:
        query = parse_definition("extraction", about["parameters"], about["requested"])
        assert isinstance(query, Definition)
        name = f"{about['id']}.{ENDINGS[query.content_type]}.gz"
        part = self._place(about) / "part"
        try:
            with self._connections.lent() as client, part.open("wb") as file:
                for piece in extracted(client, query, about["project_id"], self._limits, self._cancellation):
                    if self._stopping.is_set():
                        return
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            part.rename(part.with_name(name))
            about |= {"status": "done", "file": name, "bytes": part.with_name(name).stat().st_size}
        except QueryError as error:
            if self._stopping.is_set():
                return
            about |= {"status": "failed", "error": {"error_code": error.name, "message": error.message}}
            log.warning("extraction failed", project=about["project_id"], extraction=about["id"], error=error.name)
        except OSError as error:
            about |= {"status": "failed", "error": {"error_code": "InternalServerError", "message": "No room for it."}}
            log.error("extraction not written", project=about["project_id"], extraction=about["id"], cause=str(error))
        finally:
            part.unlink(missing_ok=True)
        self._note(about | {"finished": _now()})

    def _note(self, about: Mapping[str, Any]) -> None:
        """Keep what is known, whole or not at all."""
        place = self._place(about)
        place.mkdir(parents=True, exist_ok=True)
        fresh = place / "about.new"
        fresh.write_bytes(orjson.dumps(about))
        fresh.replace(place / "about.json")

    def _all(self, project: str, extraction: str = "*") -> Iterator[dict[str, Any]]:
        for path in self._folder.glob(f"{project}/{extraction}/about.json"):
            with suppress(OSError):  # forgotten meanwhile
                yield orjson.loads(path.read_bytes())

    def _forget_old(self, project_id: str) -> None:
        for about in self._all(project_id):
            if "finished" in about and about["finished"] + self._keep < _now():
                shutil.rmtree(self._place(about), ignore_errors=True)

    def _place(self, about: Mapping[str, Any]) -> Path:
        return self._folder / str(about["project_id"]) / str(about["id"])

    def _public(self, about: Mapping[str, Any]) -> dict[str, Any]:
        url = f"/3.0/projects/{about['project_id']}/extractions/{about['id']}"
        known = {
            "id": about["id"],
            "status": about["status"],
            "event_collection": about["parameters"].get("event_collection"),
            "requested_at": iso(about["requested"], UTC),
            "url": url,
        }
        if about["status"] == "done":
            expires = iso(about["finished"] + self._keep, UTC)
            known |= {"file_url": f"{url}/file", "bytes": about["bytes"], "expires_at": expires}
        return known | ({"error": about["error"]} if "error" in about else {})


def _may_see(grant: Grant, about: Mapping[str, Any]) -> bool:
    """A key sees its own extractions only: others' may hold events that it may not read."""
    return grant.kind == "master" or about["key_id"] == grant.key_id


def _now() -> int:
    return time.time_ns() // 1_000_000
