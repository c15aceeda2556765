"""What the doctor says of what it has seen: each thing that is looked at is found wrong when it is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headwater.codec import codec
from headwater.doctor import clickhouse, event, groups, letters, machines, schemas, services, topics
from headwater.doctor.check import Check, failed, healthy, ok, remedies, skipped, warning
from headwater.doctor.groups import GroupSeen, Position
from headwater.doctor.letters import Letters
from headwater.doctor.machines import GIB, Clock, Disk
from headwater.doctor.services import Answers
from headwater.doctor.topics import Seen
from headwater.kafka import new_topic
from headwater.local.state import ServiceState, State
from headwater.offsets import Place
from headwater.settings import Settings
from headwater.topics import EVENTS, collection_topic, raw_topic

SETTINGS = Settings(raw_partitions=3, collection_partitions=2)
COLLECTION = collection_topic("headwater", "a" * 24, "orders")


def outcomes(checks: list[Check]) -> list[str]:
    return [check.outcome for check in checks if check.outcome != "ok"]


def only(checks: list[Check]) -> Check:
    (check,) = [check for check in checks if check.outcome != "ok"]
    return check


# The report


def test_what_to_do_is_said_once_and_the_worst_first() -> None:
    checks = [
        ok("a", "x"),
        warning("b", "x", "wait"),
        failed("c", "x", "run"),
        failed("c", "y", "run"),
        skipped("d", "x"),
    ]
    assert remedies(checks) == ["c: run", "b: wait"]
    assert not healthy(checks)
    assert healthy(checks[:2])


# Topics


def as_wanted(settings: Settings, replicas: int = 1) -> dict[str, Seen]:
    seen = {}
    for name, kind in {**topics.base_topics(settings), COLLECTION: EVENTS}.items():
        wanted = new_topic(settings, name, kind)
        every = [replicas] * wanted.num_partitions
        config = {"min.insync.replicas": "1"} | {key: str(value) for key, value in (wanted.config or {}).items()}
        seen[name] = Seen(config, every, every, [True] * wanted.num_partitions)
    return seen


def changed(topic: str, settings: Settings = SETTINGS, brokers: int = 1, each: int = 1, **changes: Any) -> list[Check]:
    seen = as_wanted(settings, each)
    config = {**seen[topic].config, **changes.pop("config", {})}
    seen[topic] = seen[topic]._replace(config=config, **changes)
    return topics.judge(settings, seen, brokers)


def test_topics_as_the_settings_want_them_are_fine() -> None:
    (check,) = topics.judge(SETTINGS, as_wanted(SETTINGS), 1)
    assert (check.outcome, check.said) == ("ok", "6 as the settings want them, 1 of collections among them")


RAW_NAME = raw_topic(SETTINGS)
HOUR = 3_600_000


@pytest.mark.parametrize(
    ("topic", "changes", "outcome", "said"),
    [
        (RAW_NAME, {"config": {"retention.ms": str(HOUR)}}, "failed", "retention.ms"),
        (RAW_NAME, {"config": {"retention.ms": "-1"}}, None, ""),
        (RAW_NAME, {"config": {"retention.ms": str(9_000 * HOUR)}}, None, ""),
        (RAW_NAME, {"config": {"cleanup.policy": "compact"}}, "failed", "cleanup.policy is compact"),
        (RAW_NAME, {"config": {"max.message.bytes": "1000"}}, "failed", "max.message.bytes"),
        (RAW_NAME, {"config": {"max.message.bytes": "99000000"}}, None, ""),
        ("headwater.state", {"config": {"cleanup.policy": "delete"}}, "failed", "cleanup.policy is delete"),
        ("headwater.state", {"replicas": [1] * 4, "in_sync": [1] * 4, "led": [True] * 4}, "failed", "4 partitions"),
        (RAW_NAME, {"replicas": [1] * 2, "in_sync": [1] * 2, "led": [True] * 2}, "failed", "2 partitions"),
        (COLLECTION, {"replicas": [1], "in_sync": [1], "led": [True]}, "warning", "1 partitions"),
        (COLLECTION, {"replicas": [1] * 9, "in_sync": [1] * 9, "led": [True] * 9}, None, ""),
        (RAW_NAME, {"led": [True, False, True]}, "failed", "no broker leads partition 1"),
    ],
)
def test_a_topic_that_is_not_as_wanted(topic: str, changes: dict[str, Any], outcome: str | None, said: str) -> None:
    checks = changed(topic, **changes)
    assert outcomes(checks) == ([outcome] if outcome else [])
    if outcome:
        assert said in only(checks).said
        assert only(checks).name == f"topic {topic}"


def test_replicas_that_are_missing() -> None:
    three = SETTINGS.model_copy(update={"replication_factor": 3, "min_insync_replicas": 2})
    assert outcomes(changed(RAW_NAME, three, 3, 3)) == []
    assert outcomes(changed(RAW_NAME, three, 3, 3, in_sync=[3, 2, 3])) == ["warning"]
    assert "takes no records" in only(changed(RAW_NAME, three, 3, 3, in_sync=[3, 1, 3])).said
    two = changed(RAW_NAME, three, 3, 3, replicas=[2] * 3, in_sync=[2] * 3)
    assert [check.said for check in two if "wants 3" in check.said] != []
    assert outcomes(changed(RAW_NAME, three, 3, 3, config={"min.insync.replicas": "1"})) == ["failed"]
    assert outcomes(changed(RAW_NAME, three, 3, 3, config={"min.insync.replicas": "3"})) == ["warning"]


def test_one_replica_is_enough_on_one_broker_only() -> None:
    checks = topics.judge(SETTINGS, as_wanted(SETTINGS), 3)
    assert outcomes(checks) == ["failed"] * 6
    assert "a lost disk loses events" in checks[1].said


def test_a_topic_that_does_not_exist() -> None:
    seen = as_wanted(SETTINGS)
    del seen[RAW_NAME]
    assert only(topics.judge(SETTINGS, seen, 1)).said == "does not exist"


# Schemas


@dataclass
class Record:
    """A record as confluent-kafka reads it."""

    name: str
    content: bytes | None
    own_key: bytes = b""

    def topic(self) -> str:
        return self.name

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 5

    def timestamp(self) -> tuple[int, int]:
        return 1, 1

    def key(self) -> bytes:
        return self.own_key

    def headers(self) -> None:
        return None

    def value(self) -> bytes | None:
        return self.content


WATERMARK = codec("watermark").encode({"offset": 1})
RAW_RECORD = codec("raw_event").encode({"project_id": "a" * 24, "collection": "c", "properties": "{}"})
UNKNOWN = b"\xc3\x01" + b"\x00" * 8 + RAW_RECORD[10:]


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (Record(RAW_NAME, RAW_RECORD), None),
        (Record(RAW_NAME, b'{"project_id": "a", "collection": "c", "properties": {}}'), None),
        (Record(RAW_NAME, b"{no json"), "envelope"),
        (Record(RAW_NAME, UNKNOWN), "unknown schema fingerprint"),
        (Record(COLLECTION, RAW_RECORD), "fingerprint"),
        (Record("headwater.state", WATERMARK, b"0/watermark"), None),
        (Record("headwater.state", WATERMARK, b"0/backfill"), None),
        (Record("headwater.state", WATERMARK, b"0/ids/7"), "fingerprint"),
        (Record("headwater.state", WATERMARK, b"0/no_such"), "no_such"),
        (Record("headwater.state", None, b"0/ids/7"), None),
        (Record("headwater.control", b"x"), "control_record"),
    ],
)
def test_a_record_that_cannot_be_read(record: Record, problem: str | None) -> None:
    checks = schemas.judge(SETTINGS, [record])  # type: ignore[list-item]
    assert outcomes(checks) == (["failed"] if problem else [])
    if problem:
        assert problem in only(checks).said


# Groups


COLLECTORS, PROCESSORS, HISTORY, SINKS = groups.stages(SETTINGS)
ONE, TWO = Place(COLLECTION, 0), Place(COLLECTION, 1)


@pytest.mark.parametrize(
    ("group", "outcome"),
    [
        (GroupSeen(0, "empty"), "failed"),
        (GroupSeen(0, "never used"), "failed"),
        (GroupSeen(1, "preparing_rebalance"), "warning"),
        (GroupSeen(1, "stable", frozenset({ONE})), "warning"),
        (GroupSeen(2, "stable", frozenset({ONE, TWO, Place("another", 0)})), "ok"),
    ],
)
def test_a_group_without_members_or_owners(group: GroupSeen, outcome: str) -> None:
    assert groups.judge_group(SINKS, group, [ONE, TWO]).outcome == outcome


@pytest.mark.parametrize(
    ("age", "members", "outcome"),
    [(None, 0, "ok"), (5.0, 1, "ok"), (5.0, 0, "failed"), (100.0, 1, "warning"), (100 * 3_600.0, 1, "failed")],
)
def test_lag_is_judged_by_its_age(age: float | None, members: int, outcome: str) -> None:
    positions = {ONE: Position(0, 10, 4), TWO: Position(0, 3, 3)}
    check = groups.judge_lag(SINKS, positions, {} if age is None else {ONE: age}, members)
    assert check.outcome == outcome
    assert check.said.startswith("6 records, the oldest" if age else "0 records in 2 partitions")


def test_how_long_producers_topics_are_kept_is_not_ours_to_say() -> None:
    positions = {ONE: Position(0, 10, 4)}
    assert groups.judge_lag(COLLECTORS, positions, {ONE: 1e9}, 1).outcome == "warning"


def test_lag_counts_what_is_kept() -> None:
    assert groups.lag(Position(5, 10, 2)) == 5
    assert groups.lag(Position(5, 10, None)) == 5
    assert groups.lag(Position(5, 10, 12)) == 0


def test_what_was_deleted_before_it_was_read_is_loud() -> None:
    assert groups.judge_lost(SINKS, {ONE: Position(5, 9, 5), TWO: Position(0, 9, None)}).outcome == "ok"
    lost = groups.judge_lost(SINKS, {ONE: Position(5, 9, 3), TWO: Position(4, 9, None)})
    assert lost.outcome == "failed"
    assert "UP TO 6 RECORDS ARE LOST" in lost.said
    assert groups.judge_lost(SINKS, {ONE: Position(5, 9, 4)}).outcome == "failed"


def test_one_offset_may_be_a_transactions_marker_where_transactions_write() -> None:
    assert groups.judge_lost(PROCESSORS, {ONE: Position(5, 9, 4)}).outcome == "warning"
    assert groups.judge_lost(PROCESSORS, {ONE: Position(5, 9, 3)}).outcome == "failed"
    assert groups.judge_lost(HISTORY, {ONE: Position(5, 9, 3)}).outcome == "failed"


# Machines


@pytest.mark.parametrize(
    ("free", "total", "outcome"),
    [
        (50 * GIB, 100 * GIB, "ok"),
        (60 * GIB, 1000 * GIB, "ok"),
        (4 * GIB, 100 * GIB, "warning"),
        (1 * GIB, 100 * GIB, "failed"),
        (GIB // 4, GIB, "failed"),
    ],
)
def test_a_disk_that_is_full(free: int, total: int, outcome: str) -> None:
    assert machines.judge_disk(Disk("d", free, total)).outcome == outcome


@pytest.mark.parametrize(
    ("read", "outcome", "said"),
    [
        (100.0, "ok", "agrees"),
        (102.0, "ok", "agrees"),
        (103.0, "ok", "1.0 s ahead"),
        (97.0, "warning", "3.0 s behind"),
        (105.0, "warning", "3.0 s ahead"),
        (300.0, "failed", "ahead"),
        (0.0, "failed", "behind"),
    ],
)
def test_a_clock_that_is_wrong(read: float, outcome: str, said: str) -> None:
    check = machines.judge_clock(Clock("c", read, 100.0, 102.0))
    assert check.outcome == outcome
    assert said in check.said


def test_a_clock_that_tells_whole_seconds_is_given_one() -> None:
    assert Clock("c", 99.0, 99.9, 99.9, precision=1.0).ahead == 0.0


def test_versions_that_differ() -> None:
    own = {"headwater": "1.0", "python": "3.11.7"}
    same, other = ("1.0", "3.11.7"), ("0.9", "3.11.7")
    assert outcomes(machines.judge_versions(own, {"http": same, "sink": same})) == []
    check = only(machines.judge_versions(own, {"http": same, "sink": other}))
    assert "sink 0.9; here it is 1.0" in check.said
    assert outcomes(machines.judge_versions(own, {})) == []


@pytest.mark.parametrize(
    ("told", "outcome"), [("26.9.2.1", "ok"), ("25.3", "ok"), ("24.8.1.1", "failed"), ("odd", "ok")]
)
def test_a_clickhouse_that_is_too_old(told: str, outcome: str) -> None:
    assert machines.judge_clickhouse(told).outcome == outcome


def test_a_clickhouse_that_is_away_is_named_without_its_password() -> None:
    check = clickhouse.unreachable("http://default:sesame@db:8123", "refused")
    assert "db:8123" in check.said
    assert "sesame" not in str(check)


def test_a_data_directory_that_is_not_here_has_no_disk(tmp_path: Path) -> None:
    assert machines.data_disk(tmp_path / "no") is None
    assert machines.data_disk(tmp_path) is not None


# Services, dead letters, the test event


def test_services_that_are_away_or_not_ready() -> None:
    state = State(1, 1.0, "http://x", "k", "c", "s", services={"sink": ServiceState(1, True, 2, 1, 1.0)})
    said = {
        "away": Answers(None, "timed out"),
        "http": Answers(503, "Kafka does not answer"),
        "sink": Answers(200, "ok"),
        "processor-1": Answers(200, "ok"),
    }
    checks = services.judge(said, state)
    assert [check.outcome for check in checks] == ["failed", "failed", "warning", "ok"]
    assert "Kafka does not answer" in checks[1].said
    assert "started again 2 times" in checks[2].said
    assert [check.outcome for check in services.judge({}, None)] == ["skipped"]


def test_what_a_service_never_got_to_read_is_loud() -> None:
    checks = services.judge({"sink": Answers(200, "ok", lost=7)}, None)
    assert [check.outcome for check in checks] == ["ok", "failed"]
    assert "7 OFFSETS ARE LOST" in checks[1].said


def test_the_reasons_of_a_service_that_is_not_ready_are_one_line() -> None:
    assert (
        services.reasons("not ready\nKafka does not answer\ninserts fail, for 7 s\n")
        == "Kafka does not answer; inserts fail, for 7 s"
    )
    assert services.reasons("not ready\n") == ""


def test_dead_letters_are_counted_by_reason() -> None:
    assert letters.judge(Letters({}, 0.0, True), 100.0).outcome == "ok"
    check = letters.judge(Letters({("sink", "too_large"): 1, ("processor", "unreadable"): 2}, 40.0, False), 100.0)
    assert check.outcome == "warning"
    assert check.said == "at least 3: 2 unreadable (processor), 1 too_large (sink); the newest 60.0 s ago"


def test_the_test_event_says_where_it_stopped() -> None:
    times = {hop: 1.0 + number for number, hop in enumerate(event.HOPS)}
    assert event.judge(event.Journey(times)).outcome == "ok"
    for number, hop in enumerate(event.HOPS):
        journey = event.Journey(dict(list(times.items())[:number]), "within 5 s")
        check = event.judge(journey)
        assert check.outcome == "failed"
        assert f"not {hop}: within 5 s" in check.said
        assert check.remedy == event.REMEDIES[hop]
