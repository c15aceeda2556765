"""What nodes of Kafka need of this machine, kept for each user: the jars, and Java's record of their classes.

With the record a node is ready in less than half the time. A Java that watched a node at work writes it when the node ends
(JEP 514): classes loaded and linked, 70 MB. It is passed over, and Kafka starts all the same, where Java or the jars are
others than those that it was made of.
"""

import tempfile
import time
from contextlib import closing
from pathlib import Path

import structlog
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from rich.console import Console

from headwater.local.child import Child
from headwater.local.kafka import VERSION, KafkaNode, KafkaStartError, class_record
from headwater.local.maven import cache_folder, fetch, locked, read_lock
from headwater.local.ports import PortError, Ports
from headwater.local.services import kafka_probe

LOCK = Path(__file__).with_name("kafka.lock")
FIRST_PORT = 25_000
START_SECONDS = 60.0
WORK_SECONDS = 10.0
END_SECONDS = 120.0  # Java puts the record together while it ends
TOPIC = "watched"

log = structlog.get_logger("headwater.local")


def fetch_kafka() -> list[Path]:
    """Kafka's jars, downloaded on first use (45 MB); then the record of their classes is made, too, in some ten seconds.

    Says on stderr what takes long. Blocks. Call it in the main thread; several processes may at once. Raises
    maven.MavenError. A record that cannot be made is missed by nobody but the clock.
    """
    jars = fetch(read_lock(LOCK), cache_folder() / f"kafka-{VERSION}", f"Apache Kafka {VERSION}")
    record = class_record()
    with locked(record.parent):
        if not record.exists():
            _record_classes(jars, record)
    return jars


def _record_classes(jars: list[Path], record: Path) -> None:
    # In the folder where it will be, so that it gets there whole or not at all.
    with (
        Console(stderr=True).status("Preparing Kafka for quicker starts (once)"),
        tempfile.TemporaryDirectory(dir=record.parent, ignore_cleanup_errors=True) as folder,
    ):
        try:
            _watch(jars, Path(folder)).replace(record)
        except (KafkaStartError, KafkaException, PortError, OSError) as error:
            log.warning("Kafka's classes could not be recorded; it starts without", error=str(error))


def _watch(jars: list[Path], folder: Path) -> Path:
    """Run a node, let it work, and end it; the record that Java has written. Raises FileNotFoundError where there is none."""
    made = folder / "classes.aot"
    with closing(Ports()) as ports:
        node = KafkaNode(folder / "kafka", folder / "kafka.log", ports.claim(FIRST_PORT), ports.claim(FIRST_PORT))
        node.prepare(jars)
        java, *options = node.command()
        child = Child([java, f"-XX:AOTCacheOutput={made}", *options], node.environment(jars), folder / "kafka.out")
        try:
            _work(node.bootstrap)
            child.stop(END_SECONDS)
        finally:
            child.kill()
    made.stat()
    return made


def _work(bootstrap: str) -> None:
    """What services do: make a topic, write to it in a transaction, read it in a group."""
    answers, deadline = kafka_probe(bootstrap), time.monotonic() + START_SECONDS
    while not answers():
        if time.monotonic() > deadline:
            raise KafkaStartError(f"Kafka did not answer within {START_SECONDS:g} s")
    servers: dict[str, str | int | float | bool] = {"bootstrap.servers": bootstrap, "log_level": 0}
    admin = AdminClient(servers)  # named: one that is let go of while it is asked never answers
    admin.create_topics([NewTopic(TOPIC, 1)])[TOPIC].result(WORK_SECONDS)
    producer = Producer(servers | {"transactional.id": TOPIC, "compression.type": "lz4"})
    producer.init_transactions(WORK_SECONDS)
    producer.begin_transaction()
    producer.produce(TOPIC, b"value", b"key")
    producer.commit_transaction(WORK_SECONDS)
    group = {"group.id": TOPIC, "auto.offset.reset": "earliest", "isolation.level": "read_committed"}
    with closing(Consumer(servers | group)) as consumer:
        consumer.subscribe([TOPIC])
        message = consumer.poll(WORK_SECONDS)
        if message is not None and message.error() is None:
            consumer.commit(message=message, asynchronous=False)
