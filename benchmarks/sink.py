"""The sink against a loop that inserts dicts, and against the engine inserting the same containers from files.

One collection, and without the loop 200 at once. The loop's rows are compared with the sink's.
"""

import itertools
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from fastavro.schema import to_parsing_canonical_form

from benchmarks.events import COLLECTION, generate, raw_record
from benchmarks.measure import Benchmark, Figures, Goal, Meter
from benchmarks.peers.work import work
from benchmarks.stack import BenchmarkError, Stack, wait_for
from benchmarks.topics import create_collection_topics, delete_topics, fill
from headwater.codec import HEADER_LENGTH, codec
from headwater.container import container
from headwater.kafka import create_base_topics
from headwater.settings import Settings
from headwater.topics import collection_topic
from sinks.datums import Collection
from sinks.insert import SETTINGS, insert_statement
from sinks.tables import create_database, create_table, database, table

EVENTS = 200_000
COLLECTIONS = 200
PROJECT = "0123456789abcdef01234567"
LIMIT_SECONDS = 300.0

ONE, MANY = "one collection", f"{COLLECTIONS} collections"
HEADWATER, LOOP, ENGINE = "sink", "insert loop of dicts", "engine from files"

Records = dict[Collection, list[tuple[bytes, bytes]]]


def run(rounds: int) -> Benchmark:
    """Each round has a deployment of its own; tables are dropped after each case."""
    benchmark = Benchmark(
        "sink",
        "headwater worker sink, Kafka to rows, against the engine with the same containers",
        "rows/s",
        {"events": EVENTS, "collections": COLLECTIONS},
        (
            Goal(f"{HEADWATER}, {ONE}", 0.85, f"{ENGINE}, {ONE}"),
            Goal(f"{HEADWATER}, {MANY}", 0.85, f"{ENGINE}, {MANY}"),
            Goal(f"{HEADWATER}, {ONE}", 1, f"{LOOP}, {ONE}"),
        ),
    )
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder)) as stack:
        stack.start_kafka()
        stack.start_clickhouse()
        cases = {ONE: _enriched(stack.deployment(), 1), MANY: _enriched(stack.deployment(), COLLECTIONS)}
        client = clickhouse_connect.get_client(dsn=stack.deployment().clickhouse, autogenerate_session_id=False)
        for _ in range(rounds):
            for kind, records in cases.items():
                settings = stack.deployment()
                _fill_topics(settings, records)
                with stack.service(settings, "worker", "sink") as (child, _):
                    figures = _watch(client, [child.pid, stack.clickhouse_pid], EVENTS)
                benchmark.add(f"{HEADWATER}, {kind}", **figures)
                if kind == ONE:
                    benchmark.add(f"{LOOP}, {kind}", **_loop(client, stack, settings, next(iter(records))))
                delete_topics(settings)
                client.command(f"DROP DATABASE {database(PROJECT)} SYNC")
                figures = _engine(client, stack, settings, records)
                benchmark.add(f"{ENGINE}, {kind}", **figures)
                client.command(f"DROP DATABASE {database(PROJECT)} SYNC")
        client.close()
    return benchmark


def _enriched(settings: Settings, collections: int) -> Records:
    """Ids and records of events, as a processor makes them, dealt out to so many collections."""
    event_of = work(settings)
    records: Records = {Collection(PROJECT, f"{COLLECTION}_{n}"): [] for n in range(collections)}
    targets = itertools.cycle(records.items())
    for event, (collection, events) in zip(generate(EVENTS), targets, strict=False):
        events.append(event_of(raw_record(PROJECT, event, collection.name), 0, 0, 0))
    return records


def _fill_topics(settings: Settings, records: Records) -> None:
    create_base_topics(settings)
    topics = {c: collection_topic(settings.topic_prefix, c.project_id, c.name) for c in records}
    create_collection_topics(settings, topics.values())
    fill(settings, ((topics[c], id_, value) for c, events in records.items() for id_, value in events))


def _watch(client: Client, pids: list[int | None], events: int) -> Figures:
    """Speed from the first rows that can be seen to the last."""
    sql = f"SELECT sum(total_rows) FROM system.tables WHERE database = '{database(PROJECT)}'"

    def rows() -> int:
        return int(client.query(sql).result_rows[0][0] or 0)

    first = wait_for(rows, LIMIT_SECONDS, "the first rows", every=0.02)
    began, (sink, engine) = time.perf_counter(), [Meter(pid) for pid in pids if pid is not None]
    last = wait_for(lambda: (now := rows()) >= events and now, LIMIT_SECONDS, "the last rows", every=0.02)
    took = time.perf_counter() - began
    figures = sink.figures(last - first)
    engine_cpu = engine.figures(last - first)["CPU µs/event"]
    return {
        "value": (last - first) / took,
        "CPU µs/row": figures["CPU µs/event"],
        "engine CPU µs/row": engine_cpu,
        "RSS MB": figures["RSS MB"],
    }


def _loop(client: Client, stack: Stack, settings: Settings, collection: Collection) -> Figures:
    """The same of the loop, over the same topic; `collection` is in its table already, by the sink."""
    rows = _rows(client, collection)
    client.command(f"TRUNCATE TABLE {table(collection)}")
    topic = collection_topic(settings.topic_prefix, collection.project_id, collection.name)
    with stack.running(settings, "benchmarks.peers.insert_loop", topic, table(collection)) as running:
        figures = _watch(client, [running.child.pid, stack.clickhouse_pid], EVENTS)
    if _rows(client, collection) != rows:
        raise BenchmarkError(f"{LOOP}: the rows are not those of the sink")
    return figures


def _rows(client: Client, collection: Collection) -> Sequence[object]:
    """How many rows the collection has, and what tells whether they are the same as others."""
    digest = "cityHash64(id, timestamp, received_at, processed_at, toString(properties))"
    rows: Sequence[object] = client.query(
        f"SELECT count(), uniqExact(id), sum({digest}) FROM {table(collection)}"
    ).result_rows[0]
    return rows


def _engine(client: Client, stack: Stack, settings: Settings, records: Records) -> Figures:
    """Speed of the same INSERT, reading each container of the sink's size from a file; one after another."""
    assert stack.clickhouse_pid is not None
    client.command(create_database(PROJECT))
    containers = stack.folder / "containers"
    containers.mkdir()
    inserts: list[str] = []
    for collection, events in records.items():
        client.command(create_table(collection))
        for path in _write_containers(containers, settings, collection, events):
            sql = insert_statement(collection).replace("FROM input(", f"FROM file('{path}', 'Avro', ")
            inserts.append(sql.removesuffix(" FORMAT Avro"))
    meter, began = Meter(stack.clickhouse_pid), time.perf_counter()
    for sql in inserts:
        client.command(sql, settings=SETTINGS, use_database=False)
    took = time.perf_counter() - began
    shutil.rmtree(containers)
    return {"value": EVENTS / took, "engine CPU µs/row": meter.figures(EVENTS)["CPU µs/event"]}


def _write_containers(
    folder: Path, settings: Settings, collection: Collection, events: list[tuple[bytes, bytes]]
) -> list[Path]:
    """Containers of as many events as the sink would put into one."""
    schema = to_parsing_canonical_form(codec("event").schema)
    size = sum(len(value) for _, value in events) / len(events)
    each = min(settings.sink_flush_records, int(settings.sink_flush_bytes / size))
    paths = []
    for start in range(0, len(events), each):
        path = folder / f"{collection.name}-{start}.avro"
        path.write_bytes(container(schema, [value[HEADER_LENGTH:] for _, value in events[start : start + each]]))
        paths.append(path)
    return paths
