"""The collector against a bare loop on the same server: batches of 100 and single events, acks=all; and its other dialects."""

import gc
import itertools
import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import quantiles

import uvloop

from benchmarks.dialects import Dialect, Dialects
from benchmarks.events import generate
from benchmarks.http_load import send_all
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

BATCHES, SINGLES = f"batches of {BATCH}", "single events"  # of Keen's API, as `Dialects.keen` names them
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
    events = generate(EVENTS)
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder)) as stack:
        stack.start_kafka()
        for _ in range(rounds):
            settings = stack.deployment()
            create_base_topics(settings)
            with ControlWriter(settings) as writer:
                project = writer.create_project("benchmark")
                dialects = Dialects(project.id, project.write_key, events, BATCH)
                writer.change_settings(project.id, dialects.settings)
            both = dialects.keen(BATCH_CONNECTIONS, SINGLE_CONNECTIONS)
            large = dialects.large_batches(BATCH_CONNECTIONS)
            others = dialects.others(BATCH_CONNECTIONS, SINGLE_CONNECTIONS)
            gc.collect()
            gc.freeze()
            for case, sent in ((HEADWATER, (*both, large, *others)), (BARE, both)):
                with _service(stack, settings, case) as (child, port):
                    for dialect in sent:
                        benchmark.add(f"{case}, {dialect.name}", **_measure(child, port, dialect))
    return benchmark


def _service(stack: Stack, settings: Settings, case: str) -> AbstractContextManager[tuple[Child, int]]:
    if case == HEADWATER:
        return stack.service(settings, "serve", "collector")
    return stack.http_peer(settings, "benchmarks.bare_collector")


def _measure(child: Child, port: int, dialect: Dialect) -> Figures:
    requests = itertools.cycle(dialect.requests)
    uvloop.run(send_all(port, requests, dialect.connections, time.perf_counter() + WARM_UP_SECONDS))
    meter, began = Meter(child.pid), time.perf_counter()
    answers = uvloop.run(send_all(port, requests, dialect.connections, began + SECONDS))
    events = len(answers.answered) * dialect.size
    value = events / (answers.answered[-1] - began)
    percentiles = quantiles(answers.milliseconds(), n=100, method="inclusive")
    return {"value": value, "p50 ms": percentiles[49], "p99 ms": percentiles[98]} | meter.figures(events)
