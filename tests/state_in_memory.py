"""The state of a partition over a table in memory, which derives its index of ids as the processors' table does."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from headwater.settings import Settings, load_settings
from processors.id_window import IdWindow, index_changes, is_chunk
from processors.state import PartitionState


class MemoryTable:
    """One partition's table: `values` are the records and the index."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def apply(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Write changes, as `processors.table.StateTable` does."""
        chunks = {key: value for key, value in changes.items() if is_chunk(key)}
        index = dict(index_changes(chunks, self._read_many))
        for key, value in [*changes.items(), *index.items()]:
            if value is None:
                self.values.pop(key, None)
            else:
                self.values[key] = value

    def read(self, partition: int, key: bytes) -> bytes | None:
        """A key's value."""
        return self.values.get(key)

    def under(self, partition: int, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The keys that begin so, in order, with their values."""
        return iter(sorted((key, value) for key, value in self.values.items() if key.startswith(prefix)))

    def _read_many(self, keys: list[bytes]) -> list[bytes | None]:
        return [self.values.get(key) for key in keys]


def window_over(table: MemoryTable, partition: int = 0, **settings: Any) -> IdWindow:
    """The window of ids that the table holds."""
    return IdWindow(_settings(**settings), table, partition)


def state_over(table: MemoryTable, partition: int = 0, **settings: Any) -> PartitionState:
    """The state that the table holds."""
    return PartitionState(partition, table.values.get, window_over(table, partition, **settings))


@lru_cache  # reading them takes ten milliseconds
def _settings(**settings: Any) -> Settings:
    return load_settings(**settings)
