"""Storing one batch: checked, inserted, and what cannot be stored given up to the dead letters."""

from collections.abc import Sequence
from functools import partial

import structlog
from confluent_kafka import Message
from fastavro.schema import to_parsing_canonical_form

from headwater import metrics
from headwater.codec import MARKER, codec
from headwater.container import container
from headwater.control import Deletion
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

log = structlog.get_logger("headwater.sink")


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

    def store(self, topic: str, records: Sequence[Message]) -> None:
        """When this returns, each of the topic's records is a row of its collection's table or a dead letter.

        Blocks for as long as the inserts take. Raises StoreError or UndeliveredError when the records could not be
        stored now; storing them again is safe.
        """
        collection = self._collection(topic, records)
        groups, faulty = sort_records(self._codec, collection, records)
        if collection is not None:
            known = self._deletions.of(collection)
            looked_for: set[Deletion] = set()
            for header, group in groups.items():
                check = DatumCheck(self._codec, header, collection)
                for applying, part in by_deletions(known, group, check.accepted_at).items():
                    faulty += self._insert(collection, self._schemas[header], part, applying)
                    looked_for.update(applying)
            self._deletions.stored(collection, known, looked_for)
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
        if applying:
            metrics.covered_records.inc(len(records))
        if any(deletion.whole for deletion in applying):
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
        try:
            for record, reason in insert_but_refused(records, send, trial):
                refused.append((record, _refused(reason)))
        except StoreError as error:
            if error.code in (UNKNOWN_TABLE, UNKNOWN_DATABASE):
                self._tables.forget(collection)
            raise
        metrics.rows_inserted.inc(len(records) - len(refused))
        return refused

    def _send(self, statement: str, schema: str, parameters: dict[str, object], records: Sequence[Message]) -> None:
        # Made here, for the one request, and not before: copies of every batch at hand would be most of the memory.
        body = container(schema, map(datum, records))
        with metrics.insert_seconds.time():
            self._clickhouse.command(statement, body, SETTINGS, parameters)


def _refused(error: StoreError) -> Fault:
    return Fault("refused_by_clickhouse", ROW_FAULTS.get(error.code or 0, "StoreError"), str(error))
