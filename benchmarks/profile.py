"""Where the processor's time goes: samples of its stacks while it works a backlog off, summed up by what they are in."""

import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from benchmarks.events import COLLECTION, Event, generate, raw_record
from benchmarks.measure import Benchmark
from benchmarks.peers import environment
from benchmarks.stack import BenchmarkError, Stack, wait_for
from benchmarks.topics import Length, delete_topics, fill
from headwater.control import ControlWriter
from headwater.kafka import create_base_topics
from headwater.topics import collection_topic, raw_topic

EVENTS = 400_000
DIFFERENT = 80_000
WARM_UP_SHARE = 0.1
RATE = 100  # samples a second
LIMIT_SECONDS = 300.0

JSON = "JSON"
# What a sample is counted to: the first that is part of a frame, from the innermost frame on.
SHARES = (
    ("orjson", JSON),
    ("processors/datums.py", "Avro"),
    ("processors/placeholders.py", "placeholders"),
    ("processors/addons/", "add-ons"),
    ("processors/enrich.py", "add-ons"),
    ("processors/catalogue.py", "catalogue"),
    ("headwater/catalogue.py", "catalogue"),
    ("processors/output.py", "producing"),
    ("processors/state.py", "aggregates and settling"),
    ("processors/fence.py", "aggregates and settling"),
    ("processors/table.py", "aggregates and settling"),
    ("headwater/aggregates.py", "aggregates and settling"),
    ("processors/records.py", "reading the record, but for Avro and JSON"),
    ("processors/pipeline.py", "the loop over a slice's records"),
    ("aiokafka/", "fetching (aiokafka)"),
    ("processors/blocks.py", "Faust and the event loop"),
    ("faust/", "Faust and the event loop"),
    ("mode/", "Faust and the event loop"),
    ("asyncio/", "Faust and the event loop"),
)
ELSE = "all else"


def run(rounds: int) -> Benchmark:
    """Each round has a deployment of its own. Only what holds the interpreter's lock is sampled: librdkafka's threads are not."""
    benchmark = Benchmark(
        "profile",
        "headwater worker processor, sampled by py-spy: percent of the samples of what holds the interpreter",
        "%",
        {"events": EVENTS, "different_events": DIFFERENT, "rate": RATE},
    )
    sampler = environment.python().with_name("py-spy")
    events = generate(DIFFERENT)
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder)) as stack:
        stack.start_kafka()
        for number in range(rounds):
            for share, percent in _sampled(stack, events, sampler, Path(folder) / f"{number}.stacks"):
                benchmark.add(share, value=percent)
    return benchmark


def _sampled(stack: Stack, events: list[Event], sampler: Path, file: Path) -> list[tuple[str, float]]:
    settings = stack.deployment()
    create_base_topics(settings)
    with ControlWriter(settings) as writer:
        project = writer.create_project("benchmark").id
    records = [(raw_topic(settings), event.id.encode(), raw_record(project, event)) for event in events]
    fill(settings, (record for _ in range(EVENTS // DIFFERENT) for record in records))
    topic = collection_topic(settings.topic_prefix, project, COLLECTION)
    length = Length(settings, topic, settings.collection_partitions)
    with stack.service(settings, "worker", "processor") as (child, _):
        wait_for(lambda: length.now() >= EVENTS * WARM_UP_SHARE, LIMIT_SECONDS, topic)
        options = ["--gil", "--native", "--rate", str(RATE), "--format", "raw", "--output", str(file)]
        command = [str(sampler), "record", *options, "--pid", str(child.pid), "--duration", str(round(LIMIT_SECONDS))]
        sampling = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            wait_for(lambda: length.now() >= EVENTS, LIMIT_SECONDS, topic)
        finally:
            sampling.send_signal(signal.SIGINT)  # it then writes what it has
            _, said = sampling.communicate()
    length.close()
    delete_topics(settings)
    if not file.exists():
        raise BenchmarkError(f"py-spy could not sample the processor: {said[-500:]}")
    return shares(file.read_text().splitlines())


def shares(lines: Iterable[str]) -> list[tuple[str, float]]:
    """What percentages of the samples are in what, most first; a line has frames, outermost first, and a number of samples."""
    samples: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        frames = reversed(stack.split(";"))
        found = (share for frame in frames for part, share in SHARES if part in frame)
        samples[next(found, ELSE)] += int(count)
    total = samples.total()
    return [(share, 100 * count / total) for share, count in samples.most_common()]
