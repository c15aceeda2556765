"""Keeping deletions: nothing that is deleted comes in again, and what is in goes.

Two parts. Every sink leaves what deletions cover out of what it inserts, and before it commits an offset it reads the control
plane to its end: where a deletion came while rows that it covers were on their way in, it is asked for once more. One sink, the
one that owns the control topic's partition, does the deletions: it takes their rows out of the tables and writes that they are
done. A deletion that is interrupted, by whatever, is still asked for and done from its beginning.
"""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import structlog

from headwater import metrics
from headwater.control import ControlError, Deletion, DeletionWriter
from headwater.deleted import about_sql, covered_sql
from headwater.query.parameters import Parameters
from sinks.clickhouse import ClickHouse
from sinks.covering import Applying, without_property_sql
from sinks.datums import Collection
from sinks.errors import UNKNOWN_DATABASE, UNKNOWN_TABLE, StoreError
from sinks.tables import database, quoted, table

LOOK_SECONDS = 0.1
RETRY_SECONDS = 2.0
SETTINGS: dict[str, Any] = {
    "do_not_merge_across_partitions_select_final": 1,  # an event's copies are in one partition
    "optimize_move_to_prewhere_if_final": 0,  # it would filter before copies are folded
    "mutations_sync": 0,  # a large table takes longer than a connection lives
    "lightweight_deletes_sync": 0,
    "max_query_size": 16_000_000,
}

log = structlog.get_logger("headwater.sink")


class _Stored(NamedTuple):
    """What was stored of a collection: under which deletions, and which of them cover a record of it."""

    collection: Collection
    known: frozenset[str]
    covering: frozenset[str]


class DeletionKeeper:
    """Knows the deletions that hold for what is inserted. `of` and `stored` are safe from several threads, `confirm` is for one."""

    def __init__(self, writer: DeletionWriter, clickhouse: ClickHouse) -> None:
        self._plane = writer.plane
        self._writer = writer
        self._clickhouse = clickhouse
        self._stored: list[_Stored] = []  # since the last confirmation

    def of(self, collection: Collection) -> Applying:
        """The deletions of a collection. Raises StoreError where the control plane has not been read yet."""
        if not self._plane.caught_up:
            raise StoreError("the control plane has not been read yet, so deletions are not known")
        return self._plane.deletions.of(collection.project_id, collection.name)

    def stored(self, collection: Collection, known: Applying, covering: Iterable[Deletion]) -> None:
        """Records were stored while these deletions were `known`; `covering` cover some of them."""
        self._stored.append(
            _Stored(collection, frozenset(one.id for one in known), frozenset(one.id for one in covering))
        )

    def confirm(self) -> bool:
        """Whether no row that was stored until now stays in spite of a deletion. Blocks; False where that cannot be said.

        Deletions that came since may have looked for their rows before these were there; and what covers records may have
        been done before a sink stored them and ended without confirming it. Both are looked at, and asked for again where
        rows are left.
        """
        stored = list(self._stored)
        try:
            if not self._plane.catch_up():
                return False
            for deletion in self._doubtful(stored):
                if Table(self._clickhouse, deletion).has_rows():
                    self._writer.ask_again(deletion)
        except (StoreError, ControlError) as error:
            log.warning("sink.not_confirmed", error=str(error)[:1000])
            return False
        del self._stored[: len(stored)]
        return True

    def _doubtful(self, stored: list[_Stored]) -> list[Deletion]:
        found: dict[str, Deletion] = {}
        for one in stored:
            for deletion in self._plane.deletions.of(one.collection.project_id, one.collection.name):
                if deletion.id in one.covering or deletion.id not in one.known:
                    found[deletion.id] = deletion
        return list(found.values())


class Deleter:
    """Does the deletions, one after the other, while `leads` says that it is this process that does them."""

    def __init__(self, writer: DeletionWriter, clickhouse: ClickHouse, leads: Callable[[], bool]) -> None:
        self._plane = writer.plane
        self._writer = writer
        self._clickhouse = clickhouse
        self._leads = leads
        self._failing: set[str] = set()  # ids, each said once
        self._seen: dict[str, float] = {}  # when each deletion that is not done was first seen here
        metrics.deletion_wait_seconds.set_function(self._longest_wait)

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set. A deletion that fails is tried again, and holds up no other."""
        wait = LOOK_SECONDS
        while not stop.wait(wait):
            wait = LOOK_SECONDS
            pending = self._plane.deletions.pending() if self._leads() else []
            now = time.monotonic()
            self._seen = {one.id: self._seen.get(one.id, now) for one in pending}
            self._failing &= self._seen.keys()
            for deletion in pending:
                if stop.is_set() or not self._leads():
                    break
                if not self._done(deletion, stop):
                    wait = RETRY_SECONDS

    def _done(self, deletion: Deletion, stop: threading.Event) -> bool:
        try:
            if not Table(self._clickhouse, deletion).delete(stop):
                return False  # it is time to stop
            if self._writer.done(deletion):
                metrics.deletions_done.inc()
                log.info(
                    "sink.deletion_done",
                    deletion=deletion.id,
                    project=deletion.project_id,
                    collection=deletion.collection,
                    what=deletion.what,
                )
        except (StoreError, ControlError) as error:
            if deletion.id not in self._failing:
                log.warning("sink.deletion_fails", deletion=deletion.id, error=str(error)[:1000])
            self._failing.add(deletion.id)
            return False
        except Exception:  # a fault of ours: the deletions of others go on, and this one is tried again
            log.exception("sink.deletion_fails", deletion=deletion.id)
            return False
        return True

    def _longest_wait(self) -> float:
        first = min(self._seen.values(), default=None)
        return 0.0 if first is None else time.monotonic() - first


class Table:
    """The rows of a collection's table that a deletion is about."""

    def __init__(self, clickhouse: ClickHouse, deletion: Deletion) -> None:
        self._clickhouse = clickhouse
        self._deletion = deletion
        self._collection = Collection(deletion.project_id, deletion.collection)
        self._table = table(self._collection)
        # No collection's name begins with _.
        self._keys = f"{quoted(database(deletion.project_id))}.{quoted(f'_deletion_{deletion.id}')}"

    def has_rows(self) -> bool:
        """Whether there are rows to delete. Blocks; raises StoreError."""
        parameters = Parameters()
        try:
            return bool(
                self._clickhouse.number(
                    f"SELECT count() FROM (SELECT 1 FROM {self._rows(parameters)} LIMIT 1)",  # noqa: S608 - names are quoted, values are parameters
                    SETTINGS,
                    parameters.values,
                )
            )
        except StoreError as error:
            if error.code in (UNKNOWN_TABLE, UNKNOWN_DATABASE):
                return False
            raise

    def delete(self, stop: threading.Event) -> bool:
        """Take the rows out, or the property out of them; False where `stop` was set before.

        Blocks until the engine has rewritten the parts of the table that hold them. Raises StoreError, also where the engine fails to.
        """
        while self._is_changed_now():
            if stop.wait(LOOK_SECONDS):
                return False
        while self.has_rows():
            self._change()
            while self._is_changed_now():
                if stop.wait(LOOK_SECONDS):
                    return False
        self._drop_keys()
        return True

    def _rows(self, parameters: Parameters) -> str:
        """The rows that the deletion is about. Those that pass filters are chosen among events, whatever older copies say."""
        deletion = self._deletion
        final = " FINAL" if deletion.what == "events" else ""
        return f"{self._table}{final} WHERE {covered_sql(deletion, parameters)} AND {about_sql(deletion, parameters)}"

    def _change(self) -> None:
        parameters = Parameters()
        deletion = self._deletion
        covered = covered_sql(deletion, parameters)
        if deletion.what == "collection":
            self._mutate(f"DELETE WHERE {covered}", parameters)
        elif deletion.property_name is not None:
            value = without_property_sql(deletion.property_name)
            about = about_sql(deletion, parameters)
            self._mutate(f"UPDATE properties = {value} WHERE {covered} AND {about}", parameters)
        else:
            # By key, since older copies of an event may not pass the filters; and the keys are kept in a table, since a
            # part that is rewritten later must not choose again, among what others have lost already.
            self._clickhouse.command(
                f"CREATE TABLE IF NOT EXISTS {self._keys} (timestamp DateTime64(3, 'UTC'), id UUID) "
                "ENGINE = MergeTree ORDER BY (timestamp, id)"
            )
            chosen = Parameters()
            self._clickhouse.command(
                f"INSERT INTO {self._keys} SELECT timestamp, id FROM {self._rows(chosen)}",  # noqa: S608 - as above
                settings=SETTINGS,
                parameters=chosen.values,
            )
            self._mutate(f"DELETE WHERE (timestamp, id) IN {self._keys} AND {covered}", parameters)

    def _mutate(self, change: str, parameters: Parameters) -> None:
        self._clickhouse.command(f"ALTER TABLE {self._table} {change}", None, SETTINGS, parameters.values)

    def _is_changed_now(self) -> bool:
        """Whether the engine is still rewriting parts of the table, for whatever reason. Raises StoreError where it fails to: it would
        try for ever."""
        parameters = Parameters()
        where = (
            f"database = {parameters.text(database(self._collection.project_id))} "
            f"AND table = {parameters.text(self._collection.name)} AND NOT is_done AND NOT is_killed"
        )
        # How many, and why one of them fails.
        count, _, why = self._clickhouse.text(
            f"SELECT concat(toString(count()), ' ', max(latest_fail_reason)) FROM system.mutations WHERE {where}",  # noqa: S608 - names are parameters
            parameters.values,
        ).partition(" ")
        if why:
            raise StoreError(f"a change of {self._table} fails, and the engine tries it again and again: {why}")
        return count != "0"

    def _drop_keys(self) -> None:
        if self._deletion.what != "events":
            return
        try:
            self._clickhouse.command(f"DROP TABLE IF EXISTS {self._keys}")
        except StoreError as error:
            if error.code != UNKNOWN_DATABASE:
                raise
