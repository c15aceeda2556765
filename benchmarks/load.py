"""`headwater load` against what the collector takes of its own benchmark's requests, in the same run: client, collector and Kafka on this machine."""

import gc
import itertools
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson
import uvloop

from benchmarks.collector import BATCH, BATCH_CONNECTIONS, SINGLE_CONNECTIONS
from benchmarks.dialects import Dialects
from benchmarks.events import ADDONS, COLLECTION, generate
from benchmarks.http_load import send_all
from benchmarks.measure import Benchmark, Goal
from benchmarks.stack import BenchmarkError, Stack, environment
from headwater.control import ControlWriter
from headwater.kafka import create_base_topics
from headwater.settings import PREFIX

EVENTS = 1_000_000  # history is much: a second for the process's start is little of it
DIFFERENT = 20_000
WARM_UP_SECONDS = 1.0

LOAD, COLLECTOR = "headwater load, NDJSON", f"prepared requests of {BATCH}"


def run(rounds: int) -> Benchmark:
    """Each round has a deployment and a file of its own."""
    benchmark = Benchmark(
        "load",
        "headwater load of a file, from its start to its end, against the collector's rate with prepared requests",
        "events/s",
        {"events": EVENTS, "batch": BATCH, "connections": BATCH_CONNECTIONS},
        (Goal(LOAD, 0.8, COLLECTOR),),
    )
    addons = orjson.loads(ADDONS)
    events = generate(DIFFERENT)
    lines = [
        orjson.dumps(orjson.loads(event.properties) | {"at": event.timestamp, "keen": {"addons": addons}})
        for event in events
    ]
    gc.collect()
    gc.freeze()
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder)) as stack:
        stack.start_kafka()
        file = Path(folder) / "events.ndjson"
        with file.open("wb") as out:
            out.writelines(line + b"\n" for line in itertools.islice(itertools.cycle(lines), EVENTS))
        for _ in range(rounds):
            settings = stack.deployment()
            create_base_topics(settings)
            with ControlWriter(settings) as writer:
                project = writer.create_project("benchmark")
            dialects = Dialects(project.id, project.write_key, events, BATCH)
            requests = dialects.keen(BATCH_CONNECTIONS, SINGLE_CONNECTIONS)[0].requests
            with stack.service(settings, "serve", "collector") as (_, port):
                cycle = itertools.cycle(requests)
                uvloop.run(send_all(port, cycle, BATCH_CONNECTIONS, time.perf_counter() + WARM_UP_SECONDS))
                began = time.perf_counter()
                uvloop.run(send_all(port, itertools.islice(cycle, EVENTS // BATCH), BATCH_CONNECTIONS))
                benchmark.add(COLLECTOR, value=EVENTS / (time.perf_counter() - began))
                own = {"URL": f"http://127.0.0.1:{port}", "PROJECT_ID": project.id, "WRITE_KEY": project.write_key}
                benchmark.add(LOAD, value=EVENTS / _load(file, environment(settings) | _prefixed(own)))
    return benchmark


def _load(file: Path, its_environment: dict[str, str]) -> float:
    """How many seconds a load of the file takes, from the process's start to its end."""
    command = ["-m", "headwater.cli", "load", str(file), "--collection", COLLECTION, "--timestamp-field", "at"]
    began = time.perf_counter()
    done = subprocess.run([sys.executable, *command], env=its_environment, capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode or f"{EVENTS:,} events accepted" not in done.stderr:
        raise BenchmarkError(f"headwater load failed: {done.stderr[-2000:]}")
    return took


def _prefixed(variables: dict[str, str]) -> dict[str, str]:
    return {PREFIX + name: value for name, value in variables.items()}
