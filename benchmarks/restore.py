"""A processor without local state takes a deployment over: how long until it has a million keys from Kafka."""

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import faust
import orjson
import psutil

from benchmarks.measure import Benchmark, Figures, Meter
from benchmarks.stack import BenchmarkError, Stack
from benchmarks.topics import delete_topics
from headwater.aggregates import table_key
from headwater.codec import codec
from headwater.kafka import create_base_topics
from headwater.settings import Settings
from processors.fence import fenced_writer
from processors.id_window import ID_BYTES, INDEX, IdWindow
from processors.table import StateTable

KEYS = 1_000_000
PROJECT = "0123456789abcdef01234567"
TRANSACTION = 5_000  # records that are written at once beforehand
TRAITS = '{"email":"somebody@example.com","plan":"business","company":{"name":"Example","employees":250},"visits":17}'

TAKEN = "partitions taken"  # what the processor logs, with the seconds: fencing, and reading the state

USERS, IDS = "users, a record each", "ids of events, 1,024 in a record"

Records = dict[bytes, bytes | None]


def run(rounds: int) -> Benchmark:
    """Each case has a deployment of its own."""
    benchmark = Benchmark(
        "restore",
        f"headwater worker processor with an empty folder: {KEYS:,} keys of all partitions from the state topic into RocksDB",
        "keys/s",
        {"keys": KEYS},
    )
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder)) as stack:
        stack.start_kafka()
        for _ in range(rounds):
            nothing = _restored(stack, stack.deployment(), {})
            for case, records_of in ((USERS, _users), (IDS, _ids)):
                settings = stack.deployment()
                records = {partition: records_of(settings, partition) for partition in range(settings.raw_partitions)}
                figures = _restored(stack, settings, records)
                _check(settings, case)
                benchmark.add(
                    case,
                    value=KEYS / figures["taken in s"],
                    records=float(sum(map(len, records.values()))),
                    **{"taken without state in s": nothing["taken in s"]},
                    **figures,
                )
    return benchmark


def _restored(stack: Stack, settings: Settings, records: Mapping[int, Records]) -> Figures:
    """Write the records as a processor does, then start one, until it is ready: the seconds that it had partitions but could
    not process them, and those since its start; CPU time and memory."""
    create_base_topics(settings)
    for partition, changes in records.items():
        writer, _ = fenced_writer(settings, f"{settings.topic_prefix}.preparation", partition)
        left = iter(changes.items())
        while part := dict(islice(left, TRANSACTION)):
            writer.write(part)
        writer.close()
    began = time.perf_counter()
    with stack.service(settings.model_copy(update={"log_level": "info"}), "worker", "processor") as (child, _):
        ready = time.perf_counter() - began
        cpu, memory = psutil.Process(child.pid).cpu_times(), Meter(child.pid).figures(KEYS)
    delete_topics(settings)
    log = next(stack.folder.glob(f"{settings.topic_prefix}-*-worker-processor.log")).read_text()
    taken = [orjson.loads(line) for line in log.splitlines() if TAKEN in line]
    return {
        "taken in s": max(line["seconds"] for line in taken),
        "start to ready s": ready,
        "CPU µs/key": (cpu.user + cpu.system) / KEYS * 1e6,
    } | {name: value for name, value in memory.items() if "MB" in name}


def _users(settings: Settings, partition: int) -> Records:
    """This partition's share of KEYS users."""
    record = codec("user").encode({"user_id": None, "traits": TRAITS, "identified_at": 1})
    return {
        table_key(partition, "user", PROJECT, f"u-{number:07d}"): record
        for number in range(partition, KEYS, settings.raw_partitions)
    }


def _ids(settings: Settings, partition: int) -> Records:
    """This partition's share of KEYS ids, in the chunks that its window makes of them."""
    window = IdWindow(settings, _Empty(), partition)
    window.add(os.urandom(ID_BYTES) for _ in range(partition, KEYS, settings.raw_partitions))
    return window.changes(time.time_ns() // 1_000_000)


class _Empty:
    """A table that holds nothing."""

    def read(self, _partition: int, _key: bytes) -> None:
        """Nothing is there."""

    def under(self, _partition: int, _prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Nothing."""
        return iter(())


def _check(settings: Settings, case: str) -> None:
    """Raises BenchmarkError unless the local state that the processor left has all keys."""
    folder = settings.data_dir / settings.worker_name
    app = faust.App(f"{settings.topic_prefix}.processors", broker="kafka://none", datadir=folder, store="rocksdb://")
    table = StateTable.declared(app, settings)
    keys = 0
    for partition in range(settings.raw_partitions):
        prefix = INDEX if case == IDS else table_key(partition, "user", PROJECT)
        keys += sum(1 for _ in table.under(partition, prefix))
    if keys != KEYS:
        raise BenchmarkError(f"{case}: {keys:,} of {KEYS:,} keys are in the local state")
