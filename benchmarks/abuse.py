"""What a client feels while another sends garbage to the same collector, as fast as it can."""

import gzip
import multiprocessing
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPResponse
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event as Signal
from pathlib import Path
from statistics import quantiles

import uvloop

from benchmarks.dialects import keen_event
from benchmarks.events import COLLECTION, generate
from benchmarks.http_load import request, send_paced
from benchmarks.measure import Benchmark, Figures, Goal
from benchmarks.stack import Stack
from headwater.control import ControlWriter
from headwater.kafka import create_base_topics

EVENTS = 2_000
PER_SECOND = 200.0
CONNECTIONS = 8
QUIET = "alone"
MB = 1_000_000
GARBAGE_SECONDS = 60.0  # how long its socket waits for an answer

BROKEN = b'{"a":"x","b":[1,2,{"c":'
BULK = b'{"c":[' + b",".join([b'{"a":1,"b":"text"}', BROKEN.ljust(60), b'{"$a":1}', b'{"a":1e999}'] * 4_000) + b"]}"
BODIES: dict[str, bytes] = {
    "no JSON, 1 kB": bytes(range(256)) * 4,
    "nesting 100,000 deep": b'{"a":' * 100_000,
    "a number of 1 MB": b'{"a":' + b"9" * MB + b"}",
    "halves of surrogate pairs, 1 MB": b'{"a":"' + b"\\ud800" * (MB // 6) + b'"}',
    "one name 100,000 times": b"{" + b",".join([b'"a":1'] * 100_000) + b"}",
    "100,000 properties": b"{" + b",".join(b'"a%d":1' % n for n in range(100_000)) + b"}",
    "names that are refused, a bulk of 1 MB": b'{"c":[' + b",".join([b'{"$a":1}'] * (MB // 9)) + b"]}",
    "a bulk of which half is broken, 0.4 MB": BULK,
    "a bulk that ends early, 10 MB": b'{"c":[' + b",".join([b'{"a":1,"b":"text"}'] * (10 * MB // 19)),
    "gzip of 1 GB of zeros": gzip.compress(bytes(1_000 * MB), 1),
}


def run(rounds: int) -> Benchmark:
    """Each kind of garbage against the same client alone, in the same round."""
    benchmark = Benchmark(
        "abuse",
        f"single events, {PER_SECOND:g}/s, answered beside a client that sends garbage without a pause",
        "p99 ms",
        {"events": EVENTS, "per_second": PER_SECOND, "connections": CONNECTIONS},
        tuple(Goal(kind, 3.0, QUIET, at_most=True) for kind in BODIES),
    )
    events = [keen_event(event) for event in generate(EVENTS)]
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder)) as stack:
        stack.start_kafka()
        settings = stack.deployment()
        create_base_topics(settings)
        with ControlWriter(settings) as writer:
            project = writer.create_project("benchmark")
        path = f"/3.0/projects/{project.id}/events"
        sent = [request(f"{path}/{COLLECTION}", project.write_key, event) for event in events]
        with stack.service(settings, "serve", "collector") as (_, port):
            uvloop.run(send_paced(port, sent, PER_SECOND, CONNECTIONS))
            for _ in range(rounds):
                benchmark.add(QUIET, **_measure(port, sent))
                for kind, body in BODIES.items():
                    headers = {"Content-Encoding": "gzip"} if kind.startswith("gzip") else {}
                    bulk = body.startswith(b'{"c":')
                    garbage = request(path if bulk else f"{path}/c", project.write_key, body, headers)
                    with _sending(port, garbage) as answered:
                        figures = _measure(port, sent)
                        benchmark.add(kind, **figures, **{"garbage/s": answered() / (EVENTS / PER_SECOND)})
    return benchmark


def _measure(port: int, sent: list[bytes]) -> Figures:
    answers = uvloop.run(send_paced(port, sent, PER_SECOND, CONNECTIONS))
    percentiles = quantiles(answers.milliseconds(), n=100, method="inclusive")
    return {"value": percentiles[98], "p50 ms": percentiles[49]}


@contextmanager
def _sending(port: int, garbage: bytes) -> Iterator[Callable[[], int]]:
    """Another process sends it again and again; gives how often it was answered so far."""
    context = multiprocessing.get_context("spawn")
    stop, count = context.Event(), context.Value("q", 0)
    process = context.Process(target=_send, args=(port, garbage, stop, count), daemon=True)
    process.start()
    try:
        while not count.value and process.is_alive():
            time.sleep(0.01)
        began = count.value
        yield lambda: count.value - began
    finally:
        stop.set()
        process.join(GARBAGE_SECONDS)


def _send(port: int, garbage: bytes, stop: Signal, count: "Synchronized[int]") -> None:
    while not stop.is_set():
        # What is refused before it is read ends its connection, at times while it is sent.
        with (
            suppress(OSError, HTTPException),
            socket.create_connection(("127.0.0.1", port), GARBAGE_SECONDS) as connection,
        ):
            while not stop.is_set():
                connection.sendall(garbage)
                answer = HTTPResponse(connection)
                answer.begin()
                answer.read()
                count.value += 1
                if answer.will_close:
                    break
