"""Statements put to ClickHouse: what each may take, how it is cancelled, and what ClickHouse's errors mean to those who asked."""

import threading
import uuid
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import clickhouse_connect
import orjson
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error, OperationalError
from urllib3.exceptions import HTTPError

from headwater.query.errors import QueryError
from headwater.query.shape import Row
from headwater.settings import Settings

Rows = Generator[Row, None, None]
FORMAT = "JSONCompactEachRow"
GRACE_SECONDS = 10  # the engine ends a query by itself; the connection waits this much longer

_NO_SUCH_TABLE, _NO_SUCH_DATABASE = 60, 81
_TOO_MANY_ROWS, _TIMEOUT, _MEMORY, _CANCELLED, _BAD_REGEX = 158, 159, 241, 394, 427


@dataclass(frozen=True)
class Limits:
    """What one query may take: seconds, bytes of memory in ClickHouse, groups, events of an extraction and of one that is
    streamed as lines or into a file."""

    seconds: float = 300.0
    memory_bytes: int = 2_000_000_000
    groups: int = 1_000_000
    events: int = 100_000
    streamed_events: int = 10_000_000

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """The limits that the settings name."""
        return cls(
            settings.query_max_seconds,
            settings.query_max_memory_bytes,
            settings.query_max_groups,
            settings.extraction_max_events,
            settings.extraction_max_streamed_events,
        )


class Cancellation:
    """Whether a query is still wanted, and which of its statements runs. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted = True
        self._running: str | None = None

    @contextmanager
    def statement(self) -> Iterator[str]:
        """The id for a statement that runs inside. Raises QueryError where the query is not wanted any more."""
        with self._lock:
            if not self._wanted:
                raise cancelled()
            self._running = statement = str(uuid.uuid4())
        try:
            yield statement
        finally:
            with self._lock:
                self._running = None

    @property
    def is_idle(self) -> bool:
        """Whether no statement runs."""
        with self._lock:
            return self._running is None

    def cancel(self, client: Client) -> None:
        """Let no further statement begin, and have ClickHouse end the one that runs, over another connection.

        A statement that is on its way only may be missed: call again while the query goes on. Blocks shortly.
        """
        with self._lock:
            self._wanted = False
            running = self._running
        if running is not None:
            with suppress(Error):  # it may be over meanwhile
                client.command(f"KILL QUERY WHERE query_id = '{running}' ASYNC")


class Statements:
    """The statements of one query over one connection."""

    def __init__(self, client: Client, limits: Limits, cancellation: Cancellation | None = None) -> None:
        self.client = client
        self.limits = limits
        self.read_rows = 0  # by all statements that are through
        self._cancellation = cancellation or Cancellation()

    def rows(self, sql: str, parameters: Mapping[str, Any], **settings: Any) -> Rows:
        """The rows of a statement as they are read; none where the collection or the project has no table yet.

        Blocks; the first row comes when the statement is through, so nothing can go wrong later but the connection. Raises
        QueryError.
        """
        with self._cancellation.statement() as query_id:
            given = self.settings() | settings | {"query_id": query_id}
            try:
                with self.client.raw_stream(sql, parameters=dict(parameters), settings=given, fmt=FORMAT) as stream:
                    self.read_rows += _read_rows(stream)
                    for line in stream:
                        yield orjson.loads(line)
            except Error as error:
                if error.code not in (_NO_SUCH_TABLE, _NO_SUCH_DATABASE):
                    raise _refused(error, self.limits) from error
            except (orjson.JSONDecodeError, HTTPError, OSError) as error:  # an error that came after the first rows
                raise QueryError("InternalServerError", "ClickHouse broke off its answer; try again.", 503) from error

    def settings(self) -> dict[str, Any]:
        """All that a statement relies on, whatever the server's defaults are."""
        return {
            "max_execution_time": self.limits.seconds,
            "max_memory_usage": self.limits.memory_bytes,
            "max_rows_to_group_by": self.limits.groups,
            "group_by_overflow_mode": "throw",
            "timeout_overflow_mode": "throw",
            # An event's month follows from its timestamp, so its duplicates are in one partition.
            "do_not_merge_across_partitions_select_final": 1,
            # PREWHERE on a property would filter before duplicates are folded.
            "optimize_move_to_prewhere_if_final": 0,
            "output_format_json_quote_64bit_integers": 0,
            "output_format_json_quote_denormals": 0,
            "output_format_json_escape_forward_slashes": 0,
            "max_query_size": 1 << 20,
            "wait_end_of_query": 1,
        }


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


def _read_rows(answer: object) -> int:
    """How many rows ClickHouse says in an answer's head that it read; all of them, since the head waits for the query's end."""
    summary = getattr(answer, "headers", {}).get("X-ClickHouse-Summary")
    return int(orjson.loads(summary)["read_rows"]) if summary else 0


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
    if error.code == _CANCELLED:
        return cancelled()
    if error.code is None and isinstance(error, OperationalError):
        return _unavailable(error)
    return QueryError("InternalServerError", f"ClickHouse could not answer the query (code {error.code}).", 500)


def _unavailable(error: Exception) -> QueryError:
    return QueryError("ServiceUnavailableError", "ClickHouse cannot be reached; try again later.", 503)


def cancelled() -> QueryError:
    """The error of a query that nobody waits for any more; 499, as web servers log it."""
    return QueryError("QueryCancelledError", "the query was cancelled, since nobody waits for it.", 499)
