"""What `add_event` costs the thread that calls it, while the client's own threads send to a server in another process."""

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orjson

import headwater
from benchmarks.measure import Benchmark, Goal
from headwater.client.client import Client
from headwater.client.event import make_event

EVENTS = 50_000  # fewer than the queue holds: a full queue is no overhead but a server that is too slow
PACED = 5_000
PACE_SECONDS = 0.0005

PROPERTIES = {
    "item": "lamp", "price": 39.5, "quantity": 2, "user": {"id": "u-100203", "plan": "pro"}, "country": "FR",
    "page": "https://shop.example.com/lamps/item-7?color=red", "returning": True, "session_id": "5f2c9a0d11e34b7a",
    "experiments": ["checkout-b", "search-a"], "duration_ms": 1234,
}  # fmt: skip

SHARED = {"app": {"name": "shop", "version": "1.2"}, "host": "web-1", "user": {"segment": "b"}}

MAKE = "the event alone: id, time, JSON"
BURST = "add_event, 50,000 in a row"
SPACED = "add_event, 2,000/s"
CONTEXT = "add_event with a context, 50,000 in a row"
SPOOLED = "add_event with a spool, 50,000 in a row"
SPACED_SPOOLED = "add_event with a spool, 2,000/s"
LIMIT = 20.0


def run(rounds: int) -> Benchmark:
    """Measure in this process; every event is answered, and flushed outside the measured time."""
    benchmark = Benchmark(
        "client",
        "time that add_event keeps its caller, events of 10 properties",
        "µs/event",
        {"events": EVENTS, "paced_events": PACED, "bytes": len(make_event("purchases", PROPERTIES).payload)},
        tuple(Goal(case, LIMIT, at_most=True) for case in (BURST, SPACED, CONTEXT, SPOOLED, SPACED_SPOOLED)),
    )
    with answering() as url:
        for _ in range(rounds):
            benchmark.add(MAKE, value=burst(lambda: make_event("purchases", PROPERTIES)))
            benchmark.add(BURST, value=adding(url, burst))
            benchmark.add(SPACED, value=adding(url, paced))
            benchmark.add(CONTEXT, value=adding(url, burst, context=SHARED))
            with tempfile.TemporaryDirectory() as spool:
                benchmark.add(SPOOLED, value=adding(url, burst, spool=spool))
                benchmark.add(SPACED_SPOOLED, value=adding(url, paced, spool=spool))
    return benchmark


def adding(url: str, measured: Callable[[Callable[[], object]], float], **options: Any) -> float:
    """What `measured` says of the add_event of a client with these options."""
    with connected(url, **options) as hw:
        return measured(lambda: hw.add_event("purchases", PROPERTIES))


@contextmanager
def connected(url: str, **options: Any) -> Iterator[Client]:
    """A client of the server, without a stack that may run here; all events accepted at its end."""
    failures: list[object] = []
    with (
        tempfile.TemporaryDirectory() as nothing,
        headwater.connect(
            url, "0" * 24, write_key="key", data_dir=Path(nothing), on_error=failures.append, **options
        ) as hw,
    ):
        hw.add_event("purchases", PROPERTIES)
        hw.flush(10)  # threads and connections are there
        yield hw
        hw.flush(60)
    assert not failures


def burst(add: Callable[[], object]) -> float:
    """Microseconds for each of many calls in a row."""
    began = time.perf_counter()
    for _ in range(EVENTS):
        add()
    return (time.perf_counter() - began) / EVENTS * 1e6


def paced(add: Callable[[], object]) -> float:
    """Microseconds for each of many calls with time between them, as an application makes them."""
    spent = 0.0
    for _ in range(PACED):
        began = time.perf_counter()
        add()
        spent += time.perf_counter() - began
        time.sleep(PACE_SECONDS)
    return spent / PACED * 1e6


@contextmanager
def answering() -> Iterator[str]:
    """The address of a server that accepts every event of a bulk request."""
    mine, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    try:
        yield f"http://127.0.0.1:{mine.recv()}"
    finally:
        server.terminate()
        server.join()


def serve(port: Connection) -> None:
    """Answer until terminated; tells its port first."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            """Call each event a success."""
            events = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = orjson.dumps({name: [{"success": True}] * len(members) for name, members in events.items()})
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's signature
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.send(server.server_port)
    server.serve_forever()
