"""The processor as it is run in production, against stock Faust, a bare loop, and the functions without Kafka."""

import gc
import tempfile
import time
from pathlib import Path

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

EVENTS = 240_000
FAUST_EVENTS = 20_000  # of the same: it would take minutes for all
PURE_EVENTS = 60_000
WARM_UP_SHARE = 0.1  # of the events: start-up, and filling the caches, is not measured
LIMIT_SECONDS = 180.0

HEADWATER = "processor"
BARE = "bare loop"
FAUST = "stock Faust"
PURE = "functions alone"


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
            for case, peer, count in ((BARE, "bare", EVENTS), (FAUST, "faust", FAUST_EVENTS)):
                name = f"{settings.topic_prefix}.{peer}"
                create_collection_topics(settings, [name])
                with stack.running(settings, "benchmarks.peers", peer, name) as child:
                    benchmark.add(case, **_watch(settings, name, count, child))
            benchmark.add(PURE, **_pure(settings, records[:PURE_EVENTS]))
            delete_topics(settings)
    return benchmark


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
