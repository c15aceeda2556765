"""All checks of a deployment. None waits for another but those that ask Kafka, once it is known to answer; each has a limit."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from confluent_kafka import KafkaException

from headwater.dead_letters import DeadLettersError
from headwater.doctor import clickhouse, event, groups, kafka, letters, schemas, services, topics
from headwater.doctor.check import Check, failed, skipped
from headwater.doctor.machines import data_disk, here, judge_clickhouse, judge_clock, judge_disk, judge_versions
from headwater.local.state import State
from headwater.offsets import Offsets, reason
from headwater.query.errors import QueryError
from headwater.scanning import Scanner
from headwater.settings import Settings

ANSWER_SECONDS = 5.0  # of one question to Kafka
FIRST_SECONDS = 8.0  # of the checks that only ask whether something answers
LIMIT_SECONDS = 15.0  # of those that ask Kafka several questions
EVENT_SECONDS = 20.0

Look = Callable[[], list[Check]]


@dataclass(frozen=True)
class Deployment:
    """What is to be looked at: `services` by name and URL, `state` of the local stack where there is one; `target` is where a test
    event goes, None without keys. `event_seconds` is how long it may take, None for no test event."""

    settings: Settings
    services: Mapping[str, str] = field(default_factory=dict)
    state: State | None = None
    target: event.Target | None = None
    event_seconds: float | None = EVENT_SECONDS
    kafka_version: str | None = None  # of our own


def examine(deployment: Deployment) -> list[Check]:
    """Look at everything. Blocks for as long as the slowest checks, FIRST_SECONDS, LIMIT_SECONDS and the test event's time at most."""
    examiner = _Examiner(deployment)
    found = examiner.together(
        {
            "Kafka": examiner.kafka,
            "ClickHouse": examiner.clickhouse,
            "services": examiner.services,
            "disk": examiner.disk,
        },
        FIRST_SECONDS,
    )
    if examiner.cluster is None:
        names = ("topics", "schemas", "groups and lags", "dead letters")
        return [
            *found,
            *(skipped(name, "Kafka does not answer") for name in names),
            *examiner.without_event("Kafka does not answer"),
        ]
    looks: dict[str, Look] = {
        "topics": examiner.topics,
        "schemas": examiner.schemas,
        "groups": examiner.groups,
        "dead letters": examiner.letters,
    }
    if deployment.event_seconds is not None:
        looks["clock of Kafka"] = examiner.clock
    return [*found, *examiner.together(looks, LIMIT_SECONDS), *examiner.event()]


class _Examiner:
    """The checks, over what they ask. Each returns what it found; one that raises, or takes too long, has failed."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._settings = deployment.settings
        self.cluster: kafka.Cluster | None = None

    def kafka(self) -> list[Check]:
        try:
            self.cluster = kafka.look(self._settings)
        except KafkaException as error:
            return [kafka.unreachable(self._settings, error)]
        return [kafka.judge(self._settings, self.cluster, self._deployment.kafka_version)]

    def clickhouse(self) -> list[Check]:
        url = self._settings.clickhouse
        try:
            server = clickhouse.look(url)
        except QueryError as error:
            return [clickhouse.unreachable(url, str(error))]
        return [judge_clickhouse(server.version), judge_clock(server.clock), *map(judge_disk, server.disks)]

    def services(self) -> list[Check]:
        answers = services.ask_all(self._deployment.services)
        builds = {name: each.build for name, each in answers.items() if each.build is not None}
        clocks = [judge_clock(each.clock) for each in answers.values() if each.clock is not None]
        return [*services.judge(answers, self._deployment.state), *clocks, *judge_versions(here(), builds)]

    def disk(self) -> list[Check]:
        disk = data_disk(self._settings.data_dir)
        return [judge_disk(disk)] if disk else []

    def topics(self) -> list[Check]:
        assert self.cluster is not None
        return topics.judge(self._settings, topics.look(self._settings), self.cluster.brokers)

    def schemas(self) -> list[Check]:
        assert self.cluster is not None
        scanner = Scanner(self._settings, Offsets(self._settings, ANSWER_SECONDS))
        return schemas.judge(self._settings, schemas.look(self._settings, scanner, self.cluster.partitions))

    def groups(self) -> list[Check]:
        assert self.cluster is not None
        partitions = self.cluster.partitions
        offsets = Offsets(self._settings, ANSWER_SECONDS)
        scanner = Scanner(self._settings, offsets)
        seen = groups.look_at_groups(self._settings)
        positions = groups.look_at_positions(self._settings, offsets, scanner, partitions)
        found: list[Check] = []
        asked: set[str] = set()
        for stage, read in zip(groups.stages(self._settings), positions, strict=True):
            group = seen[stage.group]
            if stage.name == "collectors" and not read:
                continue  # most deployments have no topic of a producer
            if stage.group not in asked:
                found.append(groups.judge_group(stage, group, read))
            asked.add(stage.group)
            found.append(groups.judge_lag(stage, read, groups.ages(scanner, read), group.members))
            found.append(groups.judge_lost(stage, read))
        return found

    def letters(self) -> list[Check]:
        try:
            return [letters.judge(letters.look(self._settings), time.time())]
        except DeadLettersError as error:
            return [failed("dead letters", str(error), "see the checks of Kafka and its topics")]

    def clock(self) -> list[Check]:
        return [judge_clock(kafka.read_clock(self._settings))]

    def event(self) -> list[Check]:
        """The test event, alone: it is timed."""
        target, limit = self._deployment.target, self._deployment.event_seconds
        if limit is None:
            return self.without_event("--no-test-event")
        if target is None:
            return self.without_event(
                "no project with keys is known",
                "set HEADWATER_URL, HEADWATER_PROJECT_ID and HEADWATER_MASTER_KEY, or HEADWATER_SECRET",
            )

        def look() -> list[Check]:
            journey = event.send(self._settings, target, limit)
            return [event.judge(journey), *map(judge_clock, journey.clocks)]

        return self.together({"test event": look}, limit + FIRST_SECONDS)

    def without_event(self, why: str, remedy: str | None = None) -> list[Check]:
        """That no test event was sent."""
        return [skipped("test event", f"not sent: {why}", remedy)]

    def together(self, looks: Mapping[str, Look], limit: float) -> list[Check]:
        """What several checks found, in their order. They run at the same time, and none holds the others up."""
        answers: queue.SimpleQueue[tuple[str, list[Check]]] = queue.SimpleQueue()

        def run(name: str, look: Look) -> None:
            try:
                answers.put((name, look()))
            except KafkaException as error:
                answers.put((name, [failed(name, f"Kafka: {reason(error)}", "see the checks of Kafka and its topics")]))
            except Exception as error:  # whatever it is, the other checks are to be seen
                remedy = "this is a fault of the check itself: please report it"
                answers.put((name, [failed(name, f"{type(error).__name__}: {error}", remedy)]))

        for name, look in looks.items():
            threading.Thread(target=run, args=(name, look), name=f"doctor-{name}", daemon=True).start()
        found: dict[str, list[Check]] = {}
        deadline = time.monotonic() + limit
        while len(found) < len(looks) and (left := deadline - time.monotonic()) > 0:
            try:
                name, checks = answers.get(timeout=left)
            except queue.Empty:
                break
            found[name] = checks
        return [
            check
            for name in looks
            for check in found.get(
                name, [failed(name, f"no answer within {limit:g} s", "see whether it hangs, or the network is cut")]
            )
        ]


def service_urls(
    state: State | None, settings: Settings, given: Iterable[tuple[str, str]], host: str
) -> dict[str, str]:
    """Where the services are asked: those that are given, those of the local stack, else the HTTP service of the settings."""
    found = dict(given)
    if state is not None:
        own = {
            name: f"http://{host}:{each.port}"
            for name, each in state.services.items()
            if name not in ("kafka", "clickhouse")
        }
        return own | {"http": state.url} | found
    return ({"http": settings.url} if settings.url else {}) | found
