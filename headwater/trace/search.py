"""Looking for one event wherever it may be, the narrow places first.

A row in ClickHouse says when the event was received, so the raw topic is read around that time only. An event without a user
has its id as its key, and so one partition. Where neither helps, the raw topic is read from `since` on, or from its beginning.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Literal

from confluent_kafka import KafkaException, Message

from headwater import topics
from headwater.aggregates import MINUTE, parse_key
from headwater.codec import CodecError, codec
from headwater.control import ControlError, ControlPlane, Deletion
from headwater.dead_letters import DeadLettersError, Ledger
from headwater.dead_letters.reading import enter, is_outcome, letter_of, read_records
from headwater.identity import ID_BYTES, id_digest, id_salt
from headwater.kafka import intake_group, sink_group
from headwater.offsets import Offsets, Place, reason
from headwater.query.errors import QueryError
from headwater.scanning import Progress, Scanner, Searched, quiet
from headwater.settings import Settings, SettingsError
from headwater.trace.found import Found, Waiting
from headwater.trace.matching import RawMatch, Wanted, is_letter_of, read_put, waiting_id
from headwater.trace.table import Table

REACH_SECONDS = 3.0  # a Kafka that is away is said soon
ANSWER_SECONDS = 10.0
CONTROL_SECONDS = 20.0
AROUND = 5 * MINUTE  # clocks differ, and a record waits for others on its way to Kafka
RAW_KINDS: tuple[tuple[Literal["watermark", "backfill"], Callable[[Settings], str]], ...] = (
    ("watermark", topics.raw_topic),
    ("backfill", topics.backfill_topic),
)


def trace(
    settings: Settings,
    project_id: str,
    given: str,
    *,
    collection: str | None = None,
    since: int | None = None,
    progress: Progress = quiet,
) -> Found:
    """What is to be found of an event, by its id or by what its client calls it.

    `since` (milliseconds since 1970 UTC) bounds how far back topics are read. Blocks for as long as Kafka and ClickHouse take;
    what one of them does not answer is in `Found.failed`. Raises KafkaException where Kafka cannot be reached at all.
    """
    wanted = Wanted.of(project_id, given)
    search = _Search(settings, wanted, collection, since, progress)
    search.run()
    return search.found


class _Search:
    """One search. Its steps fill `found`, each with what the ones before it know."""

    def __init__(
        self, settings: Settings, wanted: Wanted, collection: str | None, since: int | None, progress: Progress
    ) -> None:
        self.found = Found(wanted.project_id, wanted.id)
        self._settings = settings
        self._wanted = wanted
        self._collection = collection
        self._since = since
        self._offsets = Offsets(settings, ANSWER_SECONDS)
        self._scanner = Scanner(settings, self._offsets, progress)
        self._partitions = self._offsets.partitions(REACH_SECONDS)

    def run(self) -> None:
        """All steps."""
        self._look_in_table()
        self._look_in_letters()
        self._look_in_raw()
        self._look_in_collections()
        self._ask_progress()
        self._look_in_control()
        if not self.found.put and not self.found.rows:
            self._look_in_window()
        if not (self.found.put or self.found.rows or self.found.raw):
            self._look_in_producers()

    def _look_in_table(self) -> None:
        found = self.found
        try:
            with closing(Table(self._settings.clickhouse, self._wanted.project_id)) as table:
                names = table.collections()
                if self._collection is not None:
                    names = [name for name in names if name == self._collection]
                found.rows = table.rows(self._wanted.id, names)
        except QueryError as error:
            found.failed["table"] = str(error)
        else:
            found.searched.append(
                Searched("ClickHouse: " + (", ".join(names) or "no table of the project"), len(found.rows))
            )

    def _look_in_letters(self) -> None:
        topic = topics.dead_letters_topic(self._settings)
        records, unreadable, oldest = 0, 0, None
        ledger, wanted = Ledger(), set()
        try:
            for record in read_records(self._settings, ANSWER_SECONDS):
                enter(ledger, record)
                if is_outcome(record):
                    continue
                try:
                    letter = letter_of(record)
                except CodecError:  # somebody's, or a later version's
                    unreadable += 1
                    continue
                records += 1
                oldest = letter["failed_at"] if oldest is None else min(oldest, letter["failed_at"])
                if is_letter_of(self._wanted, letter):
                    wanted.add((letter["id"], letter["record_timestamp"]))
        except (DeadLettersError, CodecError) as error:
            self.found.failed["dead letters"] = str(error)
        for entry in ledger:
            if (entry.letter["id"], entry.letter["record_timestamp"]) in wanted:
                self.found.letters.append(entry.letter)
                if entry.outcome is not None:
                    self.found.outcomes[entry.letter["id"]] = entry.outcome
        self.found.searched.append(
            Searched(topic + (f" ({unreadable} records are no letters)" if unreadable else ""), records, oldest)
        )

    def _look_in_raw(self) -> None:
        match = RawMatch(self._wanted)

        def take(message: Message) -> None:
            raw = match.of(message)
            if raw is not None and self._collection in (None, raw.collection):
                self.found.raw.append(raw)

        received = [row.received_at for row in self.found.rows] + self._letters_received()
        around = (min(received) - AROUND, max(received) + AROUND) if received else None
        for topic in (topics.raw_topic(self._settings), topics.backfill_topic(self._settings)):
            every = self._places(topic)
            own = self._keyed(topic, f"{self._wanted.project_id}:{self._wanted.id}")
            stages: list[tuple[Sequence[Place], tuple[int, int] | None]] = [(every, around)] if around else []
            if around is None or topic == topics.raw_topic(self._settings):
                stages += [(own, None)]
            if around is None:
                stages += [([place for place in every if place not in own], None)]
            for places, times in stages:
                if places and not self.found.raw:
                    since, until = times or (self._since, None)
                    with self._noting(topic):
                        self.found.searched.append(self._scanner.scan(topic, places, take, since, until))
            if self.found.raw:
                return

    def _look_in_collections(self) -> None:
        found = self.found
        known = {raw.collection for raw in found.raw} | {row.collection for row in found.rows}
        if self._collection is not None:
            known.add(self._collection)
        prefix = self._settings.topic_prefix
        if known:
            names = [topics.collection_topic(prefix, self._wanted.project_id, name) for name in known]
        else:
            start = f"{prefix}.events.{self._wanted.project_id}."
            names = [name for name in self._partitions if name.startswith(start)]
        times = [raw.written_at for raw in found.raw] + [row.processed_at for row in found.rows]
        since = max(self._since or 0, min(times) - AROUND if times else 0) or None

        def take(message: Message) -> None:
            if message.key() == own_key and (read := read_put(message)) is not None:
                project_id, event_id, put = read
                if (project_id, event_id) == (self._wanted.project_id, self._wanted.id):
                    found.put.append(put)

        own_key = self._wanted.id.encode()
        places = [place for name in names for place in self._keyed(name, self._wanted.id)]
        others = [place for name in names for place in self._places(name) if place not in places]
        for stage in (places, others):  # the others: for topics that have got more partitions since
            if stage and not found.put:
                with self._noting("topics of collections"):
                    what = names[0] if len(names) == 1 else f"{len(names)} topics of collections"
                    found.searched.append(self._scanner.scan(what, stage, take, since))

    def _ask_progress(self) -> None:
        """Watermarks of the raw records' partitions, and what the sinks have committed where the event was put out."""
        found = self.found
        for kind, name in RAW_KINDS:
            topic = name(self._settings)
            partitions = {raw.partition for raw in found.raw if raw.topic == topic}
            with self._noting("state"):
                for partition, offset in self._scanner.watermarks(partitions, kind).items():
                    found.watermarks[topic, partition] = offset
        with self._noting("committed"):
            places = {Place(put.topic, put.partition) for put in found.put}
            committed = self._offsets.committed(sink_group(self._settings), places)
            found.committed.update({(place.topic, place.partition): offset for place, offset in committed.items()})

    def _look_in_control(self) -> None:
        """The deletions that cover the event, and how the project's window of ids is set."""
        found = self.found
        collections = {raw.collection for raw in found.raw} | {put.collection for put in found.put}
        collections |= {row.collection for row in found.rows}
        if self._collection is not None:
            collections.add(self._collection)
        try:
            plane = ControlPlane(self._settings)
        except SettingsError as error:
            found.failed["deletions"] = str(error)
            return
        try:
            plane.start(CONTROL_SECONDS)
            project = plane.project(self._wanted.project_id)
            if project is not None:
                found.window = project.settings.ids_window
            deletions = [
                one for name in sorted(collections) for one in plane.deletions.of(self._wanted.project_id, name)
            ]
            found.deletions = self._covering(deletions)
        except (ControlError, QueryError) as error:
            found.failed["deletions"] = str(error)
        finally:
            plane.stop()

    def _covering(self, deletions: Iterable[Deletion]) -> list[Deletion]:
        """Those that cover the event. Raises QueryError where only ClickHouse could tell and does not answer."""
        events = [
            (one.collection, one.timestamp, one.received_at, one.processed_at, one.properties) for one in self.found.put
        ] or [
            (one.collection, one.timestamp, one.received_at, one.received_at, one.properties) for one in self.found.raw
        ]
        found: list[Deletion] = []
        for collection, timestamp, received_at, processed_at, properties in events:
            covering = [
                one
                for one in deletions
                if one.collection == collection
                and min(received_at, processed_at) <= one.deleted_at
                and one not in found
            ]
            found += [one for one in covering if one.whole]
            chosen = [one for one in covering if one.what == "events" and not one.whole]
            if chosen:
                with closing(Table(self._settings.clickhouse, self._wanted.project_id)) as table:
                    found += table.about(chosen, self._wanted.id, timestamp, received_at, processed_at, properties)
        return found

    def _look_in_window(self) -> None:
        """Whether the processors keep the event's id among those that were put out lately."""
        found = self.found
        names = {raw.collection for raw in found.raw} | ({self._collection} if self._collection else set())
        state = topics.state_topic(self._settings)
        partitions = {raw.partition for raw in found.raw if found.processed(raw)}
        if not found.raw:
            partitions = {
                place.partition
                for place in self._keyed(
                    topics.raw_topic(self._settings), f"{self._wanted.project_id}:{self._wanted.id}"
                )
            }
        digests = [id_digest(id_salt(self._wanted.project_id, name), self._wanted.id.encode()) for name in names]
        places = [place for place in self._places(state) if place.partition in partitions]
        if not digests or not places:
            return
        chunks: dict[bytes, bytes] = {}

        def take(message: Message) -> None:
            key, value = message.key() or b"", message.value()
            if parse_key(key).kind == "ids":
                chunks.pop(key, None)
                if value:
                    chunks[key] = value

        with self._noting("state"):
            self.found.searched.append(self._scanner.scan(state, places, take))
        for key, value in chunks.items():
            ids: bytes = codec("seen_ids").decode(value)["ids"]
            if any(ids[at : at + ID_BYTES] in digests for at in range(0, len(ids), ID_BYTES)):
                found.seen_at = int(key.rpartition(b"/")[2])

    def _look_in_producers(self) -> None:
        """Topics that producers write: what no collector has taken in yet."""
        start = f"{self._settings.topic_prefix}.in.{self._wanted.project_id}."
        places = [place for name in self._partitions if name.startswith(start) for place in self._places(name)]
        if not places:
            return
        with self._noting("topics of producers"):
            begin = dict(self._offsets.committed(intake_group(self._settings), places))

            def take(message: Message) -> None:
                if waiting_id(self._wanted.project_id, message) == self._wanted.id:
                    place = Place(message.topic() or "", message.partition() or 0)
                    offset = message.offset() or 0
                    self.found.waiting.append(Waiting(*place, offset, offset - begin.get(place, 0)))

            self.found.searched.append(self._scanner.scan(f"{start}*", places, take, begin=begin))

    def _letters_received(self) -> list[int]:
        """When the records of the event's dead letters were written, where they are from the raw topic."""
        raw = (topics.raw_topic(self._settings), topics.backfill_topic(self._settings))
        times = [one["record_timestamp"] for one in self.found.letters if one["topic"] in raw]
        return [time for time in times if time is not None]

    def _places(self, topic: str) -> list[Place]:
        return [Place(topic, number) for number in range(self._partitions.get(topic, 0))]

    def _keyed(self, topic: str, key: str) -> list[Place]:
        """The partition in which librdkafka puts records of a key."""
        count = self._partitions.get(topic, 0)
        return [Place(topic, zlib.crc32(key.encode()) % count)] if count else []

    @contextmanager
    def _noting(self, place: str) -> Iterator[None]:
        """Keep why Kafka did not answer for a place, and go on."""
        try:
            yield
        except KafkaException as error:
            self.found.failed[place] = reason(error)
