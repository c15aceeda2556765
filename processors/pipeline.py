"""From a block of raw records to output and counts: the hot loop.

Pure but for what it calls: routes and enricher answer from memory, output queues. Each record ends as an event in its
collection's topic or as a dead letter; whatever goes wrong with one record concerns that record only.

Records that were written again bring headers (`headwater.origin`). From the dead letters they are like any other, but for ids and
times, which are the first one's: they were never counted. Replays in the backfill topic were: their events are put out anew, with
the same id and time, and change nothing of the partition's state.
"""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from time import monotonic, perf_counter
from typing import Any, NamedTuple

import orjson
from aiokafka.structs import ConsumerRecord

from headwater.catalogue import Paths, add_path
from headwater.container import avro_long
from headwater.dead_letters.limit import Limit
from headwater.identity import id_digest
from headwater.metrics import block_records, records_processed, repetitions
from headwater.origin import Origin, origin_in
from headwater.rules import RuleError
from headwater.segment_users import ATTACH, IDENTIFY
from headwater.settings import Settings
from headwater.topics import backfill_topic, raw_topic
from processors import datums
from processors.addons import AddonError
from processors.catalogue import Surveyor
from processors.dead_letters import DeadLetters, RefusedError
from processors.enrich import NOTHING_ADDED, Enricher, Outputs, Shapes
from processors.output import Output
from processors.phases import Phases
from processors.records import RawFields, RawReader, UnknownVersionError, UnreadableError
from processors.repetitions import LOOKED_FOR, Repetitions
from processors.routing import Key, Route, Routes
from processors.state import PartitionState
from processors.table import StateError
from processors.users import Users

SLICE = 250  # records that are worked on at once: so few that the processor's caches hold their events

REASONS: dict[type[Exception], str] = {
    UnreadableError: "unreadable",
    RuleError: "invalid_event",
    AddonError: "addon_failed",
}
SENDERS_FAULTS = (*REASONS, RefusedError)


class UnresolvedError(Exception):
    """Collections have to be resolved (again) before the block can be processed: `keys`."""

    def __init__(self, keys: set[Key]) -> None:
        super().__init__(keys)
        self.keys = keys


class _Refused(NamedTuple):
    """A record for the dead letters; `otherwise` is the reason where the error is none that was expected."""

    record: ConsumerRecord
    error: Exception
    otherwise: str
    key: Key | None = None


class _Slice:
    """What a slice has for one collection, in columns."""

    __slots__ = ("digests", "events", "looked_for", "outputs", "records", "repeated", "route", "shapes", "values")

    def __init__(self, route: Route, looked_for: int) -> None:
        self.route = route
        self.looked_for = looked_for
        self.digests: dict[int, bytes] = {}  # of the ids that are looked for, by the event's position
        self.repeated: list[tuple[bytes, ConsumerRecord]] = []  # and what was dropped
        self.records: list[ConsumerRecord] = []
        self.events: list[RawFields] = []
        self.outputs: list[Outputs] = []
        self.shapes: list[Shapes] = []
        self.values: list[bytes] = []  # the records to put out

    def remove(self, positions: Container[int]) -> None:
        """Take these events out, once they have been surveyed."""
        kept = [position for position in range(len(self.events)) if position not in positions]
        self.records = [self.records[position] for position in kept]
        self.outputs = [self.outputs[position] for position in kept]
        self.shapes = [self.shapes[position] for position in kept]
        self.events = [self.events[position] for position in kept]
        self.values = [self.values[position] for position in kept]
        self.digests = {}


class _Batch:
    """What a block has for one collection, in columns; the events themselves are let go."""

    __slots__ = ("ids", "offset", "paths", "received", "sizes", "timestamps", "topic", "values")

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.ids: list[bytes] = []
        self.values: list[bytes] = []
        self.timestamps: list[int] = []
        self.received: list[int] = []
        self.sizes: list[int] = []
        self.paths: Paths = {}
        self.offset = -1

    def take(self, part: _Slice, columns: Sequence[tuple[Any, ...]], paths: Paths) -> None:
        """Add a slice with at least one event; `columns` are those of its events."""
        _, ids, timestamps, received, _, _, sizes, _, _, _ = columns
        self.ids += ids
        self.values += part.values
        self.timestamps += timestamps
        self.received += received
        self.sizes += sizes
        self.offset = max(self.offset, part.records[-1].offset)
        for path, seen in paths.items():
            add_path(self.paths, path, *seen)


class _Block:
    """What becomes of a block, until nothing can stand against it any more."""

    def __init__(self, state: PartitionState, now: int) -> None:
        self.users = Users(state)
        self.repetitions = Repetitions(state.ids, now)
        self.batches: dict[Key, _Batch] = {}
        self.replayed: dict[Key, _Batch] = {}  # of events that count already
        self.refused: list[_Refused] = []
        self.unresolved: set[Key] = set()

    def unlearn(self, part: _Slice, against: Iterable[int]) -> list[ConsumerRecord]:
        """Events of a slice are not put out after all: the records that were dropped as their repetitions."""
        forgotten = {part.digests[position] for position in against if position in part.digests}
        for digest in forgotten:
            self.repetitions.forget(digest)
        undropped = [record for digest, record in part.repeated if digest in forgotten]
        self.repetitions.dropped -= len(undropped)
        return undropped


class Pipeline:
    """Processes blocks for all partitions of this worker."""

    def __init__(self, settings: Settings, routes: Routes, enricher: Enricher, output: Output) -> None:
        self.phases = Phases()
        self._routes = routes
        self._enricher = enricher
        self._output = output
        self._max_paths = settings.max_paths
        self._raw_topic = raw_topic(settings)
        self._readers = {
            topic: RawReader(topic, settings.event_max_depth) for topic in (self._raw_topic, backfill_topic(settings))
        }
        self._surveyor = Surveyor(settings.event_max_depth)
        self._dead_letters = DeadLetters()
        self.limit = Limit(settings.dead_letter_max_ratio, settings.dead_letter_max_run)

    def process(self, records: Sequence[ConsumerRecord], state: PartitionState, now: int) -> Mapping[str, int]:
        """Put out the events of one partition of one topic and count them in its state; `now` in milliseconds since 1970 UTC.

        Returns how many events went to each topic of a collection.
        Raises UnresolvedError, StateError, OutputFullError, and KafkaException where output is impossible: nothing of the block has
        then been counted, and it has to be processed again. Raises LimitReachedError where the service has to stop: the same.
        """
        block = _Block(state, now)
        live = records[0].topic == self._raw_topic
        replays = () if live else [record for record in records if record.headers and _is_replay(record)]
        if replays:
            records = [record for record in records if not (record.headers and _is_replay(record))]
        for part, replayed in ((records, False), (replays, True)):
            for first in range(0, len(part), SLICE):
                self._add(part[first : first + SLICE], now, block, replayed)
        if block.unresolved:
            raise UnresolvedError(block.unresolved)
        self._judge(block)
        began = perf_counter()
        produce = self._output.produce
        for batch in (*block.batches.values(), *block.replayed.values()):
            produce(batch.topic, batch.ids, batch.values)
        self._output.poll()
        produced = perf_counter()
        for refused in block.refused:
            state.give_up(self._letter(refused))
        for key, batch in block.batches.items():
            aggregates, catalogue = state.change(*key)
            aggregates.add(
                batch.timestamps, batch.received, batch.sizes, batch.offset if live else aggregates.offset, now
            )
            catalogue.add(batch.paths, batch.offset if live else catalogue.offset, self._max_paths)
        block.users.keep()
        block.repetitions.keep()
        repetitions.inc(block.repetitions.dropped)
        handled = len(records) + len(replays)
        records_processed.inc(handled)
        block_records.observe(handled)
        self.phases.spent("produce", produced - began)
        self.phases.spent("count", perf_counter() - produced)
        put_out: Counter[str] = Counter()
        for batch in (*block.batches.values(), *block.replayed.values()):
            put_out[batch.topic] += len(batch.ids)
        return put_out

    def _judge(self, block: _Block) -> None:
        """Raises LimitReachedError where too much fails by a fault of ours."""
        good: Counter[str | None] = Counter()
        for key, batch in (*block.batches.items(), *block.replayed.items()):
            good[key[0]] += len(batch.ids)
        bad: Counter[str | None] = Counter()
        for refused in block.refused:
            if isinstance(refused.error, UnknownVersionError):
                bad[None] += 1
            elif refused.key is not None and not isinstance(refused.error, SENDERS_FAULTS):
                bad[refused.key[0]] += 1
        self.limit.add(good, bad, monotonic())

    def _add(self, records: Sequence[ConsumerRecord], now: int, block: _Block, replayed: bool) -> None:
        """Add what comes of a slice of records, all or none of which count already."""
        again: list[ConsumerRecord] = []
        batches = block.replayed if replayed else block.batches
        began = perf_counter()
        slices = self._prepare(records, now, block, replayed)
        prepared = perf_counter()
        for key, part in slices.items():
            block.repetitions.dropped += len(part.repeated)
            if not part.events:
                continue
            columns = [*zip(*part.events, strict=True)]
            _, _, _, received, _, _, _, _, events, _ = columns
            paths, against = self._surveyor.survey(events, received, part.outputs, part.shapes)
            if against:
                for position, error in against.items():
                    block.refused.append(_Refused(part.records[position], error, "invalid_event", key))
                again += block.unlearn(part, against)
                part.remove(against)
                columns = [*zip(*part.events, strict=True)]
            if part.events:
                batch = batches.get(key)
                if batch is None:
                    batch = batches[key] = _Batch(part.route.topic)
                batch.take(part, columns, paths)
        self.phases.spent("prepare", prepared - began)
        self.phases.spent("survey", perf_counter() - prepared)
        if again:
            self._add(again, now, block, replayed)

    def _prepare(self, records: Sequence[ConsumerRecord], now: int, block: _Block, replayed: bool) -> dict[Key, _Slice]:
        """Read, enrich and encode events, by collection. Those that are `replayed` meet neither the ids nor the users."""
        slices: dict[Key, _Slice] = {}
        users, has, learn = block.users, block.repetitions.has, block.repetitions.learn
        processed = avro_long(now)
        read, enrich, event_record, dumps = (
            self._readers[records[0].topic].read,
            self._enricher.enrich,
            datums.event,
            orjson.dumps,
        )
        largest, too_large = self._output.largest, self._output.too_large
        for record in records:
            try:
                if record.headers:
                    event = self._read_again(record)
                else:
                    event = read(record.value, record.partition, record.offset, record.timestamp)
            except Exception as error:  # bytes from anywhere: none may stop the others
                block.refused.append(_Refused(record, error, "unreadable"))
                continue
            key, id_, timestamp, received_at, times, addons, _, text, properties, given = event
            digest = None
            try:
                part = slices.get(key)
                if part is None:
                    if key[1] == IDENTIFY:
                        if not replayed:  # what is known by now may be newer
                            users.identify(key[0], properties, timestamp)
                        continue
                    looked_for = LOOKED_FOR["off"] if replayed else self._routes.looked_for(key[0])
                    part = slices[key] = _Slice(self._route(key), looked_for)
                if given >= part.looked_for:
                    digest = id_digest(part.route.salt, id_)
                    if has(digest):
                        part.repeated.append((digest, record))
                        continue
                outputs, shapes = NOTHING_ADDED
                if addons is not None:
                    others: str | None = addons
                    if ATTACH in addons:
                        others = users.attach(key[0], properties, addons)
                    if others is not None:
                        outputs, shapes = enrich(properties, others, timestamp, received_at, id_)
                    text = dumps(properties)
                value = event_record(part.route.prefix, id_, times, processed, text)
                if len(value) > largest or (too_large and (part.route.topic, id_) in too_large):
                    raise RefusedError("too_large", f"the event's record has {len(value)} bytes; {largest} is the most")
            except UnresolvedError:
                block.unresolved.add(key)
                continue
            except StateError:
                raise
            except Exception as error:
                reason = "invalid_event" if addons is None else "addon_failed"
                block.refused.append(_Refused(record, error, reason, key))
                continue
            if digest is not None:
                learn(digest)
                part.digests[len(part.events)] = digest
            part.records.append(record)
            part.events.append(event)
            part.outputs.append(outputs)
            part.shapes.append(shapes)
            part.values.append(value)
        return slices

    def _read_again(self, record: ConsumerRecord) -> RawFields:
        """The event in a record with headers: where it was written again, ids and times are derived from where it stood first."""
        origin = origin_in(record.headers, record.topic)
        if origin is None or origin.topic not in self._readers or (origin.replay and record.topic == self._raw_topic):
            origin = Origin(record.topic, record.partition, record.offset, record.timestamp)
        time = record.timestamp if origin.timestamp is None else origin.timestamp
        return self._readers[origin.topic].read(record.value, origin.partition, origin.offset, time)

    def _route(self, key: Key) -> Route:
        route = self._routes.known(key)
        if isinstance(route, Route):
            return route
        if route is None:
            raise UnresolvedError({key})
        raise RefusedError(route.reason, str(route))

    def _letter(self, refused: _Refused) -> tuple[bytes, bytes]:
        """The dead letter of a record: its id and its record."""
        record, error, otherwise, key = refused
        reason = error.reason if isinstance(error, RefusedError) else REASONS.get(type(error), otherwise)
        project_id, collection = key or (None, None)
        return self._dead_letters.letter(record, reason, error, str(error), project_id, collection)


def _is_replay(record: ConsumerRecord) -> bool:
    """Whether a record of the backfill topic is a copy of one that counts already."""
    origin = origin_in(record.headers, record.topic)
    return origin is not None and origin.replay
