"""The control plane in memory: a thread that follows the control topic, as Kafka Connect follows its own."""

import threading
import time
from concurrent.futures import TimeoutError as FutureTimeoutError

import structlog
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the client's stubs leave OffsetSpec out
    AdminClient,
    OffsetSpec,
)
from confluent_kafka.cimpl import OFFSET_BEGINNING

from headwater.control.model import ControlError, Key, Project, SecretMismatchError
from headwater.control.records import ControlState, Record, UnreadableRecordError
from headwater.control.seal import Seal
from headwater.kafka import client_config, create_base_topics
from headwater.settings import Settings
from headwater.topics import control_topic

PARTITION = 0
POLL_SECONDS = 0.1
RETRY_SECONDS = 1.0
METADATA_SECONDS = 2.0
CATCH_UP_INTERVAL = 0.05  # seconds between two looks at the topic's end, however many ask

log = structlog.get_logger("headwater.control")


class ControlPlane:
    """Follows projects and keys into memory. Safe to use from several threads.

    Raises SettingsError where the deployment has no secret.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = control_topic(settings)
        self._state = ControlState(Seal(settings.required_secret()))
        self._admin = AdminClient(client_config(settings) | {"log_level": 0})
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._next_offset = 0  # what comes before it has been applied
        self._caught_up = threading.Event()
        self._asking = threading.Lock()
        self._asked_at = 0.0
        self._thread = threading.Thread(target=self._follow, name="control-plane", daemon=True)

    def start(self, timeout: float = 30.0) -> None:
        """Start following and block until the topic's end is reached; creates the base topics where they are missing.

        Raises ControlError when that takes longer than `timeout` seconds (following goes on in the background until
        `stop`), and SecretMismatchError when none of the stored keys can be decrypted.
        """
        self._thread.start()
        if not self._caught_up.wait(timeout):
            raise ControlError(
                f"The control plane could not be read within {timeout:g} s from topic {self._topic} "
                f"at HEADWATER_KAFKA={self._settings.kafka}."
            )
        self.check_secret()

    def check_secret(self) -> None:
        """Raises SecretMismatchError when keys are stored but none can be decrypted."""
        if self._state.sealed_out and not self._state.keys:
            raise SecretMismatchError(
                f"None of the {len(self._state.sealed_out)} stored keys can be decrypted: HEADWATER_SECRET is not the "
                f"secret that topic {self._topic} was written under. Set the deployment's own secret."
            )

    def stop(self) -> None:
        """Stop following; what was read stays readable. Blocks until the thread has ended."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def caught_up(self) -> bool:
        """Whether the topic's end has been reached once."""
        return self._caught_up.is_set()

    def project(self, project_id: str) -> Project | None:
        """A project, from memory."""
        return self._state.projects.get(project_id)

    def projects(self) -> list[Project]:
        """All projects, ordered by name."""
        return sorted(self._state.projects.values(), key=lambda project: (project.name, project.id))

    def key(self, raw_key: str) -> Key | None:
        """The key that this text is, from memory; a revoked one too, with `active` false."""
        return self._state.key(raw_key)

    def keys(self, project_id: str) -> list[Key]:
        """All keys of a project, revoked ones too, oldest first."""
        found = [key for key in list(self._state.keys.values()) if key.project_id == project_id]
        return sorted(found, key=lambda key: (key.created_at, key.id))

    def record(self, kind: str, id: str) -> Record | None:  # noqa: A002 - the schema's name for it
        """An object's newest record, of whatever kind."""
        return self._state.records.get((kind, id))

    def catch_up(self, timeout: float = 1.0) -> bool:
        """Block until all is read that was written before this call; False when `timeout` seconds did not do.

        However many threads ask, Kafka is asked for the topic's end once in CATCH_UP_INTERVAL.
        """
        called_at = time.monotonic()
        deadline = called_at + timeout
        if not self._caught_up.wait(timeout) or not self._asking.acquire(timeout=max(0.0, deadline - time.monotonic())):
            return False
        try:
            if self._asked_at < called_at:
                wait = self._asked_at + CATCH_UP_INTERVAL - time.monotonic()
                if wait > 0 and self._stopping.wait(min(wait, timeout)):
                    return False
                asked_at = time.monotonic()
                if not self._reach(self._end(deadline), deadline):
                    return False
                self._asked_at = asked_at
        except (KafkaException, FutureTimeoutError) as error:
            log.warning("control plane cannot be caught up", error=str(error))
            return False
        finally:
            self._asking.release()
        return True

    def _end(self, deadline: float) -> int:
        """The offset that follows the topic's last record, from the broker.

        Of an open transaction too: a commit is answered before its marker is in the topic, and what was answered must
        be read. A reader of committed records gets there as soon as the marker does.
        """
        partition = TopicPartition(self._topic, PARTITION)
        timeout = max(0.01, deadline - time.monotonic())
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the client's own gap
        found = self._admin.list_offsets(
            {partition: latest}, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=timeout
        )
        end: int = found[partition].result(timeout).offset
        return end

    def _reach(self, end: int, deadline: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._next_offset >= end, max(0.0, deadline - time.monotonic()))

    def _follow(self) -> None:
        """The thread: reads until `stop`, whatever happens to Kafka."""
        consumer = Consumer(
            client_config(self._settings)
            | {
                "group.id": f"{self._topic}.follower",  # required by the client; never joined, nothing is committed
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 100,
            }
        )
        try:
            while not self._stopping.is_set() and not self._topic_is_there():
                self._stopping.wait(RETRY_SECONDS)
            consumer.assign([TopicPartition(self._topic, PARTITION, OFFSET_BEGINNING)])
            while not self._stopping.is_set():
                message = consumer.poll(POLL_SECONDS)
                if message is not None:
                    self._take(message)
        finally:
            consumer.close()

    def _topic_is_there(self) -> bool:
        try:
            self._admin.list_topics(timeout=METADATA_SECONDS)  # quiet and quick where Kafka cannot be reached
            create_base_topics(self._settings)
        except (KafkaException, FutureTimeoutError) as error:
            log.warning("Kafka cannot be reached; trying again", kafka=self._settings.kafka, error=str(error))
            return False
        return True

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is None:
            self._apply(message)
            self._advance(_offset(message) + 1, at_end=False)
        elif error.code() == KafkaError._PARTITION_EOF:
            self._advance(_offset(message), at_end=True)
        else:
            log.warning("control topic cannot be read; trying again", error=error.str())

    def _apply(self, message: Message) -> None:
        readable = not self._state.sealed_out
        try:
            self._state.apply(message.key(), message.value())
        except UnreadableRecordError as error:
            log.error(
                "control record is unreadable and ignored",
                topic=self._topic,
                offset=message.offset(),
                error=str(error),
            )
        if readable and self._state.sealed_out:  # said once: with a wrong secret it is so for every key
            log.error(
                "stored keys cannot be decrypted and are not valid here: HEADWATER_SECRET is not what they were written under",
                topic=self._topic,
                offset=message.offset(),
            )

    def _advance(self, next_offset: int, *, at_end: bool) -> None:
        with self._changed:
            self._next_offset = next_offset
            if at_end:
                self._caught_up.set()
            self._changed.notify_all()


def _offset(message: Message) -> int:
    """Where a message or an end-of-partition notice stands; the client's type allows for none, which neither has."""
    offset = message.offset()
    assert offset is not None
    return offset
