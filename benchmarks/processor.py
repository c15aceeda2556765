"""The processor as it is run in production, against stock Faust, a bare loop, and the functions without Kafka."""

import gc
import os
import tempfile
import time
from pathlib import Path

import faust

from benchmarks import peers
from benchmarks.events import ADDRESSES, AGENTS, COLLECTION, generate, raw_record
from benchmarks.measure import Benchmark, Figures, Goal, Meter
from benchmarks.stack import Stack, wait_for
from benchmarks.topics import Length, create_collection_topics, delete_topics, fill
from headwater.control import ControlWriter
from headwater.kafka import create_base_topics
from headwater.local.child import Child
from headwater.settings import Settings
from headwater.topics import collection_topic, raw_topic
from processors.id_window import IdWindow, id_digest, id_salt
from processors.repetitions import Repetitions
from processors.table import StateTable

EVENTS = 240_000
FAUST_EVENTS = 20_000  # of the same: it would take minutes for all
PURE_EVENTS = 60_000
WARM_UP_SHARE = 0.1  # of the events: start-up, and filling the caches, is not measured
LIMIT_SECONDS = 180.0

HEADWATER = "processor"
BARE = "bare loop"
FAUST = "stock Faust"
PURE = "functions alone"
UNTIMED = "processor, ids without times"
WINDOW = "window of ids alone, full"
WINDOW_BLOCK = 2_000
WINDOW_SETTLE = 10_000


def run(rounds: int) -> Benchmark:
    """Each round has a deployment of its own, whose raw topic every case reads from its beginning, one after another."""
    benchmark = Benchmark(
        "processor",
        "headwater worker processor against a confluent-kafka loop and an event at a time in Faust; three add-ons",
        "events/s",
        {
            "events": EVENTS,
            "events_faust": FAUST_EVENTS,
            "events_pure": PURE_EVENTS,
            "addresses": ADDRESSES,
            "agents": AGENTS,
        },
        (Goal(HEADWATER, 12, FAUST), Goal(HEADWATER, 0.9, BARE)),
    )
    events = generate(EVENTS)
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder)) as stack:
        stack.start_kafka()
        for _ in range(rounds):
            settings = stack.deployment()
            create_base_topics(settings)
            with ControlWriter(settings) as writer:
                project = writer.create_project("benchmark").id
            records = [raw_record(project, event) for event in events]
            fill(settings, ((raw_topic(settings), e.id.encode(), r) for e, r in zip(events, records, strict=True)))

            topic = collection_topic(settings.topic_prefix, project, COLLECTION)
            with stack.service(settings, "worker", "processor") as (child, _):
                benchmark.add(HEADWATER, **_watch(settings, topic, EVENTS, child))
            benchmark.add(UNTIMED, **_untimed(stack))
            benchmark.add(WINDOW, **_window(settings, project))
            for case, peer, count in ((BARE, "bare", EVENTS), (FAUST, "faust", FAUST_EVENTS)):
                name = f"{settings.topic_prefix}.{peer}"
                create_collection_topics(settings, [name])
                with stack.running(settings, "benchmarks.peers", peer, name) as child:
                    benchmark.add(case, **_watch(settings, name, count, child))
            benchmark.add(PURE, **_pure(settings, records[:PURE_EVENTS]))
            delete_topics(settings)
    return benchmark


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
        figures = _watch(settings, collection_topic(settings.topic_prefix, project, COLLECTION), EVENTS, child)
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


def _watch(settings: Settings, topic: str, events: int, child: Child) -> Figures:
    """Speed of the child from its first tenth of the events to the last, by what is in the output topic."""
    length = Length(settings, topic, settings.collection_partitions)
    try:
        wait_for(lambda: length.now() >= events * WARM_UP_SHARE, LIMIT_SECONDS, topic, every=0.01)
        meter, first, began = Meter(child.pid), length.now(), time.perf_counter()
        last = wait_for(lambda: (now := length.now()) >= events and now, LIMIT_SECONDS, topic, every=0.01)
        took = time.perf_counter() - began
        return {"value": (last - first) / took} | meter.figures(last - first)
    finally:
        length.close()


def _pure(settings: Settings, records: list[bytes]) -> Figures:
    """The functions that every case runs on each record, in this process; the first tenth fills the caches."""
    event_of = peers.work(settings)
    warm_up = int(len(records) * WARM_UP_SHARE)
    gc.collect()
    gc.freeze()
    for record in records[:warm_up]:
        event_of(record, 0, 0, 0)
    began = time.perf_counter()
    for record in records[warm_up:]:
        event_of(record, 0, 0, 0)
    return {"value": (len(records) - warm_up) / (time.perf_counter() - began)}
