"""The one embedded engine of this process (chDB), and handles on it.

chDB runs one engine per process, on one path. Any number of handles may be open; each has its own settings, current
database and temporary tables, runs one statement at a time, and releases the GIL while it runs.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import chdb

from headwater.local.clickhouse.errors import from_engine
from headwater.local.clickhouse.tokens import literal, quoted_name

IDLE_HANDLES = 16
_IDENTITY = (
    b"SELECT version(), serverTimezone(), "
    b"(SELECT value FROM system.server_settings WHERE name = 'max_server_memory_usage')"
)


@dataclass(frozen=True)
class Limits:
    """What the engine may use of the machine: defaults of every statement, which its own settings may change."""

    server_memory: int  # bytes, all statements together
    query_memory: int  # bytes, one statement
    query_seconds: int
    query_threads: int
    concurrent_queries: int = 64
    mark_cache: int = 64 << 20  # bytes


@dataclass(frozen=True)
class Counts:
    """What a statement read, wrote and returned, as the engine counted it."""

    read_rows: int
    read_bytes: int
    written_rows: int
    written_bytes: int
    result_rows: int
    result_bytes: int


@dataclass(frozen=True)
class Outcome:
    """A statement's end: its counts, and what it answered where its result was not sent to a file."""

    counts: Counts
    data: bytes


class Handle:
    """One connection to the engine. Not safe for use by several threads at once."""

    def __init__(self, path: str) -> None:
        self._connection = chdb.connect(path)  # type: ignore[no-untyped-call]  # chdb has no types

    def set(self, settings: Mapping[str, str]) -> None:
        """Set settings for every later statement of this handle; raises EngineError where the engine refuses one."""
        if settings:
            pairs = ", ".join(f"{quoted_name(name)} = {literal(value)}" for name, value in settings.items())
            self.run(f"SET {pairs}".encode())

    def use(self, database: str) -> None:
        """Make a database the current one; raises EngineError (81) where there is none."""
        self.run(f"USE {quoted_name(database)}".encode())

    def run(self, sql: bytes, fmt: str = "TabSeparated", params: Mapping[str, str] | None = None) -> Outcome:
        """Run one statement to its end; blocks. `params` are the values of `{name:Type}`, in ClickHouse's escaped form.

        Raises EngineError with the engine's code and message.
        """
        try:
            result = self._connection.query(sql, fmt, params=params and dict(params))
        except RuntimeError as error:
            raise from_engine(error) from None
        written = int(result.rows_written())
        # An insert from a file counts what it read only as written.
        read_rows, read_bytes = int(result.storage_rows_read()), int(result.storage_bytes_read())
        counts = Counts(
            read_rows=read_rows or written,
            read_bytes=read_bytes or int(result.bytes_written()),
            written_rows=written,
            written_bytes=int(result.bytes_written()),
            result_rows=written or int(result.rows_read()),
            result_bytes=int(result.bytes_written()) if written else int(result.bytes_read()),
        )
        return Outcome(counts, bytes(result.bytes()))

    def close(self) -> None:
        """Let go of the handle and what lives in it."""
        self._connection.close()


class Engine:
    """The embedded engine on a folder. Create one per process; `close` stops it. Safe for use by several threads."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        """Open the folder, made where it is not there; blocks until the tables are loaded. Raises EngineError.

        Makes the folder the process's working directory: chDB would misread `&` and `%` in the paths it is given.
        """
        folder.joinpath("engine").mkdir(parents=True, exist_ok=True)
        folder.joinpath("engine.xml").write_text(_config(folder, limits))
        os.chdir(folder)
        self._path = "engine?config-file=engine.xml"
        self.defaults = {
            "max_memory_usage": str(limits.query_memory),
            "max_execution_time": str(limits.query_seconds),
            "max_threads": str(limits.query_threads),
            "min_insert_block_size_bytes": str(64 << 20),  # what an insert holds in memory is a few times this
            "storage_file_read_method": "pread",  # mapped files would count as this process's memory
            "implicit_select": "0",
            "log_queries_cut_to_length": str(4 << 20),  # statements are found, to be cancelled, by a mark at their end
            "allow_introspection_functions": "0",
        }
        self._idle: list[tuple[object, Handle]] = []
        self._lock = threading.Lock()
        try:
            self._root = Handle(self._path)  # keeps the engine alive while other handles come and go
            self.version, self.timezone, memory = self._root.run(_IDENTITY).data.decode().rstrip("\n").split("\t")
        except RuntimeError as error:
            raise from_engine(error) from None
        if int(memory) != limits.server_memory:
            raise RuntimeError(
                f"chDB ignored its configuration {folder / 'engine.xml'}"
            )  # or it would run without limits

    def handle(self) -> Handle:
        """A fresh handle with the defaults; whoever takes it closes it."""
        handle = Handle(self._path)
        handle.set(self.defaults)
        return handle

    @contextmanager
    def borrow(self, database: str, settings: Mapping[str, str], keep: bool) -> Iterator[Handle]:
        """A handle for one statement, with `settings` over the defaults and `database` as the current one.

        Where the statement ends well and `keep` says that it leaves nothing behind in the handle, the handle serves a later
        request with exactly the same database and settings; else it is closed.
        Raises EngineError for an unknown database or setting.
        """
        key = (database, tuple(sorted(settings.items())))
        handle = self._take(key)
        kept = False
        try:
            if handle is None:
                handle = self.handle()
                if database:
                    handle.use(database)
                handle.set(settings)
            yield handle
            kept = keep
        finally:
            if handle is not None:
                self._give_back(key, handle, kept)

    def kill(self, marker: str) -> None:
        """Cancel the statements whose text holds `marker`; returns at once."""
        with self.borrow("", {}, keep=True) as handle:
            handle.run(f"KILL QUERY WHERE {running_with(marker)} ASYNC".encode())

    def close(self) -> None:
        """Stop the engine, with its background work; every other handle must be closed before."""
        for _, handle in self._idle:
            handle.close()
        self._idle.clear()
        self._root.close()

    def _take(self, key: object) -> Handle | None:
        with self._lock:
            for index, (idle_key, handle) in enumerate(self._idle):
                if idle_key == key:
                    del self._idle[index]
                    return handle
        return None

    def _give_back(self, key: object, handle: Handle, kept: bool) -> None:
        closing = None if kept else handle
        if kept:
            with self._lock:
                self._idle.append((key, handle))
                if len(self._idle) > IDLE_HANDLES:
                    closing = self._idle.pop(0)[1]
        if closing is not None:
            closing.close()


def running_with(marker: str) -> str:
    """A condition over system.processes: the statements whose text holds `marker`, but not the one that asks."""
    half = len(marker) // 2
    return f"position(query, concat({literal(marker[:half])}, {literal(marker[half:])})) > 0"


def _config(folder: Path, limits: Limits) -> str:
    """The engine's configuration: small caches and pools, and its log in a file."""
    path = escape(str(folder))
    return f"""<clickhouse>
    <logger><level>error</level><log>{path}/engine.log</log>
        <size>10M</size><count>2</count></logger>
    <user_files_path>{path}/user_files/</user_files_path>
    <max_server_memory_usage>{limits.server_memory}</max_server_memory_usage>
    <mark_cache_size>{limits.mark_cache}</mark_cache_size>
    <index_mark_cache_size>{limits.mark_cache}</index_mark_cache_size>
    <uncompressed_cache_size>0</uncompressed_cache_size>
    <background_pool_size>2</background_pool_size>
    <background_schedule_pool_size>2</background_schedule_pool_size>
</clickhouse>
"""
