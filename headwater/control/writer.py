"""Writing to the control plane: one writer at a time, and answered after reading back."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException, Producer

from headwater.codec import codec
from headwater.control.follower import ControlPlane
from headwater.control.model import ControlError, Key, KeyKind, Project, key_id, new_key, new_project_id
from headwater.control.records import KEY, PROJECT, Record, key_record, project_record, record_key, revoked
from headwater.control.seal import Seal
from headwater.kafka import durable_producer_config
from headwater.settings import Settings
from headwater.topics import control_topic

TIMEOUT = 30.0
ATTEMPTS = 5
NAME_MAX = 256


class ControlWriter:
    """Creates projects and keys and revokes keys.

    Every write is a Kafka transaction under one transactional id per deployment. Starting it fences every other writer,
    then the topic is read to its end, so the versions that a write is based on are the newest; a writer that was fenced
    meanwhile starts again. Compaction keeps the last record of an object, so "the last one wins" must never lose a write.

    The constructor blocks until the control plane is read; it raises as ControlPlane.start does. Use as a context, or
    call `close`.
    """

    def __init__(self, settings: Settings, timeout: float = TIMEOUT) -> None:
        self._settings = settings
        self._seal = Seal(settings.required_secret())
        self.plane = ControlPlane(settings)
        try:
            self.plane.start(timeout)
        except ControlError:
            self.plane.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop following. Blocks shortly."""
        self.plane.stop()

    def create_project(self, name: str) -> Project:
        """A new project with a master, a write and a read key. Blocks until it is read back; raises ControlError."""
        _check_name(name)
        project = Project(new_project_id(), name, 1, master_key=new_key(), write_key=new_key(), read_key=new_key())

        def records(now: int) -> list[Record]:
            keys: list[tuple[KeyKind, str]] = [
                ("master", project.master_key),
                ("write", project.write_key),
                ("read", project.read_key),
            ]
            return [
                *(key_record(_new(project.id, kind, kind, key, now), self._seal, now) for kind, key in keys),
                project_record(project, now),
            ]

        self._write(records)
        return project

    def create_key(self, project_id: str, kind: KeyKind, name: str) -> Key:
        """One more key of a project. Blocks until it is read back; raises ControlError, for an unknown project too."""
        _check_name(name)
        raw_key = new_key()

        def records(now: int) -> list[Record]:
            if self.plane.record(PROJECT, project_id) is None:
                raise ControlError(f"There is no project {project_id}.")
            return [key_record(_new(project_id, kind, name, raw_key, now), self._seal, now)]

        self._write(records)
        return self._read_back(raw_key)

    def revoke_key(self, raw_key: str) -> Key:
        """Make a key invalid for ever. Blocks until that is read back; raises ControlError, for an unknown key too."""

        def records(now: int) -> list[Record]:
            record = self.plane.record(KEY, key_id(raw_key))
            if record is None:
                raise ControlError("There is no such key.")
            return [revoked(record, now)]

        self._write(records)
        return self._read_back(raw_key)

    def _read_back(self, raw_key: str) -> Key:
        key = self.plane.key(raw_key)
        if key is None:
            raise ControlError("The key was written but cannot be read back; is another secret in use?")
        return key

    def _write(self, records: Callable[[int], list[Record]]) -> None:
        """Write what `records` gives, all or nothing; it is asked again when another writer came in between."""
        for attempt in range(1, ATTEMPTS + 1):
            producer = Producer(
                durable_producer_config(self._settings)
                | {
                    "transactional.id": f"{control_topic(self._settings)}.writer",
                    "transaction.timeout.ms": 10_000,
                }
            )
            try:
                producer.init_transactions(TIMEOUT)
                self._catch_up()
                written = records(time.time_ns() // 1_000_000)
                self._commit(producer, written)
            except KafkaException as error:
                reason = error.args[0]
                if attempt < ATTEMPTS and (reason.fatal() or reason.txn_requires_abort()):
                    continue  # fenced by another writer, nothing was written: look again at what it wrote
                raise ControlError(f"The control plane could not be written: {reason.str()}.") from error
            self._catch_up()
            return

    def _commit(self, producer: Producer, records: list[Record]) -> None:
        producer.begin_transaction()
        for record in records:
            producer.produce(
                control_topic(self._settings),
                key=record_key(record["kind"], record["id"]),
                value=codec("control_record").encode(record),
            )
        producer.commit_transaction(TIMEOUT)

    def _catch_up(self) -> None:
        if not self.plane.catch_up(TIMEOUT):
            raise ControlError("The control plane could not be read to its end; is Kafka reachable?")


def _new(project_id: str, kind: KeyKind, name: str, raw_key: str, now: int) -> Key:
    return Key(key_id(raw_key), project_id, kind, name, active=True, version=1, created_at=now, key=raw_key)


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > NAME_MAX or not name.isprintable():
        raise ControlError(f"The name {name[:80]!r} must be printable text of 1 to {NAME_MAX} characters.")
