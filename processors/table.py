"""The processors' Faust table: local state in RocksDB, one database per partition, behind a changelog that is fenced.

The table is written by partition, and only with what the changelog already holds: values and the changelog offset up to
which they stand go into RocksDB as one write, so whatever a crash leaves is a state that the changelog has had.
"""

import shutil
import time
from collections.abc import Iterable, Iterator
from typing import Any

import faust
import structlog
from faust.stores.rocksdb import Store
from faust.tables import TableManager
from rocksdict import WriteBatch

from headwater.settings import Settings
from headwater.topics import state_topic
from processors.id_window import index_changes, is_chunk

APPLIED_AT = b"applied_at"
DAMAGED = ("Corruption", "Invalid argument")  # how RocksDB's errors begin then; or a file is missing
MISSING = "No such file"

log = structlog.get_logger("headwater.processors")

# Small buffers: twelve partitions share the memory of a process whose hot state lies in Python objects anyway.
ROCKSDB_OPTIONS = {
    "max_open_files": 64,
    "write_buffer_size": 4 * 1024 * 1024,
    "max_write_buffer_number": 2,
    "target_file_size_base": 8 * 1024 * 1024,
    "block_cache_size": 1024 * 1024,
    "bloom_filter_size": 10,  # bits for each key: nearly all ids that are asked for are new ones
}


class StateError(Exception):
    """A partition's local state cannot be read or written; no record is at fault."""


class StateLostError(StateError):
    """A partition's local state was damaged and is gone: it has to be recovered from the changelog."""


class PromptTables(TableManager):
    """Faust's tables without the second that it waits for more of them to be declared: ours is there before the app starts."""

    async def on_start(self) -> None:
        """As Faust's, without the wait."""
        if not self.should_stop:
            await self._update_channels()
            await self.recovery.start()


class LocalStore(Store):
    """Faust's RocksDB store, which makes a database anew where what is in its folder cannot be opened."""

    def forget_damaged(self, partition: int, error: Exception) -> None:
        """Let a partition's database go, with its folder. The next one who asks has an empty one."""
        path = self.partition_path(partition)
        log.error("local state is damaged; it is made anew from the state topic", partition=partition, error=str(error))
        database = self._dbs.pop(partition, None)
        if database is not None:
            database.close()
        shutil.rmtree(path)

    def _open_for_partition(self, partition: int) -> Any:
        try:
            return super()._open_for_partition(partition)
        except Exception as error:  # RocksDB's have no class of their own
            if not (_says_damaged(error) or MISSING in str(error)) or not self.partition_path(partition).is_dir():
                raise
            self.forget_damaged(partition, error)
            return super()._open_for_partition(partition)


class StateTable(faust.Table[bytes, bytes]):
    """A table whose keys are read and written by partition, outside of Faust's streams. Keys are in headwater.aggregates.

    Whatever reads or writes a partition raises StateError; StateLostError where its database is damaged: it is empty then.
    """

    def __init__(self, app: faust.App, settings: Settings) -> None:
        self._topic_name = state_topic(settings)
        super().__init__(
            app,
            name="state",
            partitions=settings.raw_partitions,
            key_type=bytes,
            value_type=bytes,
            options=dict(ROCKSDB_OPTIONS),
            beacon=app.tables.beacon,
        )

    @classmethod
    def declared(cls, app: faust.App, settings: Settings) -> "StateTable":
        """The table of an app that has not started yet."""
        table = cls(app, settings)
        app.tables.add(table)
        return table

    def _changelog_topic_name(self) -> str:
        return self._topic_name

    def read(self, partition: int, key: bytes) -> bytes | None:
        """A key's value; None where it has none."""
        try:
            value: bytes | None = self._database(partition).get(key)
        except Exception as error:
            raise self._failure(partition, error) from error
        return value

    def under(self, partition: int, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The keys that begin so, in order, with their values."""
        try:
            iterator = self._database(partition).iter()
            iterator.seek(prefix)
            while iterator.valid() and iterator.key().startswith(prefix):
                yield iterator.key(), iterator.value()
                iterator.next()
            iterator.status()  # raises where it ended at what cannot be read
        except Exception as error:
            raise self._failure(partition, error) from error

    def offset(self, partition: int) -> int:
        """The changelog offset up to which the local state stands; -1 where there is none."""
        offset = self.read(partition, self._store_of_faust.offset_key)
        return -1 if offset is None else int(offset)

    def age(self, partition: int) -> float:
        """Seconds since anything was applied to the local state; 0 where there is none."""
        applied_at = self.read(partition, APPLIED_AT)
        return 0.0 if applied_at is None else time.time() - int(applied_at)

    def apply(self, partition: int, changes: Iterable[tuple[bytes, bytes | None]], offset: int) -> None:
        """Write what the changelog holds up to `offset`, and what follows from it for the index of ids; None deletes a key."""
        batch = WriteBatch(raw_mode=True)
        chunks: dict[bytes, bytes | None] = {}
        for key, value in changes:
            _set(batch, key, value)
            if is_chunk(key):
                chunks[key] = value
        try:
            database = self._database(partition)
            for key, value in index_changes(chunks, database.get):
                _set(batch, key, value)
            batch.put(self._store_of_faust.offset_key, str(offset).encode())
            batch.put(APPLIED_AT, str(int(time.time())).encode())
            database.write(batch)
        except Exception as error:
            raise self._failure(partition, error) from error

    def forget(self, partition: int) -> None:
        """Forget the local state of a partition."""
        database = self._database(partition)
        batch = WriteBatch(raw_mode=True)
        for key in database.keys():  # noqa: SIM118 - a database is no mapping
            batch.delete(key)
        database.write(batch)

    def _failure(self, partition: int, error: Exception) -> StateError:
        """What to raise for an error of a partition's database, which is let go where it is damaged."""
        if not _says_damaged(error):
            return StateError(f"partition {partition}: {error}")
        self._store_of_faust.forget_damaged(partition, error)
        return StateLostError(f"partition {partition}: {error}")

    def _new_store_by_url(self, url: Any) -> LocalStore:
        return LocalStore(
            url,
            self.app,
            self,
            table_name=self.name,
            key_type=self.key_type,
            value_type=self.value_type,
            key_serializer=self.key_serializer,
            value_serializer=self.value_serializer,
            loop=self.loop,
            options=self.options,
        )

    @property
    def _store_of_faust(self) -> Any:
        """Faust's RocksDB store: it opens a partition's database when the partition is assigned, and lets it go after."""
        return self.data

    def _database(self, partition: int) -> Any:
        return self._store_of_faust._db_for_partition(partition)

    def __getitem__(self, key: Any) -> Any:
        raise TypeError("the state is read by partition")

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError("the state is written by partition, behind the fence")


def _set(batch: WriteBatch, key: bytes, value: bytes | None) -> None:
    if value is None:
        batch.delete(key)
    else:
        batch.put(key, value)


def _says_damaged(error: Exception) -> bool:
    return str(error).startswith(DAMAGED)
