"""Writing to the control plane: one writer at a time, and answered after reading back."""

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import orjson
from confluent_kafka import KafkaException, Producer

from headwater.codec import codec
from headwater.control.follower import ControlPlane
from headwater.control.grant import Operation
from headwater.control.model import (
    ControlError,
    InvalidNameError,
    InvalidSettingError,
    Key,
    KeyKind,
    NoSuchObjectError,
    Project,
    ProjectKeyKind,
    key_id,
    new_access_key,
    new_key,
    new_project_id,
)
from headwater.control.project_settings import stored_settings
from headwater.control.records import KEY, PROJECT, Record, changed, key_record, project_record, record_key
from headwater.control.seal import Seal
from headwater.kafka import durable_producer_config, is_fatal
from headwater.settings import Settings
from headwater.topics import control_topic

TIMEOUT = 30.0
ATTEMPTS = 5
NAME_MAX = 256


class ControlWriter:
    """Creates and changes projects, keys and whatever else the control plane holds. Safe to use from several threads.

    Every write is a Kafka transaction under one transactional id per deployment, after the topic was read to its end.
    Beginning with that id fences every other writer, so who is not fenced when it commits has read all that others wrote,
    and the versions that its write is based on are the newest; one that is fenced begins again. Compaction keeps the last
    record of an object, so "the last one wins" must never lose a write.

    Follows the control plane itself where no `plane` is given: the constructor then blocks until it is read, raises as
    ControlPlane.start does, and `close` (or leaving the context) ends that. A plane that is given is the caller's.
    """

    def __init__(self, settings: Settings, timeout: float = TIMEOUT, plane: ControlPlane | None = None) -> None:
        self._settings = settings
        self._seal = Seal(settings.required_secret())
        self._writing = threading.Lock()  # writers of one process would only fence each other
        self._producer: Producer | None = None  # one that has begun and was not fenced when it last wrote
        self._owns_plane = plane is None
        self.plane = plane or ControlPlane(settings)
        if plane is None:
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
        """Stop following, where the plane is the writer's own. Blocks shortly."""
        if self._owns_plane:
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

        self.write(records)
        return project

    def change_settings(self, project_id: str, changes: Mapping[str, str | None]) -> Project:
        """Give settings of a project other values, as text; None puts one back to its default.

        Blocks until that is read back. Raises InvalidSettingError, and NoSuchObjectError where there is no such project.
        """
        try:
            stored = stored_settings(changes, project_id, self._seal)
        except ValueError as error:
            raise InvalidSettingError(str(error)) from None

        def records(now: int) -> list[Record]:
            record = self.plane.record(PROJECT, project_id)
            if record is None:
                raise NoSuchObjectError(f"There is no project {project_id}.")
            settings = orjson.loads(record["body"]).get("settings") or {}
            kept = {name: value for name, value in settings.items() if name not in changes}
            return [changed(record, now, {"settings": kept | stored})]

        self.write(records)
        project = self.plane.project(project_id)
        assert project is not None
        return project

    def create_key(self, project_id: str, kind: ProjectKeyKind, name: str) -> Key:
        """One more key of a project. Blocks until it is read back; raises ControlError, for an unknown project too."""
        return self._create(project_id, kind, name, new_key(), {})

    def create_access_key(
        self,
        project_id: str,
        name: str,
        permitted: tuple[Operation, ...],
        options: Mapping[str, Any],
        active: bool = True,
    ) -> Key:
        """A key that permits some operations, under the restrictions in `options`. As `create_key` in all else."""
        return self._create(
            project_id,
            "access",
            name,
            new_access_key(),
            {"permitted": permitted, "options": options, "active": active},
        )

    def change_access_key(self, project_id: str, raw_key: str, **changes: Any) -> Key:
        """Give an access key another `name`, `active`, `permitted`, `options`, or `deleted`.

        Blocks until that is read back. Raises NoSuchObjectError where the project has no such access key, or it is deleted.
        """
        if "name" in changes:
            _check_name(changes["name"])

        def records(now: int) -> list[Record]:
            key, record = self.plane.key(raw_key), self.plane.record(KEY, key_id(raw_key))
            if not key or not record or key.kind != "access" or key.project_id != project_id or key.deleted:
                raise NoSuchObjectError("The project has no such access key.")
            return [changed(record, now, changes)]

        self.write(records)
        return self._read_back(raw_key)

    def revoke_key(self, raw_key: str) -> Key:
        """Make a key invalid. Blocks until that is read back; raises ControlError, for an unknown key too."""

        def records(now: int) -> list[Record]:
            record = self.plane.record(KEY, key_id(raw_key))
            if record is None:
                raise NoSuchObjectError("There is no such key.")
            return [changed(record, now, {"active": False})]

        self.write(records)
        return self._read_back(raw_key)

    def write(self, records: Callable[[int], list[Record]]) -> None:
        """Write what `records` gives for the time of writing (milliseconds since 1970 UTC), all or nothing.

        It is called when the plane has been read to its end, so versions are to be counted on from there; and again when
        another writer came in between. Blocks until the records are read back. Raises ControlError, and what `records` raises.
        """
        with self._writing:
            self._write(records)

    def _create(self, project_id: str, kind: KeyKind, name: str, raw_key: str, members: dict[str, Any]) -> Key:
        _check_name(name)

        def records(now: int) -> list[Record]:
            if self.plane.record(PROJECT, project_id) is None:
                raise NoSuchObjectError(f"There is no project {project_id}.")
            return [key_record(_new(project_id, kind, name, raw_key, now, **members), self._seal, now)]

        self.write(records)
        return self._read_back(raw_key)

    def _read_back(self, raw_key: str) -> Key:
        key = self.plane.key(raw_key)
        if key is None:
            raise ControlError("The key was written but cannot be read back; is another secret in use?")
        return key

    def _write(self, records: Callable[[int], list[Record]]) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._producer = self._producer or self._begun()
                self._catch_up()
                self._commit(self._producer, records(time.time_ns() // 1_000_000))
            except KafkaException as error:
                self._producer = None
                reason = error.args[0]
                if attempt < ATTEMPTS and (is_fatal(reason) or reason.txn_requires_abort()):
                    continue  # fenced by another writer, nothing was written: look again at what it wrote
                raise ControlError(f"The control plane could not be written: {reason.str()}.") from error
            self._catch_up()
            return

    def _begun(self) -> Producer:
        """A producer that has fenced every other writer."""
        producer = Producer(
            durable_producer_config(self._settings)
            | {
                "transactional.id": f"{control_topic(self._settings)}.writer",
                "transaction.timeout.ms": 10_000,
            }
        )
        producer.init_transactions(TIMEOUT)
        return producer

    def _commit(self, producer: Producer, records: list[Record]) -> None:
        encoded = [
            (record_key(record["kind"], record["id"]), codec("control_record").encode(record)) for record in records
        ]
        producer.begin_transaction()
        for key, value in encoded:
            producer.produce(control_topic(self._settings), key=key, value=value)
        producer.commit_transaction(TIMEOUT)

    def _catch_up(self) -> None:
        if not self.plane.catch_up(TIMEOUT):
            raise ControlError("The control plane could not be read to its end; is Kafka reachable?")


def _new(project_id: str, kind: KeyKind, name: str, raw_key: str, now: int, active: bool = True, **members: Any) -> Key:
    return Key(
        key_id(raw_key), project_id, kind, name, active=active, version=1, created_at=now, key=raw_key, **members
    )


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > NAME_MAX or not name.isprintable():
        raise InvalidNameError(f"The name {name[:80]!r} must be printable text of 1 to {NAME_MAX} characters.")
