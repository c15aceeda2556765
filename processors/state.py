"""What a processor knows of one partition: its aggregates and catalogues, changed in memory and written when settled."""

from collections.abc import Callable
from typing import Literal

from headwater.aggregates import Aggregates, table_key
from headwater.codec import codec
from processors.catalogue import Catalogue
from processors.id_window import IdWindow

WEIGHT_MAX = 15_000  # windows and paths that one partition keeps in memory between settles

Key = tuple[Literal["aggregates", "catalogue"], str, str]  # kind, project, collection


class PartitionState:
    """The state of one partition on top of what its table holds. `read` gives the table's value of a key; `ids` is the window of
    its events' ids, which changes with the rest."""

    def __init__(self, partition: int, read: Callable[[bytes], bytes | None], ids: IdWindow) -> None:
        self.ids = ids
        self._partition = partition
        self._read = read
        self._aggregates: dict[tuple[str, str], Aggregates] = {}  # least recently used first
        self._catalogues: dict[tuple[str, str], Catalogue] = {}
        self._changed: set[tuple[str, str]] = set()
        self._users: dict[
            tuple[str, str], bytes | None
        ] = {}  # those that the table may not have; None for a forgotten one
        self._changed_users: set[tuple[str, str]] = set()
        self._letters: list[tuple[bytes, bytes]] = []
        self.letters_bytes = 0  # of the dead letters that wait for the next settle

    def give_up(self, letter: tuple[bytes, bytes]) -> None:
        """Add a dead letter, its id and its record."""
        self._letters.append(letter)
        self.letters_bytes += len(letter[1])

    def letters(self) -> list[tuple[bytes, bytes]]:
        """The dead letters that came since this was last called."""
        letters, self._letters, self.letters_bytes = self._letters, [], 0
        return letters

    def watermark(self, kind: Literal["watermark", "backfill"] = "watermark") -> int:
        """The last offset of the raw topic, or of the backfill topic, that the table counts; -1 where it counts none."""
        value = self._read(table_key(self._partition, kind))
        return -1 if value is None else int(codec("watermark").decode(value)["offset"])

    def change(self, project_id: str, collection: str) -> tuple[Aggregates, Catalogue]:
        """A collection's aggregates and catalogue, which the caller is about to change."""
        key = project_id, collection
        self._changed.add(key)
        aggregates, catalogue = self._aggregates.pop(key, None), self._catalogues.pop(key, None)
        if aggregates is None or catalogue is None:
            value = self._read(table_key(self._partition, "aggregates", *key))
            aggregates = Aggregates() if value is None else Aggregates.decode(value)
            value = self._read(table_key(self._partition, "catalogue", *key))
            catalogue = Catalogue() if value is None else Catalogue.decode(value)
        self._aggregates[key], self._catalogues[key] = aggregates, catalogue
        return aggregates, catalogue

    def user(self, project_id: str, user: str) -> bytes | None:
        """A user's record (schemas/user), None for one who was never identified, or was forgotten."""
        key = project_id, user
        return self._users[key] if key in self._users else self._read(table_key(self._partition, "user", *key))

    def set_user(self, project_id: str, user: str, record: bytes | None) -> None:
        """Change a user's record; None deletes it."""
        self._users[project_id, user] = record
        self._changed_users.add((project_id, user))

    def changes(self, watermark: int | None, now: int, backfill: int | None = None) -> dict[bytes, bytes | None]:
        """All records that changed since this was last called (None for one that goes), with the watermarks that they stand for,
        where one has moved."""
        records = self.ids.changes(now)
        for key in self._changed:
            aggregates = self._aggregates[key]
            aggregates.prune(now)
            records[table_key(self._partition, "aggregates", *key)] = aggregates.encode()
            records[table_key(self._partition, "catalogue", *key)] = self._catalogues[key].encode()
        self._changed.clear()
        for key in self._changed_users:
            records[table_key(self._partition, "user", *key)] = self._users[key]
        self._changed_users.clear()
        if watermark is not None:
            records[table_key(self._partition, "watermark")] = codec("watermark").encode({"offset": watermark})
        if backfill is not None:
            records[table_key(self._partition, "backfill")] = codec("watermark").encode({"offset": backfill})
        return records

    def undo(self) -> None:
        """Forget every change that the table does not have."""
        self.ids.undo()
        self._aggregates.clear()
        self._catalogues.clear()
        self._changed.clear()
        self._users.clear()
        self._changed_users.clear()
        self._letters, self.letters_bytes = [], 0

    def trim(self) -> None:
        """Let go of what has not been used for longest, so memory stays bounded. Only when the table has all changes."""
        self.ids.trim()
        weight = 0
        for key in reversed(list(self._aggregates)):
            aggregates, catalogue = self._aggregates[key], self._catalogues[key]
            weight += len(aggregates.minutes) + len(aggregates.hours) + len(aggregates.days)
            weight += len(aggregates.received_minutes) + len(catalogue.paths)
            if weight > WEIGHT_MAX and key not in self._changed:
                del self._aggregates[key], self._catalogues[key]
        self._users = {key: self._users[key] for key in self._changed_users}  # the table is asked for the others
