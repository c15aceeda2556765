"""What the clients ask of the HTTP API beside questions, each as a request and how its reply is read: one source for the client that
blocks and the one that does not. Pure.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import orjson

from headwater import exact_json
from headwater.client.http import Call, Deleted
from headwater.client.questions import Filtering, Timeframe
from headwater.query import QueryError, Result
from headwater.query.definition import parse_definition

Json = dict[str, Any]


def live() -> Call[Json]:
    """The live figures of the project's collections."""
    return Call("GET", "/live", _object)


def collections() -> Call[list[str]]:
    """The names of the collections."""
    return Call(
        "GET", "/events?include_schema=false", lambda reply: [one["name"] for one in exact_json.loads(reply.content)]
    )


def schema(collection: str) -> Call[dict[str, str]]:
    """The types of a collection's properties."""
    return Call(
        "GET", f"/events/{_quoted(collection)}", lambda reply: dict(exact_json.loads(reply.content)["properties"])
    )


def latest(collection: str) -> Call[list[Json]]:
    """The last 10 events of a collection."""
    return Call("GET", f"/latest?{urlencode({'event_collection': collection})}", _result)


def trend(collection: str | None) -> Call[list[Json]]:
    """Events of the last 30 days by day, of a collection or of all."""
    asked = "" if collection is None else f"?{urlencode({'event_collection': collection})}"
    return Call("GET", f"/trend{asked}", _result)


def extract_to_file(
    collection: str,
    content_type: str,
    latest: int | None,
    property_names: str | Sequence[str] | None,
    parameters: Filtering,
) -> Call[Json]:
    """Begin to write an extraction into a file. Raises TypeError for other parameters than those of Filtering."""
    _check("extract_to_file", parameters)
    own = {"content_type": content_type, "latest": latest, "property_names": property_names, "email": "a file"}
    body = _plain({"event_collection": collection, **own, **parameters})

    def read(reply: httpx.Response) -> Json:
        about: Json = exact_json.loads(reply.content)["extraction"]
        return about

    return Call("POST", "/queries/extraction", read, body, repeatable=False)


def extractions() -> Call[list[Json]]:
    """The extractions into files."""
    return Call("GET", "/extractions", lambda reply: list(exact_json.loads(reply.content)["extractions"]))


def is_written(extraction_id: str) -> Call[bool]:
    """Whether the file of an extraction is there. Reading it raises QueryError where it could not be written."""

    def read(reply: httpx.Response) -> bool:
        about = exact_json.loads(reply.content)
        if about["status"] == "failed":
            raise QueryError(about["error"]["error_code"], about["error"]["message"])
        return bool(about["status"] == "done")

    return Call("GET", f"/extractions/{_quoted(extraction_id)}", read)


def file_path(extraction_id: str) -> str:
    """Where the file of an extraction is."""
    return f"/extractions/{_quoted(extraction_id)}/file"


def delete(collection: str, property_name: str | None = None) -> Call[Deleted]:
    """Delete a collection, or one of its properties."""
    path = f"/events/{_quoted(collection)}"
    if property_name is not None:
        path += f"/properties/{_quoted(property_name)}"
    return Call("DELETE", path, _deleted, master=True)


def delete_events(collection: str, parameters: Filtering) -> Call[Deleted]:
    """Delete the events that pass filters, in a timeframe. Raises ValueError without both, TypeError for other parameters."""
    _check("delete_events", parameters)
    if not parameters.get("filters") and not parameters.get("timeframe"):
        raise ValueError("delete_events() needs filters or a timeframe; all events go by delete_collection()")
    asked = urlencode({name: _text(value) for name, value in _plain(parameters).items()})
    return Call("DELETE", f"/events/{_quoted(collection)}?{asked}", _deleted, master=True)


def deletions() -> Call[list[Json]]:
    """All deletions of the project."""
    return Call("GET", "/deletions", _list, master=True)


def saved_queries() -> Call[list[Json]]:
    """The definitions of all saved queries."""
    return Call("GET", "/queries/saved", _list, master=True)


def saved_query(name: str) -> Call[Json]:
    """The definition of a saved query."""
    return Call("GET", f"/queries/saved/{_quoted(name)}", _object, master=True)


def save_query(
    name: str, query: Mapping[str, Any], refresh_rate: int, metadata: Mapping[str, Any] | None
) -> Call[Json]:
    """Create or replace a saved query."""
    body = {"query": _plain(query), "refresh_rate": refresh_rate, "metadata": metadata}
    return Call("PUT", f"/queries/saved/{_quoted(name)}", _object, body, master=True)


def saved_result(name: str) -> Call[Result]:
    """The result of a saved query."""

    def read(reply: httpx.Response) -> Result:
        body = exact_json.loads(reply.content)
        query = body["query"]
        definition = parse_definition(query["analysis_type"], query, _now())
        return Result(body["result"], definition, metadata=body.get("execution_metadata"))

    return Call("GET", f"/queries/saved/{_quoted(name)}/result?include_metadata=true", read)


def delete_saved_query(name: str) -> Call[None]:
    """Delete a saved query."""
    return Call("DELETE", f"/queries/saved/{_quoted(name)}", _nothing, master=True)


def datasets() -> Call[list[Json]]:
    """The definitions of all datasets."""
    return Call("GET", "/datasets", lambda reply: list(exact_json.loads(reply.content)["datasets"]))


def dataset(name: str) -> Call[Json]:
    """The definition of a dataset."""
    return Call("GET", f"/datasets/{_quoted(name)}", _object)


def create_dataset(
    name: str, query: Mapping[str, Any], index_by: str | Sequence[str], display_name: str | None
) -> Call[Json]:
    """Create a dataset."""
    indexes = index_by if isinstance(index_by, str) else list(index_by)
    body = {"query": _plain(query), "index_by": indexes, "display_name": display_name or name}
    return Call("PUT", f"/datasets/{_quoted(name)}", _object, body, master=True)


def dataset_result(name: str, index_by: Any, timeframe: Timeframe) -> Call[Result]:
    """The result of a dataset for a value of its index. A text is that text, whatever it would be as JSON."""
    given = _plain(
        {"index_by": index_by if isinstance(index_by, Mapping | list) else [index_by], "timeframe": timeframe}
    )
    asked = urlencode({name: _text(value) for name, value in given.items()})

    def read(reply: httpx.Response) -> Result:
        body = exact_json.loads(reply.content)
        query = body["metadata"]["dataset"]["query"]
        definition = parse_definition(query["analysis_type"], query | {"timeframe": given["timeframe"]}, _now())
        return Result(body["result"], definition)

    return Call("GET", f"/datasets/{_quoted(name)}/results?{asked}", read)


def delete_dataset(name: str) -> Call[None]:
    """Delete a dataset."""
    return Call("DELETE", f"/datasets/{_quoted(name)}", _nothing, master=True)


def access_keys(name: str | None) -> Call[list[Json]]:
    """The access keys, or those of a name."""
    return Call("GET", "/keys" if name is None else f"/keys?{urlencode({'name': name})}", _list, master=True)


def access_key(key: str) -> Call[Json]:
    """An access key."""
    return Call("GET", f"/keys/{_quoted(key)}", _object, master=True)


def create_access_key(name: str, permitted: Sequence[str], options: Mapping[str, Any] | None) -> Call[Json]:
    """Create an access key."""
    body = {"name": name, "permitted": list(permitted), "options": options or {}}
    return Call("POST", "/keys", _object, body, master=True, repeatable=False)


def replace_access_key(
    key: str, name: str, permitted: Sequence[str], options: Mapping[str, Any] | None, active: bool
) -> Call[Json]:
    """Give an access key another name, other permissions and options."""
    body = {"name": name, "permitted": list(permitted), "options": options or {}, "is_active": active}
    return Call("POST", f"/keys/{_quoted(key)}", _object, body, master=True)


def revoke_access_key(key: str) -> Call[Json]:
    """Make an access key invalid."""
    return Call("POST", f"/keys/{_quoted(key)}/revoke", _object, master=True)


def unrevoke_access_key(key: str) -> Call[Json]:
    """Make an access key valid again."""
    return Call("POST", f"/keys/{_quoted(key)}/unrevoke", _object, master=True)


def delete_access_key(key: str) -> Call[None]:
    """Delete an access key."""
    return Call("DELETE", f"/keys/{_quoted(key)}", _nothing, master=True)


def _check(method: str, parameters: Filtering) -> None:
    unknown = parameters.keys() - Filtering.__annotations__.keys()
    if unknown:
        raise TypeError(f"{method}() has no parameter {', '.join(sorted(unknown))}")


def _object(reply: httpx.Response) -> Json:
    value: Json = exact_json.loads(reply.content)
    return value


def _list(reply: httpx.Response) -> list[Json]:
    value: list[Json] = exact_json.loads(reply.content)
    return value


def _result(reply: httpx.Response) -> list[Json]:
    value: list[Json] = exact_json.loads(reply.content)["result"]
    return value


def _nothing(reply: httpx.Response) -> None:
    return None


def _deleted(reply: httpx.Response) -> Deleted:
    copies = orjson.loads(reply.headers["Headwater-Copies-In-Kafka"])
    return Deleted(
        reply.headers["Headwater-Deletion"],
        reply.status_code == httpx.codes.NO_CONTENT,
        {topic: datetime.fromisoformat(until) for topic, until in copies.items()},
    )


def _plain(given: Mapping[str, Any]) -> Json:
    """What JSON makes of it: datetimes as text with their zone."""
    value: Json = orjson.loads(orjson.dumps(given, option=orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z))
    return value


def _text(value: Any) -> str:
    """A parameter as a URL has it."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _now() -> int:
    return time.time_ns() // 1_000_000
