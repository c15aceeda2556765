"""From a block of raw records to output and counts: the hot loop.

Pure but for what it calls: routes and enricher answer from memory, output queues. Each record ends as an event in its
collection's topic or as a dead letter; whatever goes wrong with one record concerns that record only.
"""

from collections.abc import Mapping, Sequence

import orjson
from aiokafka.structs import ConsumerRecord
from confluent_kafka import KafkaException

from headwater.metrics import records_processed
from headwater.rules import RuleError
from headwater.settings import Settings
from headwater.topics import dead_letters_topic, raw_topic
from processors import datums
from processors.addons import AddonError
from processors.catalogue import Surveyor
from processors.dead_letters import DeadLetters, RefusedError
from processors.enrich import PLACEHOLDER, Enricher
from processors.output import Output, OutputFullError
from processors.records import RawEvent, RawReader, UnreadableError
from processors.routing import Key, Route, Routes
from processors.state import PartitionState

PLACEHOLDER_BYTES = PLACEHOLDER.encode()
REASONS: dict[type[Exception], str] = {
    UnreadableError: "unreadable",
    RuleError: "invalid_event",
    AddonError: "addon_failed",
}

Read = RawEvent | Exception


class UnresolvedError(Exception):
    """A collection has to be resolved (again) before the block can be processed."""


class _Batch:
    """What a block has for one collection, in columns."""

    __slots__ = ("events", "records", "route", "values")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.records: list[ConsumerRecord] = []
        self.events: list[RawEvent] = []
        self.values: list[bytes] = []  # the records to put out

    def remove(self, positions: Mapping[int, object]) -> None:
        """Take these events out."""
        kept = [position for position in range(len(self.events)) if position not in positions]
        self.records = [self.records[position] for position in kept]
        self.events = [self.events[position] for position in kept]
        self.values = [self.values[position] for position in kept]


class Pipeline:
    """Processes blocks for all partitions of this worker."""

    def __init__(self, settings: Settings, routes: Routes, enricher: Enricher, output: Output) -> None:
        self._routes = routes
        self._enricher = enricher
        self._output = output
        self._max_paths = settings.max_paths
        self._reader = RawReader(raw_topic(settings), settings.event_max_depth)
        self._surveyor = Surveyor(settings.event_max_depth)
        self._dead_letters = DeadLetters()
        self._dead_letters_topic = dead_letters_topic(settings)

    def read(self, records: Sequence[ConsumerRecord]) -> list[Read]:
        """The records' events, or what is wrong with each."""
        read = self._reader.read
        events: list[Read] = []
        for record in records:
            try:
                events.append(read(record.value, record.partition, record.offset, record.timestamp))
            except Exception as error:  # bytes from anywhere: none may stop the others
                events.append(error)
        return events

    def unknown(self, events: Sequence[Read]) -> set[Key]:
        """The collections that `Routes.resolve` has to find out about before `process`."""
        keys = {(event.project_id, event.collection) for event in events if type(event) is RawEvent}
        return {key for key in keys if self._routes.known(key) is None}

    def process(
        self, records: Sequence[ConsumerRecord], events: Sequence[Read], state: PartitionState, now: int
    ) -> None:
        """Put out the events of one partition and count them in its state; `now` in milliseconds since 1970 UTC.

        Raises UnresolvedError, OutputFullError, and KafkaException where output is impossible: nothing of the block has
        then been counted, and it has to be processed again.
        """
        batches = self._prepare(records, events, now)
        surveys = {}
        produce = self._output.produce
        for key, batch in batches.items():
            surveys[key], refused = self._surveyor.survey(
                [event.properties for event in batch.events], [event.received_at for event in batch.events]
            )
            for position, error in refused.items():
                self._refuse(batch.records[position], error, "invalid_event", key)
            if refused:
                batch.remove(refused)
            for event, value in zip(batch.events, batch.values, strict=True):
                produce(batch.route.topic, event.id, value)
        for key, batch in batches.items():
            if batch.events:
                offset = batch.records[-1].offset
                aggregates, catalogue = state.change(*key)
                aggregates.add(
                    [event.timestamp for event in batch.events],
                    [event.received_at for event in batch.events],
                    [event.size for event in batch.events],
                    offset,
                    now,
                )
                catalogue.add(surveys[key], offset, self._max_paths)
        records_processed.inc(len(records))
        self._output.poll()

    def _prepare(self, records: Sequence[ConsumerRecord], events: Sequence[Read], now: int) -> dict[Key, _Batch]:
        """Enrich and encode the events, by collection; what cannot be is refused."""
        batches: dict[Key, _Batch] = {}
        processed = datums.long(now)
        enrich, event_record, dumps = self._enricher.enrich, datums.event, orjson.dumps
        largest, too_large = self._output.largest, self._output.too_large
        for record, event in zip(records, events, strict=True):
            if isinstance(event, Exception):
                self._refuse(record, event, "unreadable")
                continue
            project_id, collection, id_, timestamp, received_at, ip, user_agent, addons, _, text, properties = event
            key = project_id, collection
            try:
                batch = batches.get(key)
                if batch is None:
                    batch = batches[key] = _Batch(self._route(key))
                placeholders = PLACEHOLDER_BYTES in text
                if placeholders or addons is not None:
                    enrich(
                        properties,
                        addons,
                        ip=ip,
                        user_agent=user_agent,
                        timestamp=timestamp,
                        received_at=received_at,
                        event_id=id_,
                        placeholders=placeholders,
                    )
                    text = dumps(properties)
                value = event_record(batch.route.prefix, id_, timestamp, received_at, processed, text)
                if len(value) > largest or (too_large and (batch.route.topic, id_) in too_large):
                    raise RefusedError("too_large", f"the event's record has {len(value)} bytes; {largest} is the most")
            except (UnresolvedError, OutputFullError, KafkaException):
                raise
            except Exception as error:
                self._refuse(record, error, "invalid_event" if addons is None else "addon_failed", key)
                continue
            batch.records.append(record)
            batch.events.append(event)
            batch.values.append(value)
        return batches

    def _route(self, key: Key) -> Route:
        route = self._routes.known(key)
        if isinstance(route, Route):
            return route
        if route is None:
            raise UnresolvedError
        raise RefusedError(route.reason, str(route))

    def _refuse(self, record: ConsumerRecord, error: Exception, otherwise: str, key: Key | None = None) -> None:
        """Send a record to the dead letters; `otherwise` is the reason where the error is none that was expected."""
        reason = error.reason if isinstance(error, RefusedError) else REASONS.get(type(error), otherwise)
        project_id, collection = key or (None, None)
        id_, letter = self._dead_letters.letter(record, reason, error, str(error), project_id, collection)
        self._output.produce(self._dead_letters_topic, id_, letter)
