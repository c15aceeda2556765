"""Queries put to ClickHouse itself: the transport of `connect(clickhouse=URL)`, and what the API runs."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import clickhouse_connect
import orjson
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error, OperationalError
from urllib3.exceptions import HTTPError

from headwater.query.catalogue import TypeCatalogue
from headwater.query.compile import Plan, compile_extraction, compile_query
from headwater.query.definition import Definition, parse_definition, paths_of
from headwater.query.errors import QueryError
from headwater.query.properties import Types
from headwater.query.result import Result
from headwater.query.shape import Row, event, shape
from headwater.settings import Settings

FORMAT = "JSONCompactEachRow"
GRACE_SECONDS = 10  # the engine ends a query by itself; the connection waits this much longer

_NO_SUCH_TABLE, _NO_SUCH_DATABASE = 60, 81
_TOO_MANY_ROWS, _TIMEOUT, _MEMORY, _BAD_REGEX = 158, 159, 241, 427


@dataclass(frozen=True)
class Limits:
    """What one query may take: seconds, bytes of memory in ClickHouse, groups, events of an extraction."""

    seconds: float = 300.0
    memory_bytes: int = 2_000_000_000
    groups: int = 1_000_000
    events: int = 100_000

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """The limits that the settings name."""
        return cls(
            settings.query_max_seconds,
            settings.query_max_memory_bytes,
            settings.query_max_groups,
            settings.extraction_max_events,
        )


class ClickHouseTransport:
    """Answers queries about one project straight from ClickHouse.

    Connects at the first query. One query at a time: threads take a transport each.
    """

    def __init__(self, url: str, project_id: str, limits: Limits | None = None) -> None:
        self._url = url
        self._project_id = project_id
        self._limits = limits or Limits()
        self._client: Client | None = None
        self._catalogue = TypeCatalogue()

    def run(self, analysis: str, params: Mapping[str, Any]) -> Result:
        """The answer of an analysis; `params` are Keen's (event_collection, timeframe, filters...).

        Blocks until ClickHouse has answered. Raises QueryError.
        """
        definition = parse_definition(analysis, params, now=time.time_ns() // 1_000_000)
        if self._client is None:
            self._client = connect(self._url, self._limits)
        value = answer(self._client, definition, self._project_id, self._limits, self._catalogue)
        return Result(value, definition)

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None


def connect(url: str, limits: Limits) -> Client:
    """A client of the ClickHouse at a URL. Blocks. Raises QueryError (503) where it cannot be reached."""
    try:
        return clickhouse_connect.get_client(
            dsn=url,
            autogenerate_session_id=False,  # sessions lock out concurrent queries, and none of ours needs one
            connect_timeout=5,
            send_receive_timeout=round(limits.seconds) + GRACE_SECONDS,
            query_retries=1,
        )
    except (Error, OSError) as error:
        raise _unavailable(error) from error


def answer(client: Client, definition: Definition, project_id: str, limits: Limits, catalogue: TypeCatalogue) -> Any:
    """The answer to a definition, in Keen's JSON shape. Blocks. Raises QueryError."""
    if definition.analysis == "extraction":
        return list(extract(client, definition, project_id, limits))

    def types() -> Types | None:
        paths = paths_of(definition)
        return catalogue.types(client, database(project_id), definition.collection, paths, _settings(limits))

    known = types()
    plan = compile_query(definition, database(project_id), known)
    rows = list(_rows(client, plan, limits))
    if known is not None and types() != known:  # new types came with new events, and the statement may have missed them
        plan = compile_query(definition, database(project_id), None)
        rows = list(_rows(client, plan, limits))
    return shape(plan, rows)


def extract(client: Client, definition: Definition, project_id: str, limits: Limits) -> Iterator[dict[str, Any]]:
    """The events of an extraction one by one, as they are read. Blocks.

    Raises QueryError; where more events match than may be returned, at the end.
    """
    plan = compile_extraction(definition, database(project_id), None, limits.events)
    for count, row in enumerate(_rows(client, plan, limits)):
        if count == limits.events:
            raise QueryError(
                "ExtractionLimitError",
                f"more than {limits.events} events match: ask for a shorter timeframe, add filters, or give `latest`, "
                f"{limits.events} at most.",
            )
        yield event(row, definition.property_names)


def database(project_id: str) -> str:
    """The database of a project."""
    return f"headwater_{project_id}"


def _rows(client: Client, plan: Plan, limits: Limits) -> Iterator[Row]:
    """The rows of a plan; none where the collection or the project has no table yet."""
    try:
        with client.raw_stream(plan.sql, parameters=plan.parameters, settings=_settings(limits), fmt=FORMAT) as stream:
            for line in stream:
                yield orjson.loads(line)
    except Error as error:
        if error.code not in (_NO_SUCH_TABLE, _NO_SUCH_DATABASE):
            raise _refused(error, limits) from error
    except (orjson.JSONDecodeError, HTTPError, OSError) as error:  # an error that came after the first rows
        raise QueryError("InternalServerError", "ClickHouse broke off its answer; try again.", 503) from error


def _settings(limits: Limits) -> dict[str, Any]:
    """All that a statement relies on, whatever the server's defaults are."""
    return {
        "max_execution_time": limits.seconds,
        "max_memory_usage": limits.memory_bytes,
        "max_rows_to_group_by": limits.groups,
        "group_by_overflow_mode": "throw",
        "timeout_overflow_mode": "throw",
        # An event's month follows from its timestamp, so its duplicates are in one partition.
        "do_not_merge_across_partitions_select_final": 1,
        # PREWHERE on a property would filter before duplicates are folded.
        "optimize_move_to_prewhere_if_final": 0,
        "output_format_json_quote_64bit_integers": 0,
        "output_format_json_quote_denormals": 0,
        "output_format_json_escape_forward_slashes": 0,
        "wait_end_of_query": 1,
    }


def _refused(error: Error, limits: Limits) -> QueryError:
    """What an error of ClickHouse means to the one who asked."""
    text = str(error)
    if error.code == _TIMEOUT:
        return QueryError(
            "QueryTimeoutError",
            f"the query took longer than {limits.seconds:g} seconds: ask for a shorter timeframe.",
            504,
        )
    if error.code == _MEMORY:
        if "(total)" in text:
            return QueryError("ServiceUnavailableError", "ClickHouse has no memory to spare; try again later.", 503)
        return QueryError(
            "QueryMemoryLimitError",
            f"the query needs more than {limits.memory_bytes} bytes of memory: ask for a shorter timeframe, "
            "fewer groups or fewer unique values.",
        )
    if error.code == _TOO_MANY_ROWS:
        return QueryError(
            "QueryGroupLimitError",
            f"the answer has more than {limits.groups} groups: group by fewer properties, or choose a longer interval.",
        )
    if error.code == _BAD_REGEX:
        return QueryError(
            "InvalidPropertyValueError", "a filter's regex is not a regular expression that RE2 knows (no look-around)."
        )
    if error.code is None and isinstance(error, OperationalError):
        return _unavailable(error)
    return QueryError("InternalServerError", f"ClickHouse could not answer the query (code {error.code}).", 500)


def _unavailable(error: Exception) -> QueryError:
    return QueryError("ServiceUnavailableError", "ClickHouse cannot be reached; try again later.", 503)
