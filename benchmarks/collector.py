"""The collector against a bare loop on the same server: batches of 100 and single events, acks=all."""

import gc
import itertools
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import quantiles

import orjson
import uvloop

from benchmarks.events import ADDONS, COLLECTION, Event, generate
from benchmarks.http_load import bulk_requests, request, send_all
from benchmarks.measure import Benchmark, Figures, Goal, Meter
from benchmarks.stack import Stack
from headwater.control import ControlWriter
from headwater.kafka import create_base_topics
from headwater.local.child import Child
from headwater.settings import Settings

EVENTS = 20_000  # different ones; they are sent again and again
BATCH = 100
BATCH_CONNECTIONS = 8
SINGLE_CONNECTIONS = 64
WARM_UP_SECONDS = 1.0
SECONDS = 5.0

BATCHES, SINGLES = f"batches of {BATCH}", "single events"
HEADWATER, BARE = "collector", "bare loop"


def run(rounds: int) -> Benchmark:
    """Each round has a deployment of its own; the cases follow one another."""
    benchmark = Benchmark(
        "collector",
        "headwater serve collector against the same server with a bare loop; client and broker on this machine too",
        "events/s",
        {
            "seconds": SECONDS,
            "batch": BATCH,
            "batch_connections": BATCH_CONNECTIONS,
            "single_connections": SINGLE_CONNECTIONS,
        },
        (
            Goal(f"{HEADWATER}, {BATCHES}", 0.7, f"{BARE}, {BATCHES}"),
            Goal(f"{HEADWATER}, {SINGLES}", 0.7, f"{BARE}, {SINGLES}"),
            Goal(f"{HEADWATER}, {BATCHES}", 100_000),
            Goal(f"{HEADWATER}, {SINGLES}", 6_000),
        ),
    )
    events = [_json(event) for event in generate(EVENTS)]
    gc.collect()
    gc.freeze()
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder)) as stack:
        stack.start_kafka()
        for _ in range(rounds):
            settings = stack.deployment()
            create_base_topics(settings)
            with ControlWriter(settings) as writer:
                project = writer.create_project("benchmark")
            path = f"/3.0/projects/{project.id}/events"
            batches = bulk_requests(path, project.write_key, COLLECTION, events, BATCH)
            singles = [request(f"{path}/{COLLECTION}", project.write_key, event) for event in events]
            for case in (HEADWATER, BARE):
                with _service(stack, settings, case) as (child, port):
                    for kind, requests, each, connections in (
                        (BATCHES, batches, BATCH, BATCH_CONNECTIONS),
                        (SINGLES, singles, 1, SINGLE_CONNECTIONS),
                    ):
                        figures = _measure(child, port, itertools.cycle(requests), each, connections)
                        benchmark.add(f"{case}, {kind}", **figures)
    return benchmark


def _json(event: Event) -> bytes:
    """The event as a client sends it: its time and its add-ons under `keen`."""
    properties = orjson.loads(event.properties)
    keen = {"timestamp": _iso(event.timestamp), "addons": orjson.loads(ADDONS), "uniqueness_token": event.id}
    return orjson.dumps(properties | {"keen": keen})


def _service(stack: Stack, settings: Settings, case: str) -> AbstractContextManager[tuple[Child, int]]:
    if case == HEADWATER:
        return stack.service(settings, "serve", "collector")
    return stack.http_peer(settings, "benchmarks.bare_collector")


def _measure(child: Child, port: int, requests: Iterator[bytes], each: int, connections: int) -> Figures:
    uvloop.run(send_all(port, requests, connections, time.perf_counter() + WARM_UP_SECONDS))
    meter, began = Meter(child.pid), time.perf_counter()
    answers = uvloop.run(send_all(port, requests, connections, began + SECONDS))
    events = len(answers.answered) * each
    value = events / (answers.answered[-1] - began)
    percentiles = quantiles(answers.milliseconds(), n=100, method="inclusive")
    return {"value": value, "p50 ms": percentiles[49], "p99 ms": percentiles[98]} | meter.figures(events)


def _iso(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:03d}Z"
