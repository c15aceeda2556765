"""A Kafka of a test's own, to be stopped, killed and started again."""

import os
from collections.abc import Mapping
from pathlib import Path

from headwater.local.child import Child
from headwater.local.kafka import KafkaNode
from headwater.local.kafka_files import fetch_kafka
from headwater.local.ports import Ports
from tests.backends import kafka_answers
from tests.waiting import wait_until

PORT = 21292
START_LIMIT = 60.0


class Broker:
    """One node in `folder`, which runs when this is made."""

    def __init__(self, folder: Path, ports: Ports, configuration: Mapping[str, object] | None = None) -> None:
        self._out = folder / "kafka.out"
        self._node = KafkaNode(folder / "kafka", folder / "kafka.log", ports.claim(PORT), ports.claim(PORT + 1))
        self._jars = fetch_kafka()
        self.bootstrap = self._node.bootstrap
        self._node.prepare(self._jars)
        for name, value in (configuration or {}).items():
            self.configure(name, value)
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._child = Child(self._node.command(), self._node.environment(self._jars), self._out)
        wait_until(lambda: kafka_answers(self.bootstrap), START_LIMIT)

    def configure(self, name: str, value: object) -> None:
        """Have it start with this, the next time."""
        with (self._node.folder / "server.properties").open("a") as file:
            file.write(f"{name}={value}\n")

    def signal(self, number: int) -> None:
        """Send a signal to it."""
        os.killpg(self._child.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self._child.kill()
