"""`python -m headwater.local.clickhouse --path DIR --port PORT`: run the embedded engine until SIGTERM or SIGINT."""

import argparse
import os
import signal
import sys
import threading
from importlib.metadata import version
from pathlib import Path

import structlog

from headwater.local.clickhouse import folder
from headwater.local.clickhouse.engine import Engine, Limits
from headwater.local.clickhouse.errors import EngineError
from headwater.local.clickhouse.execution import Executor
from headwater.local.clickhouse.server import Server

PASSWORD_VARIABLE = "HEADWATER_ENGINE_PASSWORD"  # noqa: S105 - the variable's name, no password
USER = "default"
_PATIENCE = 5.0  # seconds that running statements get to end, before they are cancelled
log = structlog.get_logger("headwater.clickhouse")


def main() -> int:
    """Serve until a signal; 0 after a clean end, 2 where it cannot start."""
    parser = argparse.ArgumentParser(
        prog="python -m headwater.local.clickhouse",
        description="An embedded ClickHouse engine (chDB) behind ClickHouse's HTTP interface. Not a production server.",
        epilog=f"The password of the user {USER!r} is read from the environment variable {PASSWORD_VARIABLE}.",
    )
    parser.add_argument("--path", type=Path, required=True, help="folder of the data")
    parser.add_argument("--port", type=int, required=True, help="port to listen on; 0 for any free one")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback)")
    parser.add_argument(
        "--memory", type=int, default=2048, help="MiB that all statements together may use (default: 2048)"
    )
    parser.add_argument("--query-memory", type=int, default=1024, help="MiB that one statement may use (default: 1024)")
    parser.add_argument(
        "--query-seconds", type=int, default=600, help="seconds that one statement may run (default: 600)"
    )
    arguments = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    password = os.environ.pop(PASSWORD_VARIABLE, "")
    if not password:
        print(f"{PASSWORD_VARIABLE} is not set: give the engine's password in it", file=sys.stderr)  # noqa: T201
        return 2
    return serve(arguments, password)


def serve(arguments: argparse.Namespace, password: str) -> int:
    """Open the folder, serve, and close everything in order."""
    stop = threading.Event()
    path = arguments.path.resolve()
    limits = Limits(
        server_memory=arguments.memory << 20,
        query_memory=arguments.query_memory << 20,
        query_seconds=arguments.query_seconds,
        query_threads=min(os.cpu_count() or 2, 4),
    )
    log.info("embedded engine (chDB), not a production server: starting", path=str(path))
    try:
        lock = folder.lock(path)
        folder.check_version(path, version("chdb-core"))
        engine = Engine(path, limits)
    except (folder.FolderError, EngineError) as error:
        log.error("embedded engine (chDB) does not start", reason=str(error))
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    spool = path / "spool"
    executor = Executor(engine, spool, limits)
    try:
        server = Server(arguments.host, arguments.port, engine, executor, USER, password, spool)
    except OSError as error:
        log.error(
            "embedded engine (chDB) cannot listen", host=arguments.host, port=arguments.port, reason=error.strerror
        )
        executor.close(_PATIENCE)
        engine.close()
        return 2
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    log.info(
        "embedded engine (chDB), not a production server: ready",
        url=f"http://{arguments.host}:{server.server_port}",
        engine=engine.version,
        path=str(path),
    )
    stop.wait()
    log.info("embedded engine (chDB): stopping")
    server.shutdown()
    server.server_close()
    executor.close(_PATIENCE)
    engine.close()
    lock.close()
    log.info("embedded engine (chDB): stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
