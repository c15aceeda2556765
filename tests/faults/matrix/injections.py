"""How faults are brought about, each a context: the fault is there while it is entered, and mended on leaving.

What was meant to happen is checked where it can be: a fault that did not happen is no fault that was survived.
"""

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from headwater.aggregates import table_key
from headwater.kafka import client_config, durable_producer_config
from headwater.topics import control_topic, state_topic
from tests.faults.matrix.places import move_clock
from tests.faults.matrix.proxy import Proxy
from tests.faults.matrix.scene import Inject, Scene
from tests.faults.matrix.stack import FaultError, Stack, metric, wait_for
from tests.processing import read_topic

HAPPENS_SECONDS = 60.0
END_TRANSACTION = 26  # the key of Kafka's request EndTxn
TERM_SECONDS = 20.0
CHANGES = 60
MIB = 1024 * 1024


def killed(*names: str) -> Inject:
    """SIGKILL; started again when the fault's time is over."""

    @contextmanager
    def inject(scene: Scene) -> Iterator[None]:
        for name in names:
            process = scene.stack.processes[name]
            process.signal(signal.SIGKILL)
            process.kill()
        yield
        for name in names:
            scene.stack.processes[name].start()

    return inject


def terminated(name: str) -> Inject:
    """SIGTERM; started again when it has ended and the fault's time is over."""

    @contextmanager
    def inject(scene: Scene) -> Iterator[None]:
        process = scene.stack.processes[name]
        process.signal(0)
        if not process.terminate(TERM_SECONDS):
            scene.complaints.append(f"{name} did not end within {TERM_SECONDS:g} s of SIGTERM")
        yield
        process.start()

    return inject


def stopped(name: str) -> Inject:
    """SIGSTOP, and SIGCONT."""

    @contextmanager
    def inject(scene: Scene) -> Iterator[None]:
        process = scene.stack.processes[name]
        process.signal(signal.SIGSTOP)
        try:
            wait_for(process.stopped, HAPPENS_SECONDS, f"{name} is stopped")
            yield
        finally:
            process.signal(signal.SIGCONT)

    return inject


def clickhouse_is(change: Callable[[Proxy], None]) -> Inject:
    """The way to ClickHouse is broken so; checked to have met a connection."""

    @contextmanager
    def inject(scene: Scene) -> Iterator[None]:
        proxy = scene.stack.clickhouse_route
        change(proxy)
        try:
            yield
            wait_for(lambda: proxy.hits, HAPPENS_SECONDS, "the fault meets a connection")
        finally:
            proxy.heal()

    return inject


def sink_killed_in_insert(seconds: float) -> Inject:
    """ClickHouse answers nothing; when the sink has had batches under way for so long it is killed, started again, and ClickHouse is back."""

    @contextmanager
    def inject(scene: Scene) -> Iterator[None]:
        proxy = scene.stack.clickhouse_route
        proxy.hold()
        try:
            health = _health(scene.stack, "sink-1")
            wait_for(
                lambda: metric(health, "headwater_sink_buffered_records") > 500, HAPPENS_SECONDS, "a batch is under way"
            )
            time.sleep(seconds)  # for one that would commit now
            with killed("sink-1")(scene):
                yield
        finally:
            proxy.cut()  # what was under way never arrives
            proxy.heal()

    return inject


def cut_off(name: str) -> Inject:
    """Nothing passes between a service and Kafka; connections stay, and what was under way arrives when it is over."""

    @contextmanager
    def inject(scene: Scene) -> Iterator[None]:
        proxy = scene.stack.kafka_routes[name]
        proxy.hold()
        try:
            yield
        finally:
            proxy.heal()

    return inject


@contextmanager
def processor_cut_off_past_its_session(scene: Scene) -> Iterator[None]:
    """The first processor cannot reach Kafka until the second has all partitions; then it is back."""
    with cut_off("processor-1")(scene):
        wait_for(lambda: _partitions(scene.stack, "processor-2") == 4, HAPPENS_SECONDS, "another takes the partitions")
        yield


@contextmanager
def sink_cut_off_past_its_session(scene: Scene) -> Iterator[None]:
    """The first sink cannot reach Kafka until a second stores what comes; then it is back."""
    scene.stack.scale("sink", 2)
    second = scene.stack.processes["sink-2"]
    wait_for(lambda: second.running and second.ready(), HAPPENS_SECONDS, "a second sink is ready")
    before = metric(_health(scene.stack, "sink-2"), "headwater_sink_rows_total")
    with cut_off("sink-1")(scene):
        wait_for(
            lambda: metric(_health(scene.stack, "sink-2"), "headwater_sink_rows_total") > before + 2_000,
            HAPPENS_SECONDS,
            "another stores",
        )
        yield


@contextmanager
def rebalances(scene: Scene) -> Iterator[None]:
    """Processors and sinks, at once: 1, 4, 2, 5, 1 of each, a few seconds apart, and then as many as before."""
    for count in (1, 4, 2, 5, 1):
        killed = scene.stack.scale("processor", count) + scene.stack.scale("sink", count)
        scene.complaints += [f"{name} did not end within {TERM_SECONDS:g} s of SIGTERM" for name in killed]
        time.sleep(scene.seconds)
    scene.seconds = 0.0
    yield
    scene.stack.scale("processor", 2)


@contextmanager
def stopped_behind_its_commit(scene: Scene) -> Iterator[None]:
    """The first processor's transaction is committed, and its answer never comes: it has not written its table. Then it is
    stopped past its session, the state topic is compacted, and it wakes."""
    stack = scene.stack
    proxy, process = stack.kafka_routes["processor-1"], stack.processes["processor-1"]
    compact_eagerly(stack, state_topic(stack.settings))
    proxy.hold_behind(END_TRANSACTION)
    try:
        wait_for(lambda: proxy.hits, HAPPENS_SECONDS, "a transaction is ended", 0.001)
        process.signal(signal.SIGSTOP)
        before = {*read_topic(stack.settings, state_topic(stack.settings))}
        wait_for(lambda: _partitions(stack, "processor-2") == 4, HAPPENS_SECONDS, "another takes the partitions")

        def compacted() -> bool:
            _write_behind_the_state(stack)
            return not before <= {*read_topic(stack.settings, state_topic(stack.settings))}

        wait_for(compacted, HAPPENS_SECONDS, "the state topic is compacted", 1.0)
        yield
    finally:
        process.signal(signal.SIGCONT)
        proxy.heal()


@contextmanager
def control_topic_compacted(scene: Scene) -> Iterator[None]:
    """A project changes many times, the control topic is compacted, and every service that reads it begins anew."""
    stack = scene.stack
    topic = control_topic(stack.settings)
    compact_eagerly(stack, topic)
    project = scene.projects[1].id
    before = len(read_topic(stack.settings, topic))
    for number in range(CHANGES):
        stack.control.change_settings(project, {"ids.window": "off" if number % 2 else "untimed"})

    def compacted() -> bool:
        stack.control.change_settings(project, {"ids.window": "off"})  # a segment is closed by a record behind it
        return len(read_topic(stack.settings, topic)) < before + CHANGES // 2

    wait_for(compacted, HAPPENS_SECONDS, "the control topic is compacted", 1.0)
    names = [name for name in stack.processes if name not in ("kafka", "clickhouse")]
    with killed(*names)(scene):
        yield


def processor_state(change: Callable[[Path], None]) -> Inject:
    """The first processor is killed, its folder changed, and it is started again."""

    @contextmanager
    def inject(scene: Scene) -> Iterator[None]:
        folder = scene.stack.settings.data_dir / "processor-1"
        with killed("processor-1")(scene):
            if not any(folder.rglob("CURRENT")):
                raise FaultError(f"{folder} holds no RocksDB")
            change(folder)
            yield

    return inject


def deleted(folder: Path) -> None:
    """Delete a folder."""
    shutil.rmtree(folder)


def garbled(folder: Path) -> None:
    """Overwrite the middle of every file of RocksDB's with zeros, and cut the manifests."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 16 and path.name != "LOCK"]
    if not files:
        raise FaultError(f"{folder} holds no files")
    for path in files:
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(size // 3)
            file.write(b"\0" * (size // 3))
            if path.name.startswith("MANIFEST"):
                file.truncate(size // 2)


@contextmanager
def disk_full(scene: Scene) -> Iterator[None]:
    """The disk of Kafka's records is filled to the last byte; mended, Kafka is started again where it has ended."""
    kafka, folder = scene.stack.processes["kafka"], scene.stack.options.kafka_folder
    if folder is None:
        raise FaultError("Kafka's disk is not one that may be filled")
    ballast = folder.parent / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        if shutil.disk_usage(folder).free:
            raise FaultError("the disk is not full")
        yield
        wait_for(lambda: not kafka.running, HAPPENS_SECONDS, "Kafka ends on its full disk")
    finally:
        ballast.unlink()
        kafka.kill()
        kafka.start()


def clock_jumps(seconds: int) -> Inject:
    """The wall clock of every service jumps, and back when it is over."""

    @contextmanager
    def inject(scene: Scene) -> Iterator[None]:
        move_clock(scene.stack.options, seconds)
        try:
            yield
        finally:
            move_clock(scene.stack.options, 0)

    return inject


def compact_eagerly(stack: Stack, topic: str) -> None:
    """Let Kafka compact a topic as soon and as much as it can."""
    admin = AdminClient(client_config(stack.settings))
    eager = {
        "segment.ms": "1000",
        "segment.bytes": str(MIB),
        "min.cleanable.dirty.ratio": "0.0",
        "max.compaction.lag.ms": "500",
    }
    entries = [ConfigEntry(n, v, incremental_operation=AlterConfigOpType.SET) for n, v in eager.items()]
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    admin.incremental_alter_configs([resource])[resource].result(30)


def _write_behind_the_state(stack: Stack) -> None:
    """Write a record that says nothing to every partition of the state topic: a segment is closed by one behind it."""
    producer, topic = Producer(durable_producer_config(stack.settings)), state_topic(stack.settings)
    for partition in range(stack.settings.raw_partitions):
        producer.produce(topic, None, table_key(partition, "aggregates", "nobody", "nothing"), partition=partition)
    if producer.flush(HAPPENS_SECONDS):
        raise FaultError("the state topic takes no records")


def _health(stack: Stack, name: str) -> str:
    return f"http://127.0.0.1:{stack.processes[name].environment['HEADWATER_HEALTH_PORT']}"


def _partitions(stack: Stack, name: str) -> float:
    return metric(_health(stack, name), "headwater_processor_partitions")
