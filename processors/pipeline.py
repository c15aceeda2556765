"""From a block of raw records to output and counts: the hot loop.

Pure but for what it calls: routes and enricher answer from memory, output queues. Each record ends as an event in its
collection's topic or as a dead letter; whatever goes wrong with one record concerns that record only.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import NamedTuple

import orjson
from aiokafka.structs import ConsumerRecord

from headwater.catalogue import Paths, add_path
from headwater.container import avro_long
from headwater.metrics import records_processed, repetitions
from headwater.rules import RuleError
from headwater.segment_users import ATTACH, IDENTIFY
from headwater.settings import Settings
from headwater.topics import backfill_topic, dead_letters_topic, raw_topic
from processors import datums
from processors.addons import AddonError
from processors.catalogue import Surveyor
from processors.dead_letters import DeadLetters, RefusedError
from processors.enrich import NOTHING_ADDED, Enricher, Outputs, Shapes
from processors.id_window import id_digest
from processors.output import Output
from processors.records import RawEvent, RawReader, UnreadableError
from processors.repetitions import Repetitions
from processors.routing import Key, Route, Routes
from processors.state import PartitionState
from processors.users import Users

SLICE = 250  # records that are worked on at once: so few that the processor's caches hold their events

REASONS: dict[type[Exception], str] = {
    UnreadableError: "unreadable",
    RuleError: "invalid_event",
    AddonError: "addon_failed",
}


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
        self.events: list[RawEvent] = []
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

    def take(self, part: _Slice, paths: Paths) -> None:
        """Add a slice with at least one event."""
        _, ids, timestamps, received, _, _, sizes, _, _, _ = zip(*part.events, strict=True)
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
        self._dead_letters_topic = dead_letters_topic(settings)

    def process(self, records: Sequence[ConsumerRecord], state: PartitionState, now: int) -> Mapping[str, int]:
        """Put out the events of one partition of one topic and count them in its state; `now` in milliseconds since 1970 UTC.

        Returns how many events went to each topic of a collection.
        Raises UnresolvedError, OutputFullError, and KafkaException where output is impossible: nothing of the block has
        then been counted, and it has to be processed again.
        """
        block = _Block(state, now)
        for first in range(0, len(records), SLICE):
            self._add(records[first : first + SLICE], now, block)
        if block.unresolved:
            raise UnresolvedError(block.unresolved)
        produce = self._output.produce
        for refused in block.refused:
            id_, letter = self._letter(refused)
            produce(self._dead_letters_topic, (id_,), (letter,))
        for batch in block.batches.values():
            produce(batch.topic, batch.ids, batch.values)
        for key, batch in block.batches.items():
            aggregates, catalogue = state.change(*key)
            live = records[0].topic == self._raw_topic
            aggregates.add(
                batch.timestamps, batch.received, batch.sizes, batch.offset if live else aggregates.offset, now
            )
            catalogue.add(batch.paths, batch.offset if live else catalogue.offset, self._max_paths)
        block.users.keep()
        block.repetitions.keep()
        repetitions.inc(block.repetitions.dropped)
        records_processed.inc(len(records))
        self._output.poll()
        return {batch.topic: len(batch.ids) for batch in block.batches.values()}

    def _add(self, records: Sequence[ConsumerRecord], now: int, block: _Block) -> None:
        """Add what comes of a slice of records."""
        again: list[ConsumerRecord] = []
        for key, part in self._prepare(records, now, block).items():
            block.repetitions.dropped += len(part.repeated)
            if not part.events:
                continue
            _, _, _, received, _, _, _, _, events, _ = zip(*part.events, strict=True)
            paths, against = self._surveyor.survey(events, received, part.outputs, part.shapes)
            if against:
                for position, error in against.items():
                    block.refused.append(_Refused(part.records[position], error, "invalid_event", key))
                again += block.unlearn(part, against)
                part.remove(against)
            if part.events:
                batch = block.batches.get(key)
                if batch is None:
                    batch = block.batches[key] = _Batch(part.route.topic)
                batch.take(part, paths)
        if again:
            self._add(again, now, block)

    def _prepare(self, records: Sequence[ConsumerRecord], now: int, block: _Block) -> dict[Key, _Slice]:
        """Read, enrich and encode events, by collection."""
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
                        users.identify(key[0], properties, timestamp)
                        continue
                    part = slices[key] = _Slice(self._route(key), self._routes.looked_for(key[0]))
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
