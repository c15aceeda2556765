"""What a client feels while another sends garbage to the same collector, as fast as it can."""

import base64
import gzip
import multiprocessing
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPResponse
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event as Signal
from pathlib import Path
from statistics import quantiles
from types import MappingProxyType
from typing import NamedTuple

import uvloop

from benchmarks.dialects import keen_event
from benchmarks.events import COLLECTION, generate
from benchmarks.http_load import request, send_paced
from benchmarks.measure import Benchmark, Figures, Goal
from benchmarks.stack import Stack
from headwater.control import ControlWriter, Project
from headwater.kafka import create_base_topics

EVENTS = 2_000
PER_SECOND = 200.0
CONNECTIONS = 8
QUIET = "alone"
MB = 1_000_000
WARM_UPS = 3  # a Kafka that has just begun takes its time
GARBAGE_SECONDS = 60.0  # how long its socket waits for an answer

EVENTS_PATH = "/3.0/projects/{id}/events"
SEGMENT_PATH = "/v1/batch"
WEBHOOK_PATH = "/webhooks/sendgrid/{id}?api_key={key}"


class Garbage(NamedTuple):
    """A body, and the route that it is sent to."""

    body: bytes
    path: str = EVENTS_PATH + "/c"
    headers: Mapping[str, str] = MappingProxyType({})

    def request(self, project: Project) -> bytes:
        """The bytes that go over the connection."""
        path = self.path.format(id=project.id, key=project.write_key)
        if self.path == SEGMENT_PATH:
            key = "Basic " + base64.b64encode(f"{project.write_key}:".encode()).decode()
        else:
            key = project.write_key
        return request(path, key, self.body, self.headers)


BROKEN = b'{"a":"x","b":[1,2,{"c":'
BULK = b'{"c":[' + b",".join([b'{"a":1,"b":"text"}', BROKEN.ljust(60), b'{"$a":1}', b'{"a":1e999}'] * 4_000) + b"]}"
MESSAGE = b'{"type":"track","event":"e","userId":"u","properties":{"a":1}}'
REFUSED = b'{"type":"track","event":"$","properties":{"n":NaN}}'
OPENED = b'{"event":"open","email":"a@example.com","ip":"8.8.8.8"}'
KINDS = {
    "no JSON, 1 kB": Garbage(bytes(range(256)) * 4),
    "nesting 100,000 deep": Garbage(b'{"a":' * 100_000),
    "a number of 1 MB": Garbage(b'{"a":' + b"9" * MB + b"}"),
    "halves of surrogate pairs, 1 MB": Garbage(b'{"a":"' + b"\\ud800" * (MB // 6) + b'"}'),
    "one name 100,000 times": Garbage(b"{" + b",".join([b'"a":1'] * 100_000) + b"}"),
    "100,000 properties": Garbage(b"{" + b",".join(b'"a%d":1' % n for n in range(100_000)) + b"}"),
    "names that are refused, a bulk of 1 MB": Garbage(
        b'{"c":[' + b",".join([b'{"$a":1}'] * (MB // 9)) + b"]}", EVENTS_PATH
    ),
    "a bulk of which half is broken, 0.4 MB": Garbage(BULK, EVENTS_PATH),
    "a bulk that ends early, 10 MB": Garbage(
        b'{"c":[' + b",".join([b'{"a":1,"b":"text"}'] * (10 * MB // 19)), EVENTS_PATH
    ),
    "gzip of 1 GB of zeros": Garbage(
        gzip.compress(bytes(1_000 * MB), 1), headers=MappingProxyType({"Content-Encoding": "gzip"})
    ),
    "Segment, a batch that ends early, 10 MB": Garbage(
        b'{"batch":[' + b",".join([MESSAGE] * (10 * MB // (len(MESSAGE) + 1))), SEGMENT_PATH
    ),
    "Segment, messages that are refused, a batch of 1 MB": Garbage(
        b'{"batch":[' + b",".join([REFUSED] * (MB // (len(REFUSED) + 1))) + b"]}", SEGMENT_PATH
    ),
    "a webhook that ends early, 10 MB": Garbage(
        b"[" + b",".join([OPENED] * (10 * MB // (len(OPENED) + 1))), WEBHOOK_PATH
    ),
}


def run(rounds: int) -> Benchmark:
    """Each kind of garbage against the same client alone, before and after all of them, in the same round."""
    benchmark = Benchmark(
        "abuse",
        f"single events, {PER_SECOND:g}/s, answered beside a client that sends garbage without a pause",
        "p99 ms",
        {"events": EVENTS, "per_second": PER_SECOND, "connections": CONNECTIONS},
        tuple(Goal(kind, 3.0, QUIET, at_most=True) for kind in KINDS),
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
            for _ in range(WARM_UPS):
                uvloop.run(send_paced(port, sent, PER_SECOND, CONNECTIONS))
            for _ in range(rounds):
                benchmark.add(QUIET, **_measure(port, sent))
                for kind, garbage in KINDS.items():
                    with _sending(port, garbage.request(project)) as answered:
                        figures = _measure(port, sent)
                        benchmark.add(kind, **figures, **{"garbage/s": answered() / (EVENTS / PER_SECOND)})
                benchmark.add(QUIET, **_measure(port, sent))
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
                with suppress(ConnectionError):  # it is refused before it is all sent; the answer is there all the same
                    connection.sendall(garbage)
                answer = HTTPResponse(connection)
                answer.begin()
                answer.read()
                count.value += 1
                if answer.will_close:
                    break
