"""Extractions into files: written one after another in the background, kept in the data directory for a while, unless events of
their collection are deleted.

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
from headwater.atomic_file import replace_file
from headwater.control import ControlPlane, Grant
from headwater.query import QueryError
from headwater.query.catalogue import TypeCatalogue
from headwater.query.clickhouse import extracted
from headwater.query.definition import Definition, parse_definition
from headwater.query.extraction import ENDINGS
from headwater.query.statements import Cancellation, Limits
from headwater.query.zones import iso
from headwater.settings import Settings

MOST_UNFINISHED = 10  # of a project; they are written one after another
LOOK_SECONDS = 1.0  # how often it is seen whether deletions have been done
DAY = 86_400_000
_ID = re.compile(r"[0-9a-f]{32}")

log = structlog.get_logger("headwater.api")


class ExtractionFiles:
    """The extractions of all projects. Its methods touch the disk shortly."""

    def __init__(self, settings: Settings, plane: ControlPlane) -> None:
        self._plane = plane
        self._folder = settings.data_dir / "extractions"
        self._keep = round(settings.extraction_keep_days * DAY)
        self._limits = Limits.of(settings)
        self._connections = Connections(settings.clickhouse, self._limits)
        self._catalogue = TypeCatalogue()
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="extraction")
        self._stopping = threading.Event()
        self._removing = threading.Thread(target=self._remove, name="extraction-remover", daemon=True)
        self._cancellation = Cancellation()

    def start(self) -> None:
        """Take up what was left unfinished, and remove files from now on when deletions make them out of date."""
        for about in self._all("*"):
            if about["status"] == "processing":
                self._writing.submit(self._write, about)
        self._removing.start()

    def stop(self) -> None:
        """End what is being written; it is begun again at the next start."""
        self._stopping.set()
        self._writing.shutdown(wait=False, cancel_futures=True)
        if not self._cancellation.is_idle:  # else nobody has to wait for a ClickHouse that may be away
            with suppress(QueryError), self._connections.lent() as client:
                self._cancellation.cancel(client)
        self._writing.shutdown()
        if self._removing.is_alive():
            self._removing.join()
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
            "filters": grant.filters,  # those that it is made under
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
        seen = [about for about in seen if _may_have(grant, about)]
        return [self._public(about) for about in sorted(seen, key=lambda about: -int(about["requested"]))]

    def one(self, grant: Grant, extraction_id: str) -> dict[str, Any]:
        """What is known of an extraction. Raises QueryError: 404 where there is none, 403 where the key's filters are others now."""
        return self._public(self._found(grant, extraction_id))

    def file(self, grant: Grant, extraction_id: str) -> Path:
        """The file of an extraction. Raises QueryError as `one` does, and 409 where it is not written yet or cannot be."""
        about = self._found(grant, extraction_id)
        if about["status"] != "done":
            raise QueryError("ExtractionNotReadyError", f"The extraction is {about['status']}.", 409)
        return self._place(about) / str(about["file"])

    def _found(self, grant: Grant, extraction_id: str) -> dict[str, Any]:
        self._forget_old(grant.project_id)
        if _ID.fullmatch(extraction_id):
            for about in self._all(grant.project_id, extraction_id):
                if _may_see(grant, about):
                    if not _may_have(grant, about):
                        raise QueryError(
                            "InvalidApiKeyError",
                            "The key given has filters that the extraction was not made under; ask for it again.",
                            403,
                        )
                    return about
        raise QueryError(
            "ResourceNotFoundError",
            "There is no such extraction, its time is over, or events of its collection were deleted since.",
            404,
        )

    def _write(self, about: dict[str, Any]) -> None:
        """Write a file; from its beginning where a deletion is done meanwhile."""
        where = {"project": about["project_id"], "extraction": about["id"]}
        try:
            while not self._written(about):
                log.info("extraction begun again", **where)
        except Exception:  # a fault of ours, or no room to say how it ended: who asks should not wait for ever
            log.exception("extraction failed", **where)
            with suppress(OSError):
                self._note(about | _failed("InternalServerError", "An error on our side; it is in the log."))

    def _written(self, about: dict[str, Any]) -> bool:
        """Whether writing it has come to an end, good or bad; False where it may hold what was deleted meanwhile."""
        about["deletions"] = self._times_done(about)
        query = parse_definition("extraction", about["parameters"], about["requested"])
        assert isinstance(query, Definition)
        name = f"{about['id']}.{ENDINGS[query.content_type]}.gz"
        part = self._place(about) / "part"
        try:
            with self._connections.lent() as client, part.open("wb") as file:
                for piece in extracted(
                    client, query, about["project_id"], self._limits, self._catalogue, self._cancellation
                ):
                    if self._stopping.is_set():
                        return True
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            if self._is_outdated(about):
                return False
            part.rename(part.with_name(name))
            about |= {"status": "done", "file": name, "bytes": part.with_name(name).stat().st_size}
        except QueryError as error:
            if self._stopping.is_set():
                return True
            about |= _failed(error.name, error.message)
            log.warning("extraction failed", project=about["project_id"], extraction=about["id"], error=error.name)
        except OSError as error:
            about |= _failed("InternalServerError", "No room for it.")
            log.error("extraction not written", project=about["project_id"], extraction=about["id"], cause=str(error))
        finally:
            part.unlink(missing_ok=True)
        self._note(about | {"finished": _now()})
        return True

    def _note(self, about: Mapping[str, Any]) -> None:
        """Keep what is known, whole or not at all."""
        place = self._place(about)
        place.mkdir(parents=True, exist_ok=True)
        replace_file(place / "about.json", orjson.dumps(about))

    def _all(self, project: str, extraction: str = "*") -> Iterator[dict[str, Any]]:
        for path in self._folder.glob(f"{project}/{extraction}/about.json"):
            with suppress(OSError, ValueError):  # forgotten meanwhile, or damaged: then it is none
                yield orjson.loads(path.read_bytes())

    def _forget_old(self, project_id: str) -> None:
        for about in self._all(project_id):
            if "finished" in about and (about["finished"] + self._keep < _now() or self._is_outdated(about)):
                shutil.rmtree(self._place(about), ignore_errors=True)

    def _remove(self) -> None:
        """Remove the files that deletions have made out of date, whether somebody asks for them or not."""
        seen = None
        while not self._stopping.wait(LOOK_SECONDS):
            done = self._plane.deletions.times_done_in_all
            if self._plane.caught_up and done != seen:
                self._forget_old("*")
                seen = done

    def _times_done(self, about: Mapping[str, Any]) -> int:
        collection = about["parameters"].get("event_collection")
        return self._plane.deletions.times_done(about["project_id"], (collection,))

    def _is_outdated(self, about: Mapping[str, Any]) -> bool:
        """Whether a file was written before a deletion in its collection."""
        return int(about.get("deletions", 0)) < self._times_done(about)

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


def _may_have(grant: Grant, about: Mapping[str, Any]) -> bool:
    """Whether an extraction was made under all filters that the key has by now."""
    return all(one in about.get("filters", []) for one in grant.filters)


def _failed(name: str, message: str) -> dict[str, Any]:
    """What is known of an extraction that came to nothing, at this moment."""
    return {"status": "failed", "error": {"error_code": name, "message": message}, "finished": _now()}


def _now() -> int:
    return time.time_ns() // 1_000_000
