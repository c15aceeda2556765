"""Storing one batch: checked, inserted, and what cannot be stored given up to the dead letters."""

import threading
import time
from collections.abc import Sequence
from functools import partial

import structlog
from confluent_kafka import Message
from fastavro.schema import to_parsing_canonical_form

from headwater import metrics
from headwater.codec import MARKER, UnknownSchemaError, codec
from headwater.container import container
from headwater.control import Deletion
from headwater.dead_letters.limit import Limit
from headwater.query.parameters import Parameters
from headwater.settings import Settings
from sinks.clickhouse import ClickHouse
from sinks.covering import Applying, by_deletions
from sinks.datums import Collection, DatumCheck, Fault, Faulty, datum, identify, sort_records
from sinks.dead_letters import DeadLetters
from sinks.deletions import DeletionKeeper
from sinks.errors import ARGUMENT_OUT_OF_BOUND, ROW_FAULTS, UNKNOWN_DATABASE, UNKNOWN_TABLE, StoreError
from sinks.insert import SETTINGS, insert_left_statement, insert_statement, trial_statement
from sinks.refusals import insert_but_refused
from sinks.tables import Tables

JUDGED_RECORDS = 100  # refused ones, between two looks whether it is too many

log = structlog.get_logger("headwater.sink")

_checking, _packing, _inserting = (
    metrics.sink_phase_seconds.labels(phase).inc for phase in ("check", "pack", "insert")
)


class Store:
    """Puts batches of records into ClickHouse, but for what deletions cover. Safe from several threads."""

    def __init__(self, settings: Settings, clickhouse: ClickHouse, deletions: DeletionKeeper) -> None:
        self._deletions = deletions
        self._prefix = settings.topic_prefix
        self._clickhouse = clickhouse
        self._codec = codec("event")
        self._schemas = {  # by header, as a container wants them
            MARKER + fingerprint: to_parsing_canonical_form(schema)
            for fingerprint, schema in self._codec.versions.items()
        }
        self._tables = Tables(clickhouse)
        self._dead_letters = DeadLetters(settings)
        self._collections: dict[str, Collection] = {}  # by topic
        self.limit = Limit(settings.dead_letter_max_ratio, settings.dead_letter_max_run)
        self._judging = threading.Lock()

    def store(self, topic: str, records: Sequence[Message]) -> None:
        """When this returns, each of the topic's records is a row of its collection's table or a dead letter.

        Blocks for as long as the inserts take. Raises StoreError or UndeliveredError when the records could not be
        stored now; storing them again is safe. Raises LimitReachedError where the sink has to stop.
        """
        began = time.perf_counter()
        collection = self._collection(topic, records)
        groups, faulty = sort_records(self._codec, collection, records)
        _checking(time.perf_counter() - began)
        if collection is not None:
            known = self._deletions.of(collection)
            looked_for: set[Deletion] = set()
            for header, group in groups.items():
                check = DatumCheck(self._codec, header, collection)
                for applying, part in by_deletions(known, group, check.accepted_at).items():
                    faulty += self._insert(collection, self._schemas[header], part, applying)
                    looked_for.update(applying)
                now = time.time()
                for record in (group[0], group[-1]):
                    metrics.freshness_seconds.observe(max(0.0, now - check.received_at(record) / 1000))
            self._deletions.stored(collection, known, looked_for)
        unknown = sum(fault.error_class == UnknownSchemaError.__name__ for _, fault in faulty)
        if unknown:
            self._judge(None, 0, unknown)
        if faulty:
            self._dead_letters.write(faulty, collection)
            _, first = faulty[0]
            log.warning(
                "sink.records_given_up",
                topic=topic,
                records=len(faulty),
                reason=first.reason,
                error=first.error_class,  # the message may quote the event, and stays in the dead letter
            )

    def _collection(self, topic: str, records: Sequence[Message]) -> Collection | None:
        found = self._collections.get(topic)
        if found is None:
            found = identify(self._codec, self._prefix, records)
            if found is not None:
                self._collections[topic] = found
        return found

    def confirm(self) -> bool:
        """Whether what was stored until now may be committed, as far as deletions that came meanwhile are concerned.

        Blocks for as long as Kafka, and where there are such deletions ClickHouse, takes to answer.
        """
        return self._deletions.confirm()

    def _insert(self, collection: Collection, schema: str, records: Sequence[Message], applying: Applying) -> Faulty:
        """Insert what deletions leave of records of one schema version, all of which are covered by these deletions.

        Those that ClickHouse refuses for their own fault come back.
        """
        if any(deletion.whole for deletion in applying):
            metrics.covered_records.inc(len(records))
            return []
        try:
            self._tables.ensure(collection)
        except StoreError as error:
            if error.code != ARGUMENT_OUT_OF_BOUND:
                raise
            # No table can have such a name: its characters, escaped, are too long for a file's name. It never will.
            return [(record, _refused(error)) for record in records]
        refused: Faulty = []
        parameters = Parameters()
        statement = (
            insert_left_statement(collection, applying, parameters) if applying else insert_statement(collection)
        )
        send = partial(self._send, statement, schema, parameters.values)
        trial = partial(self._send, trial_statement(), schema, {})
        taken: list[int] = []  # records, by insert

        def insert(part: Sequence[Message]) -> None:
            send(part)
            taken.append(len(part))

        try:
            for record, reason in insert_but_refused(records, insert, trial):
                refused.append((record, _refused(reason)))
                if len(refused) % JUDGED_RECORDS == 0:
                    self._judge(collection.project_id, sum(taken), JUDGED_RECORDS)
                    taken.clear()
            self._judge(collection.project_id, sum(taken), len(refused) % JUDGED_RECORDS)
        except StoreError as error:
            if error.code in (UNKNOWN_TABLE, UNKNOWN_DATABASE):
                self._tables.forget(collection)
            raise
        metrics.rows_inserted.inc(len(records) - len(refused))
        if applying:  # counted once stored: an insert that failed is tried again
            metrics.covered_records.inc(len(records) - len(refused))
        return refused

    def _judge(self, project_id: str | None, good: int, bad: int) -> None:
        """Raises LimitReachedError where ClickHouse refuses too much."""
        with self._judging:
            self.limit.add({project_id: good} if good else {}, {project_id: bad} if bad else {}, time.monotonic())

    def _send(self, statement: str, schema: str, parameters: dict[str, object], records: Sequence[Message]) -> None:
        # Made here, for the one request, and not before: copies of every batch at hand would be most of the memory.
        began = time.perf_counter()
        body = container(schema, map(datum, records))
        packed = time.perf_counter()
        try:
            self._clickhouse.command(statement, body, SETTINGS, parameters)
        finally:
            took = time.perf_counter() - packed
            metrics.insert_seconds.observe(took)
            metrics.insert_records.observe(len(records))
            metrics.insert_bytes.inc(len(body))
            _packing(packed - began)
            _inserting(took)


def _refused(error: StoreError) -> Fault:
    return Fault("refused_by_clickhouse", ROW_FAULTS.get(error.code or 0, "StoreError"), str(error))
