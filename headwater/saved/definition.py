"""A saved query: a question with a name, and how often its answer is made anew."""

import re
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from headwater.control.records import Record, object_record
from headwater.query.definition import parse_definition
from headwater.query.funnel import Funnel
from headwater.query.retention import Retention

KIND = "saved_query"  # of its records in the control plane
REFRESH_RATE_MAX = 172_800  # seconds
_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


@dataclass(frozen=True)
class SavedQuery:
    """A saved query in one version. `query` is as it was given, its `analysis_type` among the parameters."""

    project_id: str
    name: str
    version: int
    query: dict[str, Any]
    refresh_rate: int  # seconds; 0: each answer is made when it is asked for
    metadata: dict[str, Any] | None
    created_at: int  # milliseconds since 1970 UTC
    modified_at: int

    @property
    def analysis(self) -> str:
        """The analysis that it asks for."""
        name: str = self.query["analysis_type"]
        return name

    @property
    def parameters(self) -> dict[str, Any]:
        """The analysis' parameters."""
        return {name: value for name, value in self.query.items() if name != "analysis_type"}

    @property
    def collections(self) -> frozenset[str]:
        """The collections that it reads. Raises QueryError where its definition is none any more."""
        return _collections(self.analysis, orjson.dumps(self.parameters))


@lru_cache(maxsize=10_000)
def _collections(analysis: str, parameters: bytes) -> frozenset[str]:
    query = parse_definition(analysis, orjson.loads(parameters), time.time_ns() // 1_000_000)
    if isinstance(query, Funnel):
        return frozenset(step.deed.collection for step in query.steps)
    if isinstance(query, Retention):
        return frozenset((query.first.collection, query.returning.collection))
    return frozenset((query.collection,))


def is_name(name: str) -> bool:
    """Whether a saved query or a dataset may be called so: letters, digits, `-` and `_`, 128 at most."""
    return _NAME.fullmatch(name) is not None


def object_id(project_id: str, name: str) -> str:
    """The id of a named object's records."""
    return f"{project_id}:{name}"


def saved_record(saved: SavedQuery) -> Record:
    """Its record, written when it was last modified."""
    body = {
        "query": saved.query,
        "refresh_rate": saved.refresh_rate,
        "metadata": saved.metadata,
        "created_at": saved.created_at,
    }
    return object_record(KIND, object_id(saved.project_id, saved.name), saved.version, saved.modified_at, body)


def read_object(record: Record | None) -> tuple[str, str, dict[str, Any]] | None:
    """Project, name and body of a named object's record; None where it was deleted or never was."""
    if record is None:
        return None
    body: dict[str, Any] = orjson.loads(record["body"])
    if body.get("deleted"):
        return None
    project_id, _, name = record["id"].partition(":")
    return project_id, name, body


def read_saved(record: Record | None) -> SavedQuery | None:
    """The saved query of a record; None where it was deleted or never was."""
    found = read_object(record)
    if record is None or found is None:
        return None
    project_id, name, body = found
    return SavedQuery(
        project_id,
        name,
        record["version"],
        body["query"],
        body["refresh_rate"],
        body["metadata"],
        body["created_at"],
        record["written_at"],
    )
