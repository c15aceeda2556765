"""The one embedded engine of this process (chDB), and handles on it.

chDB runs one engine per process, on one path. Any number of handles may be open; each has its own settings, current
database and temporary tables, runs one statement at a time, and releases the GIL while it runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import chdb

from headwater.local.clickhouse.errors import EngineError, from_engine
from headwater.local.clickhouse.tokens import literal, quoted_name


@dataclass(frozen=True)
class Limits:
    """What the engine may use of the machine. Bytes, unless the name says otherwise."""

    server_memory: int
    query_memory: int
    query_threads: int
    mark_cache: int = 64 << 20
    concurrent_queries: int = 64


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
        self._connection = chdb.connect(path)

    def set(self, settings: Mapping[str, str]) -> None:
        """Set settings for every later statement of this handle; raises EngineError where the engine refuses one."""
        if settings:
            pairs = ", ".join(f"{quoted_name(name)} = {literal(value)}" for name, value in settings.items())
            self.run(f"SET {pairs}")

    def reset(self, names: list[str]) -> None:
        """Give settings the engine's defaults again."""
        if names:
            self.run("SET " + ", ".join(f"{quoted_name(name)} = DEFAULT" for name in names))

    def use(self, database: str) -> None:
        """Make a database the current one; raises EngineError (81) where there is none."""
        self.run(f"USE {quoted_name(database)}")

    def run(self, sql: str | bytes, fmt: str = "TabSeparated", params: Mapping[str, str] | None = None) -> Outcome:
        """Run one statement to its end; blocks. `params` are the values of `{name:Type}`, in ClickHouse's escaped form.

        Raises EngineError with the engine's code and message.
        """
        try:
            result = self._connection.query(sql, fmt, params=dict(params or {}))
        except (RuntimeError, ValueError, TypeError) as error:
            raise from_engine(error) from None
        if result is None:
            return Outcome(Counts(0, 0, 0, 0, 0, 0), b"")
        written = int(result.rows_written())
        read = int(result.storage_rows_read())
        counts = Counts(
            read_rows=max(read, written),
            read_bytes=int(result.storage_bytes_read()) or int(result.bytes_written()),
            written_rows=written,
            written_bytes=int(result.bytes_written()),
            result_rows=written or int(result.rows_read()),
            result_bytes=int(result.bytes_written()) or int(result.bytes_read()),
        )
        return Outcome(counts, bytes(result.bytes() or b""))

    def close(self) -> None:
        """Let go of the handle and what lives in it."""
        self._connection.close()


class Engine:
    """The embedded engine on a folder. Create one per process; `close` stops it."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        """Open the folder, made where it is not there; blocks until the tables are loaded. Raises EngineError."""
        data = folder / "engine"
        data.mkdir(parents=True, exist_ok=True)
        config = folder / "engine.xml"
        config.write_text(_config(folder, limits))
        self._path = f"{data}?config-file={config}"
        self._defaults = {
            "max_memory_usage": str(limits.query_memory),
            "max_threads": str(limits.query_threads),
            "storage_file_read_method": "pread",  # mapped files would count as this process's memory
            "implicit_select": "0",
            "allow_introspection_functions": "0",
        }
        try:
            self._root = chdb.connect(self._path)  # keeps the engine alive while other handles come and go
        except RuntimeError as error:
            raise from_engine(error) from None
        with_defaults = self.handle()
        answer = with_defaults.run("SELECT version(), timezone(), 1", "TabSeparated").data.decode().split("\t")
        with_defaults.close()
        self.version, self.timezone = answer[0], answer[1]

    def handle(self, database: str = "", settings: Mapping[str, str] | None = None) -> Handle:
        """A fresh handle with the defaults, then `settings`; raises EngineError for an unknown database or setting."""
        handle = Handle(self._path)
        try:
            handle.set(self._defaults)
            if database:
                handle.use(database)
            handle.set(settings or {})
        except EngineError:
            handle.close()
            raise
        return handle

    def kill(self, marker: str) -> None:
        """Cancel the statements whose text holds `marker`; returns at once."""
        half = len(marker) // 2
        handle = self.handle()
        try:
            # The marker is put together in SQL, so that this statement does not find itself.
            handle.run(
                f"KILL QUERY WHERE position(query, concat({literal(marker[:half])}, {literal(marker[half:])})) > 0 ASYNC"
            )
        finally:
            handle.close()

    def close(self) -> None:
        """Stop the engine, with its background work; every handle must be closed before."""
        self._root.close()


def _config(folder: Path, limits: Limits) -> str:
    """The engine's configuration: small caches and pools, its log in a file, files of users in the folder."""
    path = escape(str(folder))
    return f"""<clickhouse>
    <logger><level>warning</level><log>{path}/engine.log</log><errorlog>{path}/engine.err.log</errorlog>
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
