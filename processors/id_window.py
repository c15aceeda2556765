"""The ids of a partition's events that were put out lately: what drops an event that its sender sends again.

A partition's state has them in chunks, records of the kind `ids` (schemas/seen_ids), written in the transaction that makes
their events count. The table derives an index from the chunks it applies, a key for each id, and removes those of a chunk
that goes: asking for an id is one look into RocksDB, and what a crash leaves is what the changelog has had. In memory is only
what no transaction has yet.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from headwater.aggregates import HOUR, table_key
from headwater.codec import codec
from headwater.identity import ID_BYTES
from headwater.metrics import window_ids
from headwater.settings import Settings

INDEX = b"\xff"  # begins the keys of the index, and no others
CHUNK_IDS = 1_024  # the most of one chunk
OPEN_IDS = 256  # a chunk with fewer takes the next ids too: it is written again, and there are fewer of them to keep
SPAN = 60_000  # milliseconds from a chunk's first id to its last
REMOVED_IDS = 4_096  # of chunks that go in one settle, beside twice what comes

Changes = Mapping[bytes, bytes | None]
Reader = Callable[[list[bytes]], Sequence[bytes | None]]


class Table(Protocol):
    """Where a partition's state is kept."""

    def read(self, partition: int, key: bytes) -> bytes | None:
        """A key's value; None where it has none."""

    def under(self, partition: int, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The keys that begin so, in order, with their values."""


class _Chunk(NamedTuple):
    """A record of ids: when the first of them was put out (milliseconds since 1970 UTC, its number), and how many it has."""

    began: int
    ids: int


class IdWindow:
    """The window of one partition, over what its table holds. Times are milliseconds since 1970 UTC.

    An id is in it for `id_window_hours` at least, and for SPAN more at most, unless it is among the oldest of more than
    `id_window_max_ids`.
    """

    def __init__(self, settings: Settings, table: Table, partition: int) -> None:
        self._kept = int(settings.id_window_hours * HOUR) + SPAN
        self._max = settings.id_window_max_ids
        self._table = table
        self._partition = partition
        self._prefix = table_key(partition, "ids") + b"/"
        self._fresh: dict[bytes, None] = {}  # in their order
        self._settling: dict[bytes, None] = {}  # in changes that the table may not have yet
        self._due: set[int] = set()  # chunks that have passed with an id that came again
        self._chunks: deque[_Chunk] | None = None  # oldest first, with those changes; None: as the table has them
        self._held = 0  # ids in them

    def has(self, digest: bytes, now: int) -> bool:
        """Whether an event of this id was put out."""
        if digest in self._fresh or digest in self._settling:
            return True
        value = self._table.read(self._partition, INDEX + digest)
        if value is None:
            return False
        began = int.from_bytes(value)
        if began + self._kept > now:
            return True
        self._due.add(began)
        return False

    def add(self, digests: Iterable[bytes]) -> None:
        """Events of these ids are put out."""
        self._fresh.update(dict.fromkeys(digests))

    def changes(self, now: int) -> dict[bytes, bytes | None]:
        """The records that changed since this was last called; None for one that goes."""
        chunks = self._load()
        fresh = list(self._fresh)[-self._max :]
        last = chunks[-1].began if chunks else 0
        records = dict.fromkeys(self._expired(chunks, len(fresh), now))
        records |= self._filled(chunks, fresh, last, now)
        self._settling |= self._fresh
        self._fresh = {}
        self._due = set()
        if records:
            window_ids.labels(str(self._partition)).set(self._held)
        return records

    def undo(self) -> None:
        """Forget every change that the table does not have."""
        self._fresh = {}
        self._settling = {}
        self._due = set()
        self._chunks = None

    def trim(self) -> None:
        """The table has the changes."""
        self._settling = {}

    def _load(self) -> deque[_Chunk]:
        if self._chunks is None:
            found = self._table.under(self._partition, self._prefix)
            self._chunks = deque(_Chunk(_began(key), len(_ids(value)) // ID_BYTES) for key, value in found)
            self._held = sum(chunk.ids for chunk in self._chunks)
            window_ids.labels(str(self._partition)).set(self._held)
        return self._chunks

    def _expired(self, chunks: deque[_Chunk], coming: int, now: int) -> Iterator[bytes]:
        """Take out the chunks that go: their keys.

        Those with an id that came again must go before that id is in another chunk: with a chunk go all its ids' keys.
        """
        for late in [chunk for chunk in chunks if chunk.began in self._due] if self._due else ():
            chunks.remove(late)
            self._held -= late.ids
            yield self._key(late.began)
        work = REMOVED_IDS + 2 * coming
        while chunks and work > 0 and (chunks[0].began + self._kept <= now or self._held + coming > self._max):
            gone = chunks.popleft()
            self._held -= gone.ids
            work -= gone.ids
            yield self._key(gone.began)

    def _filled(self, chunks: deque[_Chunk], fresh: Sequence[bytes], last: int, now: int) -> dict[bytes, bytes]:
        """Put ids into the newest chunk where it takes more, the rest into new ones: their records."""
        records = {}
        self._held += len(fresh)
        if fresh and chunks and chunks[-1].ids < OPEN_IDS and now < chunks[-1].began + SPAN:
            began, count = chunks.pop()
            value = self._table.read(self._partition, self._key(began))
            assert value is not None  # what is in `chunks` is in the table once it is settled
            more, fresh = fresh[: CHUNK_IDS - count], fresh[CHUNK_IDS - count :]
            chunks.append(_Chunk(began, count + len(more)))
            records[self._key(began)] = _record(_ids(value) + b"".join(more))
        for first in range(0, len(fresh), CHUNK_IDS):
            part = fresh[first : first + CHUNK_IDS]
            last = max(now, last + 1)
            chunks.append(_Chunk(last, len(part)))
            records[self._key(last)] = _record(b"".join(part))
        return records

    def _key(self, began: int) -> bytes:
        return self._prefix + f"{began:015d}".encode()


def is_chunk(key: bytes) -> bool:
    """Whether a record of the state holds ids."""
    return key.split(b"/", 2)[1:2] == [b"ids"]


def index_changes(chunks: Changes, read: Reader) -> Iterator[tuple[bytes, bytes | None]]:
    """What chunks change in the index when they come to what `chunks` says; None for a key that goes.

    `read` gives the values of keys as they are. What goes comes first: an id of a chunk that goes may be in one that comes.
    """
    keys = list(chunks)
    before = dict(zip(keys, read(keys), strict=True)) if keys else {}
    for key, old in before.items():
        if chunks[key] is None and old is not None:
            yield from ((INDEX + digest, None) for digest in _split(_ids(old)))
    for key, value in chunks.items():
        if value is not None:
            old, ids = before[key], _ids(value)
            known = b"" if old is None else _ids(old)
            began = _began(key).to_bytes(8)
            yield from ((INDEX + digest, began) for digest in _split(ids.removeprefix(known)))


def _began(key: bytes) -> int:
    return int(key.rpartition(b"/")[2])


def _record(ids: bytes) -> bytes:
    return codec("seen_ids").encode({"ids": ids})


def _ids(value: bytes) -> bytes:
    ids: bytes = codec("seen_ids").decode(value)["ids"]
    return ids


def _split(ids: bytes) -> list[bytes]:
    return [ids[at : at + ID_BYTES] for at in range(0, len(ids), ID_BYTES)]
