"""A long run at 80% of what the pipeline can do: does memory grow, does anything get slower, do the answers miss an event?"""

import asyncio
import gc
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles

import uvloop

from benchmarks.events import generate
from benchmarks.http_load import bulk_requests, read_answer
from benchmarks.measure import Benchmark, Figures, Goal
from benchmarks.pipeline import api_of, ask, events_path, memory, port_of, up, without_time_and_token, worked
from benchmarks.stack import BenchmarkError
from headwater.local.state import State, read_state

SHARE = 0.8  # of the most that was measured first
MOST_SECONDS = 240.0
BEHIND_SECONDS = 2.0  # as far as queries may be behind what is sent while the most is measured
BEHIND_LOOK_SECONDS = 0.02
DIFFERENT = 40_000
BATCH = 100
CONNECTIONS = 8
COLLECTION = "soak"
PROBE_EVERY_BATCHES = 30  # one event of so many batches is looked for
PROBE_EVERY_SECONDS = 0.2
SAMPLE_EVERY_SECONDS = 5.0
MARGIN_SECONDS = 2.0
LOOK_SECONDS = (
    10.0  # of events that are looked through at once: if it were all that is late, looking would keep it late
)
LIMIT_SECONDS = 300.0

MOST = "as fast as answers keep up, before"
QUARTERS = ("first quarter", "second quarter", "third quarter", "last quarter")


@dataclass
class Ledger:
    """What was answered with success: when (perf_counter), and what the answers to queries must therefore be."""

    answered: list[float] = field(default_factory=list)
    probes: dict[int, float] = field(default_factory=dict)  # by their batch's number
    batches: int = 0
    events: int = 0
    numbers: int = 0  # their sum: each event has a number of its own

    def add(self, batch: int, *, probe: bool) -> None:
        """A batch was answered."""
        now = time.perf_counter()
        self.answered.append(now)
        self.batches += 1
        self.events += BATCH
        self.numbers += sum(_numbers(batch))
        if probe:
            self.probes[batch] = now


@dataclass
class Seen:
    """What was seen meanwhile: when probes were in an answer, and with the time what each service had resident and had worked."""

    probes: dict[int, float] = field(default_factory=dict)
    services: list[tuple[float, Figures]] = field(default_factory=list)

    def behind(self, ledger: Ledger) -> float:
        """How many seconds ago the oldest of the probes was answered that no query has yet."""
        missing = ledger.probes.keys() - self.probes.keys()
        return time.perf_counter() - ledger.probes[min(missing)] if missing else 0.0


def run(rounds: int, minutes: float = 30.0) -> Benchmark:
    """One stack, from empty folders. Raises BenchmarkError where the answers are not what the ledger says."""
    benchmark = Benchmark(
        "soak",
        f"headwater up for {minutes:g} minutes at {SHARE:.0%} of the most; client and all services on this machine",
        "events/s",
        {
            "minutes": minutes,
            "share": SHARE,
            "most_seconds": MOST_SECONDS,
            "behind_seconds": BEHIND_SECONDS,
            "different_events": DIFFERENT,
            "batch": BATCH,
            "connections": CONNECTIONS,
        },
    )
    events = [without_time_and_token(event) for event in generate(DIFFERENT)]
    gc.collect()
    gc.freeze()
    with tempfile.TemporaryDirectory() as folder, up(Path(folder)) as state:
        ledger, seen = Ledger(), Seen()
        most, began = uvloop.run(_soak(state, Path(folder), events, minutes * 60, ledger, seen))
        benchmark.add(MOST, value=most)
        for quarter, figures in zip(QUARTERS, _quarters(began, minutes * 60, ledger, seen), strict=True):
            benchmark.add(quarter, **figures)
        after = read_state(Path(folder))
        restarts = {name: service.restarts for name, service in after.services.items()} if after else {}
        if not restarts or any(restarts.values()):
            raise BenchmarkError(f"services did not live through the soak: {restarts}")
    benchmark.parameters |= {"events": ledger.events, "asked_per_second": round(most * SHARE)}
    first, *_, last = QUARTERS
    names = [name for name in benchmark.runs[last][0] if name.endswith(("MB", "p50 s", "p99 s"))]
    benchmark.goals = tuple(Goal(last, 1.1, first, figure=name, at_most=True) for name in names)
    return benchmark


async def _soak(
    state: State, folder: Path, events: list[bytes], seconds: float, ledger: Ledger, seen: Seen
) -> tuple[float, float]:
    """Find the most, send its share for so long, and compare the ledger with the answers at the end. Returns the most, and when the share began."""
    sent: dict[int, datetime] = {}
    looking = asyncio.create_task(_look(state, sent, ledger, seen))
    sampling = asyncio.create_task(_sample(folder, seen))

    async def all_is_seen() -> None:
        deadline = time.monotonic() + LIMIT_SECONDS
        while len(seen.probes) < len(sent):
            if looking.done() or time.monotonic() > deadline:
                raise BenchmarkError(f"{len(sent) - len(seen.probes)} of {len(sent)} probes are not visible")
            await asyncio.sleep(PROBE_EVERY_SECONDS)

    def held(_: int) -> float:
        return BEHIND_LOOK_SECONDS if seen.behind(ledger) > BEHIND_SECONDS else 0.0

    def paced(number: int) -> float:
        return began + (number - first) / per_second - time.perf_counter()

    try:
        began = time.perf_counter()
        until = began + MOST_SECONDS
        numbers = itertools.takewhile(lambda _: time.perf_counter() < until, itertools.count())
        await _send(state, events, numbers, held, ledger, sent)
        await all_is_seen()
        most = ledger.events / (time.perf_counter() - began)
        began, first, per_second = time.perf_counter(), ledger.batches, most * SHARE / BATCH
        await _send(state, events, iter(range(first, first + round(per_second * seconds))), paced, ledger, sent)
        await all_is_seen()
        await _compare(state, ledger)
        return most, began
    finally:
        for task in (looking, sampling):
            task.cancel()
        results = await asyncio.gather(looking, sampling, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result


async def _send(
    state: State,
    events: list[bytes],
    numbers: Iterator[int],
    wait: Callable[[int], float],
    ledger: Ledger,
    sent: dict[int, datetime],
) -> None:
    """Send the batches of these numbers, each when it waits for no more seconds, whatever the answers take."""
    path, key = events_path(state), state.write_key or ""

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(state))
        try:
            for number in numbers:
                probe = number % PROBE_EVERY_BATCHES == 0
                [request] = bulk_requests(path, key, COLLECTION, list(_batch(events, number, probe=probe)), BATCH)
                while (seconds := wait(number)) > 0:
                    await asyncio.sleep(seconds)
                if probe:
                    sent[number] = datetime.now(UTC)
                writer.write(request)
                answer = await read_answer(reader)
                if answer.count(b'"success":true') != BATCH:
                    raise BenchmarkError(f"batch {number} was not taken as a whole: {answer[:300]!r}")
                ledger.add(number, probe=probe)
        finally:
            writer.close()

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))


def _batch(events: list[bytes], batch: int, *, probe: bool) -> Iterator[bytes]:
    for number in _numbers(batch):
        event = events[number % len(events)][:-1] + b',"batch":%d,"number":%d' % (batch, number)
        yield event + (b',"probe":%d}' % batch if probe and number % BATCH == 0 else b"}")


def _numbers(batch: int) -> range:
    return range(batch * BATCH, (batch + 1) * BATCH)


async def _look(state: State, sent: dict[int, datetime], ledger: Ledger, seen: Seen) -> None:
    """Ask for the first probes that have been answered but not been seen, again and again."""
    async with api_of(state) as api:
        while True:
            await asyncio.sleep(PROBE_EVERY_SECONDS)
            missing = ledger.probes.keys() - seen.probes.keys()
            if not missing:
                continue
            first = sent[min(missing)]
            start, end = first - timedelta(seconds=MARGIN_SECONDS), first + timedelta(seconds=LOOK_SECONDS)
            found = await ask(
                api,
                "select_unique",
                event_collection=COLLECTION,
                target_property="probe",
                timeframe={"start": start.isoformat(), "end": end.isoformat()},
            )
            now = time.perf_counter()
            for probe in missing & {int(each) for each in found if each is not None}:
                seen.probes[probe] = now


async def _sample(folder: Path, seen: Seen) -> None:
    """What each service has resident and has worked, again and again."""
    while True:
        state = read_state(folder)
        if state is not None:
            seen.services.append((time.perf_counter(), memory(state) | worked(state)))
        await asyncio.sleep(SAMPLE_EVERY_SECONDS)


async def _compare(state: State, ledger: Ledger) -> None:
    """Raises BenchmarkError unless what was answered with success is what queries answer."""
    wanted = {"count": ledger.events, "sum": ledger.numbers, "count_unique": ledger.batches}
    targets = {"sum": {"target_property": "number"}, "count_unique": {"target_property": "batch"}}
    async with api_of(state) as api:
        deadline = time.monotonic() + LIMIT_SECONDS
        while True:
            found = {
                name: await ask(api, name, event_collection=COLLECTION, **targets.get(name, {})) for name in wanted
            }
            if found == wanted:
                return
            if time.monotonic() > deadline:
                raise BenchmarkError(f"queries answer {found}; what was answered with success makes {wanted}")
            await asyncio.sleep(1)


def _quarters(began: float, seconds: float, ledger: Ledger, seen: Seen) -> Iterator[Figures]:
    """The figures of each quarter: events accepted, time from answer to visible, memory (the medians), work."""
    for quarter in range(len(QUARTERS)):
        first, last = (began + seconds * (quarter + more) / len(QUARTERS) for more in (0, 1))
        taken = sum(first <= at < last for at in ledger.answered) * BATCH
        waits = [max(0.0, seen.probes[n] - at) for n, at in ledger.probes.items() if first <= at < last]
        percentiles = quantiles(waits, n=100, method="inclusive")
        per_second = taken / (last - first)
        samples = [(at, figures) for at, figures in seen.services if first <= at < last]
        (began_at, before), (ended_at, after) = samples[0], samples[-1]
        events = per_second * (ended_at - began_at)
        yield (
            {"value": per_second, "p50 s": percentiles[49], "p99 s": percentiles[98]}
            | {name: median(figures[name] for _, figures in samples) for name in before if name.endswith(" MB")}
            | {
                f"{name[:-1]}µs/event": (after[name] - before[name]) / events * 1e6
                for name in before
                if name.endswith(" CPU s")
            }
        )
