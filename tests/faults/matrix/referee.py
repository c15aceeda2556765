"""The referee: compares the ledger with ClickHouse, with the live figures, and with the topics.

PASS: all agree. MISMATCH: they do not, or did not come to rest in time. ERROR: it could not be found out; neither of the two.
The clients that it asks with go straight to Kafka and ClickHouse, not the ways that faults break.
"""

import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import clickhouse_connect
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from headwater.aggregates import parse_key
from headwater.codec import CodecError, codec
from headwater.control import Project
from headwater.follower import Follower
from headwater.kafka import client_config, intake_group, partition_reader_config, sink_group, what_comes
from headwater.settings import Settings
from headwater.topics import (
    backfill_topic,
    collection_topic,
    dead_letters_topic,
    in_topic,
    raw_topic,
    state_topic,
)
from tests.faults.matrix.ledger import COLLECTIONS, Ledger
from tests.local_http import HTTP

REST_SECONDS = 120.0
LIVE_SECONDS = 20.0
ASK_SECONDS = 10.0
PASS, MISMATCH, ERROR = "PASS", "MISMATCH", "ERROR"

Place = tuple[str, int, int]  # topic, partition, offset


@dataclass(frozen=True)
class Marks:
    """Where the topics ended when a run began, by topic and partition."""

    ends: Mapping[tuple[str, int], int]


@dataclass(frozen=True)
class Account:
    """What one project is held to: its ledger, and whether the live figures count an id once or every raw record."""

    name: str
    project: Project
    ledger: Ledger
    once: bool
    written: bool = False  # to topics of its own, from which collectors take it


@dataclass
class Known:
    """What a fault did that the verdict has to know of."""

    unprocessed: set[str] = field(default_factory=set)  # ids that Kafka was told to delete before they were processed
    uncounted: set[str] = field(
        default_factory=set
    )  # and that were put out all the same, by who ended before it counted them
    unstored: set[str] = field(default_factory=set)  # and before they were stored
    deleted: dict[tuple[str, str], Counter[str]] = field(
        default_factory=dict
    )  # ids that were deleted when they were processed
    poison: set[Place] = field(default_factory=set)  # records that have to be dead letters
    strange: set[str] = field(default_factory=set)  # ids of poison that can be read


@dataclass
class Check:
    """A verdict; `differences` say what does not agree, or why there is no verdict."""

    outcome: str
    differences: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


class RestError(Exception):
    """The pipeline has not come to rest; the message says what is not done."""


class Referee:
    """Judges runs of one stack. Not for several threads."""

    def __init__(self, settings: Settings, url: str) -> None:
        self._settings, self._url = settings, url
        self._watermarks: dict[tuple[str, int], int] = {}
        self._follower = Follower(settings, state_topic(settings), self._take)
        self._follower.start()
        self._clickhouse = clickhouse_connect.get_client(
            dsn=settings.clickhouse, autogenerate_session_id=False, connect_timeout=5, send_receive_timeout=30
        )

    def close(self) -> None:
        """Stop."""
        self._follower.stop()
        self._clickhouse.close()

    def begin(self) -> Marks:
        """Where the topics end now. Raises KafkaException."""
        topics = raw_topic(self._settings), backfill_topic(self._settings), dead_letters_topic(self._settings)
        with closing(self._consumer()) as consumer:
            return Marks({place: end for topic in topics for place, end in _ends(consumer, topic).items()})

    def visible(self, project: Project, below: int) -> int:
        """How many events of a project with a number below this one ClickHouse has. Raises ClickHouseError."""
        asked = [self._table(project, name, f"countIf(properties.n.:Int64 < {below})") for name in COLLECTIONS]
        return sum(rows[0][0] for rows in asked if rows)

    def check(
        self, marks: Marks, accounts: list[Account], known: Known | None = None, rest_seconds: float = REST_SECONDS
    ) -> Check:
        """The verdict on a run that has ended."""
        try:
            return self._check(marks, accounts, known or Known(), rest_seconds)
        except RestError as error:
            return Check(MISMATCH, [f"not at rest within {rest_seconds:g} s: {error}"])
        except Exception as error:  # whatever it is, nothing has been found out
            return Check(ERROR, [f"{type(error).__name__}: {error}"[:1000]])

    def _check(self, marks: Marks, accounts: list[Account], known: Known, rest_seconds: float) -> Check:
        deadline = time.monotonic() + rest_seconds
        self._rest(deadline, lambda: self._not_taken_in(accounts))
        raw, poison, last = self._raw(marks, accounts)
        for key, ids in known.deleted.items():
            raw[key] += ids
        self._rest(deadline, lambda: self._waits(accounts, last))
        differences: list[str] = []
        events = resent = 0
        for account in accounts:
            for collection in COLLECTIONS:
                ids = raw[account.project.id, collection]
                differences += self._differences(account, collection, ids, known)
                events, resent = events + len(ids), resent + ids.total() - len(ids)
        poison |= known.poison
        while poison - (given_up := self._given_up(marks)).keys() and time.monotonic() < deadline:
            time.sleep(0.2)
        own = {account.project.id for account in accounts}
        mine = {place for place, owner in given_up.items() if owner in own and place not in poison}
        if mine:
            differences.append(f"{len(mine)} events of the ledger's projects are dead letters")
        if missing := poison - given_up.keys():
            differences.append(f"{len(missing)} records are neither events nor dead letters: {sorted(missing)[:3]}")
        figures = {"events": events, "sent again": resent, "dead letters": len(given_up)}
        return Check(MISMATCH if differences else PASS, differences, figures)

    def _differences(self, account: Account, collection: str, raw: Counter[str], known: Known) -> list[str]:
        """What does not agree in one collection; `raw` are the ids in the raw topic."""
        found, name = [], f"{account.name}/{collection}"
        entries = [e for e in account.ledger.entries if e.collection == collection and e.id not in known.unprocessed]
        ids = {entry.id for entry in entries}
        if lost := ids - raw.keys():
            found.append(f"{name}: {len(lost)} events were answered with success and are not in the raw topic")
        if strange := raw.keys() - ids:
            found.append(f"{name}: {len(strange)} events of the raw topic are not in the ledger")
        put_out = self._put_out(account.project, collection) - known.strange
        if put_out - ids or (ids - put_out and not known.unstored):
            found.append(f"{name}: its topic lacks {len(ids - put_out)} events and has {len(put_out - ids)} others")
        wanted = [entry for entry in entries if entry.id not in known.unstored]
        columns, total = "count(), uniqExact(id), sum(properties.n.:Int64)", sum(entry.number for entry in wanted)
        stored = (self._table(account.project, collection, columns) or [(0, 0, 0)])[0]
        expected = (len(wanted), len({entry.id for entry in wanted}), total)
        if stored != expected:
            found.append(f"{name}: ClickHouse has (count, ids, sum) {stored} in place of {expected}")
        answered = self._answered(account.project, collection)
        if answered != (len(wanted), total):
            found.append(f"{name}: the API answers (count, sum) {answered} in place of {(len(wanted), total)}")
        counted = (len(ids) if account.once else raw.total()) - len(known.uncounted & ids)
        deadline = time.monotonic() + LIVE_SECONDS
        while (live := self._live(account.project, collection)) != counted:
            if time.monotonic() > deadline or live > counted:
                found.append(f"{name}: the live figures have {live} events in place of {counted}")
                break
            time.sleep(0.2)
        return found

    # The topics

    def _raw(
        self, marks: Marks, accounts: list[Account]
    ) -> tuple[dict[tuple[str, str], Counter[str]], set[Place], dict[tuple[str, int], int]]:
        """Of the run's raw records: how often each id came, by collection; what is no event of ours; the last offsets."""
        found = {(a.project.id, collection): Counter[str]() for a in accounts for collection in COLLECTIONS}
        poison: set[Place] = set()
        last: dict[tuple[str, int], int] = {}
        for topic in (raw_topic(self._settings), backfill_topic(self._settings)):
            for message in self._read(topic, marks):
                topic_, partition, offset = _place(message)
                last[topic_, partition] = offset
                try:
                    record = codec("raw_event").decode(message.value() or b"")
                    found[record["project_id"], record["collection"]][record["id"]] += 1
                except (CodecError, KeyError):
                    poison.add((topic_, partition, offset))
        return found, poison, last

    def _put_out(self, project: Project, collection: str) -> set[str]:
        """The ids in a collection's topic."""
        topic = collection_topic(self._settings.topic_prefix, project.id, collection)
        found = set()
        for message in self._read(topic, Marks({})):
            try:
                found.add(str(codec("event").decode(message.value() or b"")["id"]))
            except CodecError:
                continue  # poison: the dead letters have it
        return found

    def _given_up(self, marks: Marks) -> dict[Place, str | None]:
        """Where the run's dead letters came from, and the project that each names."""
        found: dict[Place, str | None] = {}
        for message in self._read(dead_letters_topic(self._settings), marks):
            try:
                letter = codec("dead_letter").decode(message.value() or b"")
            except CodecError:
                continue
            found[letter["topic"], letter["partition"], letter["offset"]] = letter["project_id"]
        return found

    def _read(self, topic: str, marks: Marks) -> list[Message]:
        """A topic's committed records from the marks, else the beginning, to the end."""
        with closing(self._consumer()) as consumer:
            places = [
                TopicPartition(topic, partition, max(first, marks.ends.get((topic, partition), 0)))
                for (_, partition), (first, end) in _bounds(consumer, topic).items()
                if end > max(first, marks.ends.get((topic, partition), 0))
            ]
            if not places:
                return []
            consumer.assign(places)
            open_, records = {place.partition for place in places}, []
            while open_:
                for message in what_comes(consumer, 10_000, 0.1):
                    error = message.error()
                    if error is None:
                        records.append(message)
                    elif error.code() == KafkaError._PARTITION_EOF:
                        open_.discard(message.partition())
                    else:
                        raise KafkaException(error)
            return records

    def _rest(self, deadline: float, waits: Callable[[], Exception | None]) -> None:
        """Return when nothing is left to wait for; raises what is, at the deadline."""
        while (left := waits()) is not None:
            if time.monotonic() > deadline:
                raise left
            time.sleep(0.1)

    def _not_taken_in(self, accounts: list[Account]) -> Exception | None:
        """What collectors have not taken from producers' topics, as `_waits` says it."""
        topics = [
            in_topic(self._settings.topic_prefix, account.project.id, name)
            for account in accounts
            if account.written
            for name in COLLECTIONS
        ]
        return self._behind(intake_group(self._settings), topics, "taken in")

    def _waits(self, accounts: list[Account], last: Mapping[tuple[str, int], int]) -> Exception | None:
        """What processors and sinks have not done, as a RestError, or why it cannot be told; None where all is done."""
        if not self._follower.catch_up(ASK_SECONDS):
            return TimeoutError("the state topic cannot be read")
        kinds = {raw_topic(self._settings): "watermark", backfill_topic(self._settings): "backfill"}
        for (topic, partition), offset in last.items():
            settled = self._watermarks.get((kinds[topic], partition), -1)
            if settled < offset:
                return RestError(f"{topic}/{partition} is processed to {settled} of {offset}")
        topics = [
            collection_topic(self._settings.topic_prefix, account.project.id, name)
            for account in accounts
            for name in COLLECTIONS
        ]
        return self._behind(sink_group(self._settings), topics, "stored")

    def _behind(self, group: str, topics: list[str], done: str) -> Exception | None:
        """Where a group has not committed a topic's end, as a RestError, or why it cannot be told; None where it has."""
        with closing(Consumer(client_config(self._settings) | {"group.id": group})) as consumer:
            for topic in topics:
                try:
                    ends = _ends(consumer, topic)
                    asked = [TopicPartition(*place) for place in ends]
                    known = consumer.committed(asked, timeout=ASK_SECONDS) if asked else []
                except KafkaException as error:
                    return error
                for place in known:
                    end = ends[place.topic, place.partition]
                    if max(place.offset, 0) < end:
                        return RestError(f"{place.topic}/{place.partition} is {done} to {place.offset} of {end}")
        return None

    def _consumer(self) -> Consumer:
        return Consumer(partition_reader_config(self._settings, f"referee-{uuid.uuid4()}"))

    def _take(self, message: Message) -> None:
        key, value = message.key(), message.value()
        parsed = parse_key(key or b"")
        if parsed.kind in ("watermark", "backfill") and value is not None:
            self._watermarks[parsed.kind, parsed.partition] = codec("watermark").decode(value)["offset"]

    # ClickHouse and the API

    def _table(self, project: Project, collection: str, columns: str) -> list[tuple[Any, ...]]:
        """A SELECT over a collection's table; no rows where there is no table."""
        sql = f"SELECT {columns} FROM `headwater_{project.id}`.`{collection}` FINAL"
        try:
            return [tuple(row) for row in self._clickhouse.query(sql).result_rows]
        except clickhouse_connect.driver.exceptions.DatabaseError as error:
            if error.code in (60, 81):
                return []
            raise

    def _answered(self, project: Project, collection: str) -> tuple[int, int]:
        """What the API answers for how many events there are, and the sum of their numbers."""
        address = f"{self._url}/3.0/projects/{project.id}/queries"
        results = []
        for analysis, more in (("count", {}), ("sum", {"target_property": "n"})):
            question = {"event_collection": collection, "timeframe": "this_2_days"} | more
            answer = HTTP.post(
                f"{address}/{analysis}", json=question, headers={"Authorization": project.read_key}, timeout=30
            )
            answer.raise_for_status()
            results.append(int(answer.json()["result"] or 0))
        return results[0], results[1]

    def _live(self, project: Project, collection: str) -> int:
        answer = HTTP.get(
            f"{self._url}/3.0/projects/{project.id}/live", headers={"Authorization": project.read_key}, timeout=30
        )
        answer.raise_for_status()
        return int(answer.json()["collections"].get(collection, {}).get("events", 0))


def _bounds(consumer: Consumer, topic: str) -> dict[tuple[str, int], tuple[int, int]]:
    """Where each partition of a topic begins and ends; none where there is no topic."""
    known = consumer.list_topics(topic, timeout=ASK_SECONDS).topics[topic]
    if known.error is not None and known.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        return {}
    return {
        (topic, number): consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=ASK_SECONDS)
        for number in known.partitions
    }


def _ends(consumer: Consumer, topic: str) -> dict[tuple[str, int], int]:
    return {place: end for place, (_, end) in _bounds(consumer, topic).items()}


def _place(message: Message) -> Place:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    return topic, partition, offset
