"""From a block of raw records to output and counts: the hot loop.

Pure but for what it calls: routes and enricher answer from memory, output queues. Each record ends as an event in its
collection's topic or as a dead letter; whatever goes wrong with one record concerns that record only.
"""

from collections.abc import Sequence

import orjson
from aiokafka.structs import ConsumerRecord

from headwater.metrics import records_processed
from headwater.rules import RuleError
from headwater.settings import Settings
from headwater.topics import dead_letters_topic, raw_topic
from processors import datums
from processors.addons import AddonError
from processors.catalogue import Seen, Shape, Shapes
from processors.dead_letters import DeadLetters, RefusedError
from processors.enrich import PLACEHOLDER, Enricher
from processors.output import KafkaException, Output, OutputFullError
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


class _Tally:
    """What a block brings for one collection, in columns."""

    __slots__ = ("offset", "received", "shapes", "sizes", "timestamps")

    def __init__(self) -> None:
        self.timestamps: list[int] = []
        self.received: list[int] = []
        self.sizes: list[int] = []
        self.shapes: dict[Shape, list[int]] = {}  # how often, first and last received
        self.offset = -1


class Pipeline:
    """Processes blocks for all partitions of this worker."""

    def __init__(self, settings: Settings, routes: Routes, enricher: Enricher, output: Output) -> None:
        self._routes = routes
        self._enricher = enricher
        self._output = output
        self._max_paths = settings.max_paths
        self._reader = RawReader(raw_topic(settings), settings.event_max_depth)
        self._shapes = Shapes(settings.event_max_depth)
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
        tallies: dict[Key, tuple[Route, _Tally]] = {}
        processed = datums.long(now)
        enrich, shape_of, produce = self._enricher.enrich, self._shapes.of, self._output.produce
        largest, event_record, dumps = self._output.largest, datums.event, orjson.dumps
        for record, event in zip(records, events, strict=True):
            if isinstance(event, Exception):
                self._refuse(record, event, "unreadable")
                continue
            project_id, collection, id_, timestamp, received_at, ip, user_agent, addons, size, text, properties = event
            key = project_id, collection
            try:
                known = tallies.get(key)
                if known is None:
                    known = tallies[key] = self._route(key), _Tally()
                route, tally = known
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
                shape = shape_of(properties)
                value = event_record(route.prefix, id_, timestamp, received_at, processed, text)
                if len(value) > largest or (self._output.too_large and (route.topic, id_) in self._output.too_large):
                    raise RefusedError("too_large", f"the event's record has {len(value)} bytes; {largest} is the most")
                produce(route.topic, id_, value)
            except (UnresolvedError, OutputFullError, KafkaException):
                raise
            except Exception as error:
                self._refuse(record, error, "invalid_event" if addons is None else "addon_failed", key)
                continue
            tally.timestamps.append(timestamp)
            tally.received.append(received_at)
            tally.sizes.append(size)
            tally.offset = record.offset
            seen = tally.shapes.get(shape)
            if seen is None:
                tally.shapes[shape] = [1, received_at, received_at]
            else:
                seen[0] += 1
                seen[2] = received_at
        for key, (_, tally) in tallies.items():
            if tally.sizes:
                aggregates, catalogue = state.change(*key)
                aggregates.add(tally.timestamps, tally.received, tally.sizes, tally.offset, now)
                catalogue.add(
                    {shape: Seen(*seen) for shape, seen in tally.shapes.items()}, tally.offset, self._max_paths
                )
        records_processed.inc(len(records))
        self._output.poll()

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
