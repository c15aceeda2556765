"""One, two and four processors of one deployment: what they do together."""

import itertools
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.events import COLLECTION, Event, generate, raw_record
from benchmarks.measure import Benchmark, Figures, Meter, total
from benchmarks.stack import BenchmarkError, Stack, wait_for
from benchmarks.topics import Length, delete_topics, fill
from headwater.control import ControlWriter
from headwater.kafka import create_base_topics
from headwater.topics import collection_topic, raw_topic

EVENTS = 480_000
DIFFERENT = 120_000
PROCESSORS = (1, 2, 4)
LIMIT_SECONDS = 300.0


def run(rounds: int) -> Benchmark:
    """Each case has a deployment of its own, whose processors are ready before there are events."""
    benchmark = Benchmark(
        "scale",
        "headwater worker processor, several of them: events/s together, once all events are in the raw topic",
        "events/s",
        {"events": EVENTS, "different_events": DIFFERENT},
    )
    events = generate(DIFFERENT)
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder)) as stack:
        stack.start_kafka()
        for _ in range(rounds):
            for count in PROCESSORS:
                benchmark.add(f"{count} processor{'s'[: count > 1]}", **_case(stack, events, count))
    return benchmark


def _case(stack: Stack, events: list[Event], count: int) -> Figures:
    settings = stack.deployment()
    create_base_topics(settings)
    with ControlWriter(settings) as writer:
        project = writer.create_project("benchmark").id
    records = [(raw_topic(settings), event.id.encode(), raw_record(project, event)) for event in events]
    length = Length(
        settings, collection_topic(settings.topic_prefix, project, COLLECTION), settings.collection_partitions
    )
    with ExitStack() as exits:
        exits.callback(length.close)
        children = []
        for number in range(count):
            own = settings.model_copy(update={"worker_name": f"processor-{number}"})
            child, _ = exits.enter_context(stack.service(own, "worker", "processor"))
            children.append(child)
        fill(settings, itertools.islice(itertools.cycle(records), EVENTS))
        meters, first, began = [Meter(child.pid) for child in children], length.now(), time.perf_counter()
        if first > EVENTS / 2:
            raise BenchmarkError(
                f"{first:,} of {EVENTS:,} events were processed before the last was written: too few are left"
            )
        last = wait_for(lambda: (now := length.now()) >= EVENTS and now, LIMIT_SECONDS, "the last events", every=0.01)
        took = time.perf_counter() - began
        figures = total(meter.figures(last - first) for meter in meters)
    delete_topics(settings)
    return {"value": (last - first) / took} | figures
