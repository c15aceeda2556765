"""The processor as it is run in production, against Quix Streams, Bytewax, stock Faust, a bare loop, and the functions without Kafka.

All read the same raw topic, each as one process, and what each puts out is compared with what the processor puts out: where
an event is missing or differs in anything but `processed_at`, there is no table.
"""

import gc
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import faust

from benchmarks.events import ADDRESSES, AGENTS, COLLECTION, generate, raw_record
from benchmarks.measure import Benchmark, Figures, Goal, Meter
from benchmarks.outputs import Outputs, check_equal, outputs
from benchmarks.peers import environment
from benchmarks.peers.work import work
from benchmarks.stack import Stack, wait_for
from benchmarks.topics import Length, create_collection_topics, delete_topics, fill
from headwater.control import ControlWriter
from headwater.identity import id_digest, id_salt
from headwater.kafka import create_base_topics
from headwater.settings import Settings
from headwater.topics import collection_topic, raw_topic
from processors.id_window import IdWindow
from processors.repetitions import Repetitions
from processors.table import StateTable

EVENTS = 240_000
FAUST_EVENTS = 20_000  # of the same: it would take minutes for all
PURE_EVENTS = 60_000
WARM_UP_SHARE = 0.1  # of the events: start-up, and filling the caches, is not measured
LIMIT_SECONDS = 180.0

HEADWATER = "processor"
BARE = "bare loop"
QUIX = "Quix Streams"
BYTEWAX = "Bytewax"
FAUST = "stock Faust"
PURE = "functions alone"
UNTIMED = "processor, ids without times"
WINDOW = "window of ids alone, full"
WINDOW_BLOCK = 2_000
WINDOW_SETTLE = 10_000


class Peer(NamedTuple):
    """A peer: what starts it (`{}` stands for the topic that it writes into), and how many of the events it is measured on."""

    command: tuple[str, ...]
    events: int = EVENTS
    elsewhere: bool = False  # in the peers' own environment


PEERS = {
    BARE: Peer(("benchmarks.peers.bare_loop", "{}")),
    QUIX: Peer(("benchmarks.peers.quix_app", "{}"), elsewhere=True),
    BYTEWAX: Peer(("bytewax.run", "benchmarks.peers.bytewax_flow:flow('{}')"), elsewhere=True),
    FAUST: Peer(("benchmarks.peers.faust_agent", "{}"), FAUST_EVENTS),
}


def run(rounds: int) -> Benchmark:
    """Each round has a deployment of its own, whose raw topic every case reads from its beginning, one after another.

    The next round begins with the next case, so that none is always the first.
    """
    benchmark = Benchmark(
        "processor",
        "headwater worker processor against Quix Streams, Bytewax, Faust an event at a time, and a confluent-kafka loop; three add-ons",
        "events/s",
        {
            "events": EVENTS,
            "events_faust": FAUST_EVENTS,
            "events_pure": PURE_EVENTS,
            "addresses": ADDRESSES,
            "agents": AGENTS,
        },
        (
            Goal(HEADWATER, 1.7, QUIX),
            Goal(HEADWATER, 1.3, BYTEWAX),
            Goal(HEADWATER, 12, FAUST),
            Goal(HEADWATER, 0.9, BARE),
        ),
    )
    python = environment.python()
    events = generate(EVENTS)
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder)) as stack:
        stack.start_kafka()
        for number in range(rounds):
            settings = stack.deployment()
            create_base_topics(settings)
            with ControlWriter(settings) as writer:
                project = writer.create_project("benchmark").id
            records = [raw_record(project, event) for event in events]
            fill(settings, ((raw_topic(settings), e.id.encode(), r) for e, r in zip(events, records, strict=True)))
            put_out: dict[str, Outputs] = {}
            cases = [HEADWATER, *PEERS]
            first = number % len(cases)
            for case in cases[first:] + cases[:first]:
                figures, put_out[case] = _race(stack, settings, project, case, python)
                benchmark.add(case, **figures)
            for case, peer in PEERS.items():
                check_equal(case, put_out[case], put_out[HEADWATER], part=peer.events < EVENTS)
            benchmark.add(PURE, **_pure(settings, records[:PURE_EVENTS]))
            benchmark.add(UNTIMED, **_untimed(stack))
            benchmark.add(WINDOW, **_window(settings, project))
            delete_topics(settings)
    return benchmark


def _race(stack: Stack, settings: Settings, project: str, case: str, python: Path) -> tuple[Figures, Outputs]:
    """One case over the raw topic as it is: its figures, and what it put out."""
    if case == HEADWATER:
        topic = collection_topic(settings.topic_prefix, project, COLLECTION)
        with stack.service(settings, "worker", "processor") as (child, _):
            figures = _watch(settings, topic, EVENTS, child.pid)
        return figures, outputs(settings, topic)
    peer = PEERS[case]
    topic = f"{settings.topic_prefix}.{case.lower().replace(' ', '-')}"
    create_collection_topics(settings, [topic])
    command = [argument.format(topic) for argument in peer.command]
    with stack.running(settings, *command, python=python if peer.elsewhere else None) as running:
        figures = _watch(settings, topic, peer.events, running.child.pid, running.check)
    return figures, outputs(settings, topic)


def _untimed(stack: Stack) -> Figures:
    """The same events, each of which goes through the window of ids; in a deployment of its own, whose windows begin empty."""
    settings = stack.deployment()
    create_base_topics(settings)
    with ControlWriter(settings) as writer:
        project = writer.create_project("benchmark").id
    fill(
        settings,
        ((raw_topic(settings), e.id.encode(), raw_record(project, e, time_given=False)) for e in generate(EVENTS)),
    )
    with stack.service(settings, "worker", "processor") as (child, _):
        figures = _watch(settings, collection_topic(settings.topic_prefix, project, COLLECTION), EVENTS, child.pid)
    delete_topics(settings)
    return figures


def _window(settings: Settings, project: str) -> Figures:
    """One partition's window that holds as many ids as it may: each new id is looked for, put in, and an old one goes."""
    with tempfile.TemporaryDirectory() as folder:
        app = faust.App("window", broker="kafka://none", datadir=folder, store="rocksdb://")
        table = StateTable.declared(app, settings)
        window = IdWindow(settings, table, 0)
        salt = id_salt(project, COLLECTION)
        now = time.time_ns() // 1_000_000

        def pass_through(count: int) -> None:
            nonlocal now
            for number in range(0, count, WINDOW_BLOCK):
                block = Repetitions(window, now)
                for digits in (os.urandom(18).hex().encode() for _ in range(WINDOW_BLOCK)):  # 36, as an id has
                    digest = id_digest(salt, digits)
                    if not block.has(digest):
                        block.learn(digest)
                block.keep()
                if (number + WINDOW_BLOCK) % WINDOW_SETTLE == 0:
                    now += 500
                    table.apply(0, window.changes(now).items(), number)
                    window.trim()

        pass_through(settings.id_window_max_ids)
        meter, began = Meter(os.getpid()), time.perf_counter()
        pass_through(PURE_EVENTS * 5)
        took = time.perf_counter() - began
        return {"value": PURE_EVENTS * 5 / took, "CPU µs/event": meter.figures(PURE_EVENTS * 5)["CPU µs/event"]}


def _watch(settings: Settings, topic: str, events: int, pid: int, check: Callable[[], bool] = lambda: True) -> Figures:
    """Speed of a process from its first tenth of the events to the last, by what is in the output topic.

    `check` raises where the process has ended.
    """
    length = Length(settings, topic, settings.collection_partitions)

    def there(wanted: float) -> int:
        return wait_for(lambda: check() and (now := length.now()) >= wanted and now, LIMIT_SECONDS, topic, every=0.01)

    try:
        first = there(events * WARM_UP_SHARE)
        meter, began = Meter(pid), time.perf_counter()
        last = there(events)
        took = time.perf_counter() - began
        return {"value": (last - first) / took} | meter.figures(last - first)
    finally:
        length.close()


def _pure(settings: Settings, records: list[bytes]) -> Figures:
    """The functions that every case runs on each record, in this process; the first tenth fills the caches."""
    event_of = work(settings)
    warm_up = int(len(records) * WARM_UP_SHARE)
    gc.collect()
    gc.freeze()
    for record in records[:warm_up]:
        event_of(record, 0, 0, 0)
    began = time.perf_counter()
    for record in records[warm_up:]:
        event_of(record, 0, 0, 0)
    return {"value": (len(records) - warm_up) / (time.perf_counter() - began)}
