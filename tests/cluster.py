"""A Kafka of three brokers, of which any may be killed and started again."""

import base64
import re
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from headwater.local.child import Child
from headwater.local.kafka import KafkaNode
from headwater.local.kafka_files import fetch_kafka
from headwater.local.ports import Ports
from tests.waiting import wait_until

PORT = 21492
NUMBERS = (1, 2, 3)
START_LIMIT = 120.0  # three Javas at once
REPLICATION = {
    "offsets.topic.replication.factor": 3,
    "transaction.state.log.replication.factor": 3,
    "transaction.state.log.min.isr": 2,
    "min.insync.replicas": 2,
}


class Cluster:
    """Nodes 1 to 3 in `folder`, each broker and controller; all run when this is made, with three replicas of what is Kafka's own."""

    def __init__(self, folder: Path, ports: Ports) -> None:
        self._folder = folder
        self._jars = fetch_kafka()
        self._nodes = {
            number: KafkaNode(
                folder / f"kafka-{number}", folder / f"kafka-{number}.log", ports.claim(PORT), ports.claim(PORT + 10)
            )
            for number in NUMBERS
        }
        self._children: dict[int, Child] = {}
        voters = ",".join(f"{number}@127.0.0.1:{node.controller_port}" for number, node in self._nodes.items())
        for number, node in self._nodes.items():
            self._prepare(number, node, {"node.id": number, "controller.quorum.voters": voters} | REPLICATION)
        for number in NUMBERS:
            self._launch(number)
        wait_until(lambda: len(self.brokers) == len(NUMBERS), START_LIMIT)

    @property
    def bootstrap(self) -> str:
        """Where clients connect."""
        return ",".join(node.bootstrap for node in self._nodes.values())

    @property
    def brokers(self) -> set[int]:
        """Those that Kafka names; none where it does not answer."""
        with suppress(KafkaException):
            return set(self._admin().list_topics(timeout=2).brokers)
        return set()

    def leader(self, topic: str, partition: int) -> int:
        """The node that leads a partition."""
        return int(self._admin().list_topics(topic, timeout=10).topics[topic].partitions[partition].leader)

    def kill(self, number: int) -> None:
        """SIGKILL to a node."""
        self._children.pop(number).kill()

    def start(self, number: int) -> None:
        """Start a node again, and wait until Kafka has it back."""
        self._launch(number)
        wait_until(lambda: number in self.brokers, START_LIMIT)

    def close(self) -> None:
        """Kill what runs."""
        for number in [*self._children]:
            self.kill(number)

    def _prepare(self, number: int, node: KafkaNode, configuration: dict[str, object]) -> None:
        first = self._nodes[NUMBERS[0]]
        if node is not first:  # of the same cluster: formatted as the first one is, but for its own ids
            records = node.folder / "records"
            records.mkdir(parents=True)
            for file in (first.folder / "records").iterdir():
                shutil.copy(file, records)
            own = {"node.id": str(number), "directory.id": base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[:22]}
            meta = records / "meta.properties"
            text = meta.read_text()
            for name, value in own.items():
                text = re.sub(rf"(?m)^{re.escape(name)}=.*$", f"{name}={value}", text)
            meta.write_text(text)
        node.prepare(self._jars)
        with (node.folder / "server.properties").open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in configuration.items())

    def _launch(self, number: int) -> None:
        node = self._nodes[number]
        self._children[number] = Child(
            node.command(), node.environment(self._jars), self._folder / f"kafka-{number}.out"
        )

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
