"""The control plane in memory, followed as Kafka Connect follows its own."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import structlog
from confluent_kafka import Message

from headwater.control.deletions import Deletions
from headwater.control.model import ControlError, Key, Project, SecretMismatchError
from headwater.control.records import ControlState, Record
from headwater.control.seal import Seal
from headwater.follower import Follower
from headwater.settings import Settings
from headwater.topics import control_topic

SERVICE_START_SECONDS = 10.0
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
        self._follower = Follower(settings, self._topic, self._take)
        self._stopping = threading.Event()
        self._asking = threading.Lock()
        self._asked_at = 0.0

    def start(self, timeout: float = 30.0) -> None:
        """Start following and block until the topic's end is reached; creates the base topics where they are missing.

        Raises ControlError when that takes longer than `timeout` seconds (following goes on in the background until
        `stop`), and SecretMismatchError when none of the stored keys can be decrypted.
        """
        self._follower.start()
        if not self._follower.wait(timeout):
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
        self._follower.stop()

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Follow for as long as the context lasts, as a service does that starts without Kafka too.

        Entering blocks until the topic's end is reached, or SERVICE_START_SECONDS: then the log says why, and following
        goes on in the background. Raises SecretMismatchError.
        """
        try:
            try:
                self.start(SERVICE_START_SECONDS)
            except SecretMismatchError:
                raise
            except ControlError as error:
                log.warning("not ready yet", reason=str(error))
            yield self
        finally:
            self.stop()

    @property
    def caught_up(self) -> bool:
        """Whether the topic's end has been reached once."""
        return self._follower.caught_up

    def problems(self) -> list[str]:
        """What keeps a service from its work that needs to know projects and keys: a line where they have not been read yet."""
        return [] if self.caught_up else [f"projects and keys have not been read yet from topic {self._topic}"]

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

    def master_keys(self, project_id: str) -> list[Key]:
        """The master keys of a project, revoked ones too."""
        found = (self._state.keys.get(identity) for identity in self._state.masters.get(project_id, ()))
        return [key for key in found if key is not None]

    @property
    def deletions(self) -> Deletions:
        """All deletions, from memory."""
        return self._state.deletions

    def records(self, kind: str) -> list[Record]:
        """The newest record of every object of a kind."""
        return [record for (found, _), record in list(self._state.records.items()) if found == kind]

    def record(self, kind: str, id: str) -> Record | None:  # noqa: A002 - the schema's name for it
        """An object's newest record, of whatever kind."""
        return self._state.records.get((kind, id))

    def catch_up(self, timeout: float = 1.0) -> bool:
        """Block until all is read that was written before this call; False when `timeout` seconds did not do.

        However many threads ask, Kafka is asked for the topic's end once in CATCH_UP_INTERVAL.
        """
        called_at = time.monotonic()
        deadline = called_at + timeout
        if not self._follower.wait(timeout) or not self._asking.acquire(timeout=max(0.0, deadline - time.monotonic())):
            return False
        try:
            if self._asked_at < called_at:
                wait = self._asked_at + CATCH_UP_INTERVAL - time.monotonic()
                if wait > 0 and self._stopping.wait(min(wait, timeout)):
                    return False
                asked_at = time.monotonic()
                if not self._follower.catch_up(deadline - asked_at):
                    return False
                self._asked_at = asked_at
        finally:
            self._asking.release()
        return True

    def _take(self, message: Message) -> None:
        readable = not self._state.sealed_out
        self._state.apply(message.key(), message.value())
        if readable and self._state.sealed_out:  # said once: with a wrong secret it is so for every key
            log.error(
                "stored keys cannot be decrypted and are not valid here: HEADWATER_SECRET is not what they were written under",
                topic=self._topic,
                offset=message.offset(),
            )
