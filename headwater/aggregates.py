"""Rolling aggregates: what a processor counts per partition and collection, its record, its merging, and `/live`'s shape.

The processors' state is the compacted topic `<prefix>.state`, one partition for each of the raw topic. A partition's
records are written in transactions together with its watermark, so whoever follows the topic with
`isolation.level=read_committed` sees each partition exactly as of some raw offset. Keys are text,
`<partition>/<kind>/<project>/<collection>` (the last two only where the kind has them; of a `user` the last is who it is, of
`ids` a number is in the project's place); a value follows the schema that its kind names. A collection's figures are the sum over its partitions.

Windows end now: `now` (milliseconds since 1970 UTC, as all times here) is an argument wherever they are cut. What lies
further back shows in the totals only, and so does what claims to come from the future.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from headwater.codec import codec

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
KEPT = {MINUTE: 60, HOUR: 48, DAY: 30}  # how many windows of each length are kept, the current one among them
AHEAD = 5 * MINUTE  # clocks differ: an event this far ahead still counts in its window, once that has begun

Kind = Literal["watermark", "backfill", "ownership", "aggregates", "catalogue", "user", "ids"]
Windows = dict[int, list[int]]  # the window's number since 1970 -> [events, bytes]


class TableKey(NamedTuple):
    """The key of a record of the state topic. Project and collection are empty for kinds that concern the partition."""

    partition: int
    kind: str
    project_id: str = ""
    collection: str = ""


def table_key(partition: int, kind: Kind, project_id: str = "", collection: str = "") -> bytes:
    """The bytes of a key. A project's id never holds `/`; a collection's name may."""
    parts = (str(partition), kind, project_id, collection) if project_id else (str(partition), kind)
    return "/".join(parts).encode()


def parse_key(key: bytes) -> TableKey:
    """The parts of a key that `table_key` made."""
    partition, *rest = key.decode().split("/", 3)
    return TableKey(int(partition), *rest)


@dataclass(slots=True)
class Aggregates:
    """The figures of one collection, from one partition or merged over several."""

    offset: int = -1  # the last raw offset counted; without meaning once merged
    events: int = 0
    size: int = 0  # bytes
    last_event_at: int | None = None
    minutes: Windows = field(default_factory=dict)
    hours: Windows = field(default_factory=dict)
    days: Windows = field(default_factory=dict)
    received_minutes: Windows = field(default_factory=dict)

    def add(
        self, timestamps: Sequence[int], received: Sequence[int], sizes: Sequence[int], offset: int, now: int
    ) -> None:
        """Count a block of events, given as columns of one length (at least 1), the last of them read at `offset`."""
        self.offset = offset
        self.events += len(sizes)
        self.size += sum(sizes)
        newest: int | None = max(timestamps)
        if newest is not None and newest > now + AHEAD:
            newest = max((time for time in timestamps if time <= now + AHEAD), default=None)
        if newest is not None:
            self.last_event_at = _later(newest, self.last_event_at)
            for windows, length in ((self.minutes, MINUTE), (self.hours, HOUR), (self.days, DAY)):
                if newest // length > now // length - KEPT[length]:
                    _count(windows, length, timestamps, sizes, now)
        _count(self.received_minutes, MINUTE, received, sizes, now)

    def prune(self, now: int) -> None:
        """Drop the windows that have passed."""
        for windows, length in self._windows():
            oldest = now // length - KEPT[length] + 1
            for start in [start for start in windows if start < oldest]:
                del windows[start]

    def encode(self) -> bytes:
        """The record of the state topic."""
        return codec("aggregates").encode(
            {
                "offset": self.offset,
                "events": self.events,
                "bytes": self.size,
                "last_event_at": self.last_event_at,
                "minutes": _columns(self.minutes),
                "hours": _columns(self.hours),
                "days": _columns(self.days),
                "received_minutes": _columns(self.received_minutes),
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> "Aggregates":
        """The figures from their record. Raises CodecError."""
        record = codec("aggregates").decode(data)
        return cls(
            record["offset"],
            record["events"],
            record["bytes"],
            record["last_event_at"],
            _from_columns(record["minutes"]),
            _from_columns(record["hours"]),
            _from_columns(record["days"]),
            _from_columns(record["received_minutes"]),
        )

    def live(self, now: int) -> dict[str, Any]:
        """The figures as `/live` answers them: windows as [start, n], oldest first, those without events left out."""
        return {
            "events": self.events,
            "bytes": self.size,
            "last_event_at": None if self.last_event_at is None else _iso(self.last_event_at),
            "received": {"minutes": _rows(self.received_minutes, MINUTE, 0, now)},
            "event_time": {
                "minutes": _rows(self.minutes, MINUTE, 0, now),
                "hours": _rows(self.hours, HOUR, 0, now),
                "days": _rows(self.days, DAY, 0, now),
            },
            "event_time_bytes": {
                "minutes": _rows(self.minutes, MINUTE, 1, now),
                "hours": _rows(self.hours, HOUR, 1, now),
                "days": _rows(self.days, DAY, 1, now),
            },
        }

    def _windows(self) -> tuple[tuple[Windows, int], ...]:
        return (
            (self.minutes, MINUTE),
            (self.hours, HOUR),
            (self.days, DAY),
            (self.received_minutes, MINUTE),
        )


def merge(parts: Iterable[Aggregates], now: int) -> Aggregates:
    """The sum over partitions, with windows as of `now`. The parts are left as they are."""
    total = Aggregates()
    for part in parts:
        total.events += part.events
        total.size += part.size
        if part.last_event_at is not None:
            total.last_event_at = _later(part.last_event_at, total.last_event_at)
        for (into, _), (windows, _) in zip(total._windows(), part._windows(), strict=True):
            for start, (events, size) in windows.items():
                cell = into.setdefault(start, [0, 0])
                cell[0] += events
                cell[1] += size
    total.prune(now)
    return total


class LiveFigures:
    """The figures of all collections, folded from the state topic's records in the order of their partitions.

    `apply` and `figures` may run in different threads; records are kept encoded and decoded when asked for.
    """

    def __init__(self) -> None:
        self._records: dict[str, dict[str, dict[int, bytes]]] = {}  # project -> collection -> partition -> record

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Take one record of the state topic; kinds other than aggregates are ignored."""
        where = parse_key(key)
        if where.kind != "aggregates":
            return
        collections = self._records.setdefault(where.project_id, {})
        if value is None:
            collections.get(where.collection, {}).pop(where.partition, None)
        else:
            collections.setdefault(where.collection, {})[where.partition] = value

    def figures(self, project_id: str, now: int) -> dict[str, Any]:
        """What `/live` answers for a project: `{"collections": {name: figures}}`. Raises CodecError."""
        collections = self._records.get(project_id, {})
        return {
            "collections": {
                name: self.collection(project_id, name, now).live(now)
                for name, parts in sorted(collections.copy().items())
                if parts
            }
        }

    def collection(self, project_id: str, name: str, now: int) -> Aggregates:
        """The figures of one collection, over its partitions; zeros where there is none. Raises CodecError."""
        parts = self._records.get(project_id, {}).get(name, {})
        return merge(map(Aggregates.decode, list(parts.values())), now)


def _count(windows: Windows, length: int, times: Sequence[int], sizes: Sequence[int], now: int) -> None:
    """Count events into the windows that are kept."""
    oldest, latest = (now // length - KEPT[length] + 1) * length, now + AHEAD
    first, last = min(times), max(times)
    if first // length == last // length and oldest <= first and last <= latest:
        _count_in(windows, first // length, len(sizes), sum(sizes))
        return
    if last < oldest:
        return
    for time, size in zip(times, sizes, strict=True):
        if oldest <= time <= latest:
            _count_in(windows, time // length, 1, size)


def _count_in(windows: Windows, start: int, events: int, size: int) -> None:
    cell = windows.setdefault(start, [0, 0])
    cell[0] += events
    cell[1] += size


def _later(time: int, than: int | None) -> int:
    return time if than is None else max(time, than)


def _columns(windows: Windows) -> dict[str, list[int]]:
    starts = sorted(windows)
    return {
        "starts": starts,
        "events": [windows[start][0] for start in starts],
        "bytes": [windows[start][1] for start in starts],
    }


def _from_columns(columns: dict[str, list[int]]) -> Windows:
    return {
        start: [events, size]
        for start, events, size in zip(columns["starts"], columns["events"], columns["bytes"], strict=True)
    }


def _rows(windows: Windows, length: int, which: int, now: int) -> list[list[str | int]]:
    return [[_iso(start * length), windows[start][which]] for start in sorted(windows) if start * length <= now]


def _iso(time: int) -> str:
    return datetime.fromtimestamp(time // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{time % 1000:03d}Z"
