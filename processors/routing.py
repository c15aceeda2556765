"""Where events go: each collection has its own topic, created before its first record, up to a cap per project."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from headwater import topics
from headwater.control import ControlPlane
from headwater.identity import id_salt
from headwater.kafka import client_config, create_topics, new_topic, wait_until_writable
from headwater.rules import RuleError, check_collection_name
from headwater.settings import Settings
from processors.datums import text
from processors.dead_letters import RefusedError
from processors.repetitions import LOOKED_FOR

REFUSED_SECONDS = 5.0  # how long a refusal holds before project or cap are looked at again
REFUSED_KEPT = 10_000
KAFKA_SECONDS = 10.0
CATCH_UP_SECONDS = 2.0

log = structlog.get_logger("headwater.processors")

Key = tuple[str, str]  # project and collection


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """A collection's topic, how its events' datums begin, and what tells its ids from those of others."""

    project_id: str
    collection: str
    topic: str
    prefix: bytes
    salt: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why events of a collection cannot be routed, and until when (monotonic seconds) that is believed."""

    error: RefusedError
    until: float


class Routes:
    """The routes known to this worker. `known` and `forget` never block; `resolve` does."""

    def __init__(self, settings: Settings, control: ControlPlane, prefix: bytes) -> None:
        """`prefix` is what every event's record starts with, before the project."""
        self._settings = settings
        self._control = control
        self._prefix = prefix
        self._admin = self._new_admin()
        self._routes: dict[Key, Route] = {}
        self._refused: dict[Key, Refusal] = {}

    def known(self, key: Key) -> Route | RefusedError | None:
        """The route, why there is none, or None: then `resolve` has to find out."""
        route = self._routes.get(key)
        if route is not None:
            return route
        refusal = self._refused.get(key)
        return refusal.error if refusal is not None and refusal.until > time.monotonic() else None

    def looked_for(self, project_id: str) -> int:
        """Which events of a project are repetitions where their id came before: those whose `given` is this or more."""
        project = self._control.project(project_id)
        return LOOKED_FOR["untimed" if project is None else project.settings.ids_window]

    def forget(self) -> None:
        """Look at every topic again before its next record: one may have been deleted."""
        self._routes = {}

    def resolve(self, keys: Iterable[Key]) -> None:
        """Find or create the topics of these collections; `known` has an answer for each afterwards.

        Blocks. Raises KafkaException when Kafka cannot be asked.
        """
        wanted = {}
        for project_id, collection in keys:
            try:
                self._check(project_id, collection)
            except RefusedError as error:
                self._refuse((project_id, collection), error)
            else:
                wanted[project_id, collection] = topics.collection_topic(
                    self._settings.topic_prefix, project_id, collection
                )
        try:
            if wanted:
                self._find_or_create(wanted)
        except KafkaException:
            self._admin = self._new_admin()  # one that has lost its brokers may not find them again
            raise

    def _new_admin(self) -> AdminClient:
        return AdminClient(client_config(self._settings) | {"log_level": 2})

    def _find_or_create(self, wanted: dict[Key, str]) -> None:
        existing = self._existing()
        new = {}
        for key, topic in sorted(wanted.items()):
            theirs = existing.setdefault(key[0], set())
            if topic not in theirs:
                if len(theirs) >= self._settings.max_collections:
                    message = (
                        f"project {key[0]} has {len(theirs)} collections; "
                        f"HEADWATER_MAX_COLLECTIONS allows {self._settings.max_collections}"
                    )
                    self._refuse(key, RefusedError("too_many_collections", message))
                    continue
                theirs.add(topic)
                new[key] = topic
        create_topics(
            self._settings,
            [new_topic(self._settings, topic, topics.EVENTS) for topic in new.values()],
            KAFKA_SECONDS,
        )
        found = [topic for key, topic in wanted.items() if topic in existing[key[0]] and key not in new]
        wait_until_writable(self._settings, found, KAFKA_SECONDS)  # another worker may have made them a moment ago
        for key in new:
            log.info("collection has its topic", project_id=key[0], collection=key[1], topic=new[key])
        for (project_id, collection), topic in wanted.items():
            if topic in existing[project_id]:
                prefix = self._prefix + text(project_id) + text(collection)
                self._routes[project_id, collection] = Route(
                    project_id, collection, topic, prefix, id_salt(project_id, collection)
                )

    def _check(self, project_id: str, collection: str) -> None:
        if self._control.project(project_id) is None:
            if not self._control.catch_up(CATCH_UP_SECONDS):  # no verdict on what cannot be known now
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the control topic cannot be read to its end"))
            if self._control.project(project_id) is None:
                raise RefusedError("unknown_project", f"there is no project {project_id[:100]!r}")
        try:
            check_collection_name(collection)
        except RuleError as error:
            raise RefusedError("invalid_event", str(error)) from None

    def _existing(self) -> dict[str, set[str]]:
        """The topics of collections by project, from the broker."""
        head = f"{self._settings.topic_prefix}.events."
        found: dict[str, set[str]] = {}
        for topic in self._admin.list_topics(timeout=KAFKA_SECONDS).topics:
            if topic.startswith(head):
                found.setdefault(topic[len(head) :].split(".", 1)[0], set()).add(topic)
        return found

    def _refuse(self, key: Key, error: RefusedError) -> None:
        if len(self._refused) >= REFUSED_KEPT:
            self._refused.clear()
        self._refused[key] = Refusal(error, time.monotonic() + REFUSED_SECONDS)
