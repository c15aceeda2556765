"""The whole pipeline on this machine, as `headwater up` starts it: from HTTP to an answer that has the event."""

import asyncio
import gc
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx
import orjson
import psutil
import uvloop

from benchmarks.events import ADDONS, Event, generate
from benchmarks.http_load import bulk_requests, send_all, send_paced
from benchmarks.measure import Benchmark, Figures, Goal
from benchmarks.stack import FIRST_PORT, BenchmarkError
from headwater.local.ports import Ports
from headwater.local.state import State, read_state

EVENTS = 400_000
DIFFERENT = 40_000
BATCH = 100
CONNECTIONS = 8
HISTORY_BATCH = 1_000  # as `headwater load` sends them
PACED_PER_SECOND = 5_000
LITTLE_PER_SECOND = 1_000
PACED_SECONDS = 30
PACED_BATCH = 25
PACED_CONNECTIONS = 4
PROBES_PER_SECOND = 25  # events that are looked for
PROBE_EVERY_SECONDS = 0.1  # often enough to see, and seldom enough not to be the load
COUNT_EVERY_SECONDS = 0.2
HISTORY = 400_000  # events of a backfill: more than is processed during a paced run
HISTORY_START = datetime(2024, 1, 1, tzinfo=UTC)
HISTORY_END = datetime(2025, 1, 1, tzinfo=UTC)
MARGIN_SECONDS = 2.0
LIMIT_SECONDS = 300.0

SUSTAINED, PACED = "as fast as it goes", f"at {PACED_PER_SECOND:,} events/s"
LITTLE = f"at {LITTLE_PER_SECOND:,} events/s"
BESIDE = "{} while a backfill runs"


def run(rounds: int) -> Benchmark:
    """Each round has a stack of its own, from empty folders."""
    benchmark = Benchmark(
        "pipeline",
        "headwater up: HTTP to an answer that has the event; client and all services on this machine",
        "events/s",
        {
            "events": EVENTS,
            "different_events": DIFFERENT,
            "batch": BATCH,
            "connections": CONNECTIONS,
            "paced_seconds": PACED_SECONDS,
            "paced_batch": PACED_BATCH,
            "history": HISTORY,
        },
        (
            Goal(SUSTAINED, 20_000),
            Goal(PACED, 2.0, figure="p99 s", at_most=True),
            *(Goal(BESIDE.format(case), 2.0, figure="p99 s", at_most=True) for case in (LITTLE, PACED)),
        ),
    )
    events = [without_time_and_token(event) for event in generate(DIFFERENT)]
    gc.collect()
    gc.freeze()
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder, up(Path(folder)) as state:
            for case, per_second in ((LITTLE, LITTLE_PER_SECOND), (PACED, PACED_PER_SECOND)):
                benchmark.add(case, **uvloop.run(_paced(state, events, per_second)))
            for case, per_second in ((LITTLE, LITTLE_PER_SECOND), (PACED, PACED_PER_SECOND)):
                benchmark.add(BESIDE.format(case), **uvloop.run(_paced_beside_history(state, events, per_second)))
            benchmark.add(SUSTAINED, **uvloop.run(_sustained(state, events)), **memory(state))
    return benchmark


async def _sustained(state: State, events: list[bytes]) -> Figures:
    """Send EVENTS events without a pause; the time goes from the first request to an answer that counts them all."""
    collection = "sustained"
    cycle = itertools.cycle(bulk_requests(events_path(state), state.write_key or "", collection, events, BATCH))
    requests = itertools.islice(cycle, EVENTS // BATCH)
    began = time.perf_counter()
    await send_all(port_of(state), requests, CONNECTIONS)
    accepted = time.perf_counter() - began
    async with api_of(state) as api:
        while await ask(api, "count", event_collection=collection) < EVENTS:
            if time.perf_counter() - began - accepted > LIMIT_SECONDS:
                raise BenchmarkError(
                    f"{EVENTS:,} events are not all visible {LIMIT_SECONDS:g} s after the last was answered"
                )
            await asyncio.sleep(COUNT_EVERY_SECONDS)
    took = time.perf_counter() - began
    return {"value": EVENTS / took, "accepted/s": EVENTS / accepted, "last visible s": took - accepted}


async def _paced_beside_history(state: State, events: list[bytes], per_second: int) -> Figures:
    """`_paced` while older events of the same collection wait in the backfill topic, more than are processed meanwhile."""
    collection = f"beside_history_{per_second}"
    old = (_as_old(event, number) for number, event in enumerate(itertools.islice(itertools.cycle(events), HISTORY)))
    requests = [
        request.replace(b"\r\n", b"\r\nHeadwater-Backfill: true\r\n", 1)
        for request in bulk_requests(events_path(state), state.write_key or "", collection, list(old), HISTORY_BATCH)
    ]
    await send_all(port_of(state), iter(requests), CONNECTIONS)
    async with api_of(state) as api:
        before, began = await _stored_history(api, collection), time.perf_counter()
        figures = await _paced(state, events, per_second, collection)
        after, took = await _stored_history(api, collection), time.perf_counter() - began
        if after == HISTORY:
            raise BenchmarkError(f"{HISTORY:,} events of history were not enough for the whole measurement")
        began = time.perf_counter()
        while (now := await _stored_history(api, collection)) < HISTORY:
            await asyncio.sleep(COUNT_EVERY_SECONDS)
        alone = (now - after) / (time.perf_counter() - began)
    return figures | {"history/s": (after - before) / took, "history alone/s": alone}


async def _stored_history(api: httpx.AsyncClient, collection: str) -> int:
    timeframe = {"start": HISTORY_START.isoformat(), "end": HISTORY_END.isoformat()}
    return int(await ask(api, "count", event_collection=collection, timeframe=timeframe))


def _as_old(event: bytes, number: int) -> bytes:
    at = HISTORY_START + (HISTORY_END - HISTORY_START) * (number / HISTORY)
    return event.replace(b'"keen":{', b'"keen":{"timestamp":"%s",' % at.isoformat().encode(), 1)


async def _paced(state: State, events: list[bytes], events_per_second: int, collection: str | None = None) -> Figures:
    """Send at an even pace; of some events, the time from the collector's answer to the first answer that has them."""
    collection = collection or f"paced_{events_per_second}"
    count = events_per_second * PACED_SECONDS // PACED_BATCH
    sent = list(itertools.islice(itertools.cycle(events), count * PACED_BATCH))
    probes = set(range(0, count, max(1, events_per_second // PACED_BATCH // PROBES_PER_SECOND)))
    for number in probes:
        sent[number * PACED_BATCH] = sent[number * PACED_BATCH][:-1] + b',"probe":%d}' % number
    requests = bulk_requests(events_path(state), state.write_key or "", collection, sent, PACED_BATCH)
    per_second = events_per_second / PACED_BATCH
    began = datetime.now(UTC)
    sending = asyncio.create_task(send_paced(port_of(state), requests, per_second, PACED_CONNECTIONS))
    seen: dict[int, float] = {}
    async with api_of(state) as api:
        while len(seen) < len(probes):
            missing = min(probes - seen.keys())
            start = began + timedelta(seconds=missing / per_second - MARGIN_SECONDS)
            if datetime.now(UTC) - start > timedelta(seconds=LIMIT_SECONDS):
                raise BenchmarkError(f"event {missing} of {count} is not visible after {LIMIT_SECONDS:g} s")
            found = await ask(
                api,
                "select_unique",
                event_collection=collection,
                target_property="probe",
                timeframe={"start": start.isoformat(), "end": (datetime.now(UTC) + timedelta(days=1)).isoformat()},
            )
            now = time.perf_counter()
            for probe in found:
                seen.setdefault(int(probe), now)
            await asyncio.sleep(PROBE_EVERY_SECONDS)
    answers = await sending
    waits = [max(0.0, seen[probe] - answers.answered[probe]) for probe in probes]
    percentiles = quantiles(waits, n=100, method="inclusive")
    rate = len(sent) / (max(answers.answered) - min(answers.sent))
    return {"value": rate, "p50 s": percentiles[49], "p99 s": percentiles[98], "max s": max(waits)}


def without_time_and_token(event: Event) -> bytes:
    """The event as a client sends it that leaves time and id to the collector, so that it can be sent many times."""
    return orjson.dumps(orjson.loads(event.properties) | {"keen": {"addons": orjson.loads(ADDONS)}})


async def ask(api: httpx.AsyncClient, analysis: str, **definition: Any) -> Any:
    """The result of a query, asked as any client asks it; 0 rows are an answer too."""
    answer = await api.post(analysis, json=definition)
    if answer.status_code != 200:
        raise BenchmarkError(f"{analysis}: {answer.status_code} {answer.text[:300]}")
    return answer.json()["result"]


def api_of(state: State) -> httpx.AsyncClient:
    url = f"{state.url}/3.0/projects/{state.project_id}/queries"
    return httpx.AsyncClient(base_url=url, headers={"Authorization": state.read_key or ""}, timeout=60)


def events_path(state: State) -> str:
    return f"/3.0/projects/{state.project_id}/events"


def port_of(state: State) -> int:
    return int(state.url.rsplit(":", 1)[1])


def memory(state: State) -> Figures:
    """What each service has resident."""
    return {f"{name} MB": psutil.Process(s.pid).memory_info().rss / 1e6 for name, s in state.services.items()}


def worked(state: State) -> Figures:
    """What each service has had of the processors until now."""
    times = {name: psutil.Process(service.pid).cpu_times() for name, service in state.services.items()}
    return {f"{name} CPU s": each.user + each.system for name, each in times.items()}


@contextmanager
def up(folder: Path) -> Iterator[State]:
    """A stack started by the command line, and stopped by it."""
    with closing(Ports()) as ports:
        port = ports.claim(FIRST_PORT)
    _headwater("up", "--detach", "--data-dir", str(folder), "--port", str(port))
    try:
        state = read_state(folder)
        if state is None:
            raise BenchmarkError("headwater up --detach left no state")
        yield state
    finally:
        _headwater("down", "--data-dir", str(folder))


def _headwater(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "headwater.cli", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchmarkError(f"headwater {arguments[0]} failed: {done.stderr[-2000:]}")
