"""Reading a stretch of partitions, from one time to another: as fast as records come, and with their end known."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from typing import Literal, NamedTuple

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, KafkaException, Message, TopicPartition

from headwater.aggregates import table_key
from headwater.codec import CodecError, codec
from headwater.kafka import assign, partition_reader_config, what_comes
from headwater.offsets import Offsets, Place
from headwater.settings import Settings
from headwater.topics import state_topic

BATCH_RECORDS = 5_000
POLL_SECONDS = 0.1
SILENT_SECONDS = 10.0
NEAR_OFFSETS = 100  # transactions' markers are no records, and stand between them
NEWEST_STATE = 2_000  # offsets of the state: nearly always a watermark is among them
ALL_OFFSETS = 1 << 62

Progress = Callable[[str, int, int], None]
"""Told how far a search is: what is searched, how many records have been read, and how many there are."""


def quiet(_what: str, _read: int, _all: int) -> None:
    """A progress that nobody watches."""


class Searched(NamedTuple):
    """Where was looked, and what was there: `since` is the time of the oldest record that was read, None where none was."""

    place: str
    records: int
    since: int | None = None


class Scanner:
    """Reads stretches of topics. Every method blocks; raises KafkaException where Kafka does not answer."""

    def __init__(self, settings: Settings, offsets: Offsets, progress: Progress = quiet) -> None:
        self._settings = settings
        self._offsets = offsets
        self._progress = progress

    def scan(
        self,
        what: str,
        places: Iterable[Place],
        take: Callable[[Message], None],
        since: int | None = None,
        until: int | None = None,
        begin: Mapping[Place, int] | None = None,
    ) -> Searched:
        """Hand all records of partitions to `take` that were written between two times, and come at an offset in `begin` or later."""
        asked = list(places)
        ends = self._offsets.ends(asked, committed=True)
        first = dict(begin or {})
        if since is not None:
            later = self._offsets.at(asked, since)
            first = {place: max(first.get(place, 0), later.get(place, ends[place])) for place in asked}
        if until is not None:
            ends |= {place: min(ends[place], offset) for place, offset in self._offsets.at(asked, until).items()}
        stretches = self._stretches(asked, first, ends)
        return self._read(what, stretches, take, since)

    def newest(self, places: Iterable[Place], count: int) -> list[Message]:
        """The records among the last `count` offsets of each partition, those of a partition in their order."""
        asked = list(places)
        ends = self._offsets.ends(asked, committed=True)
        records: list[Message] = []
        self.scan("the newest records", asked, records.append, begin={place: ends[place] - count for place in asked})
        return records

    def first(self, begin: Mapping[Place, int]) -> dict[Place, Message]:
        """The first record of each partition at an offset or behind it; partitions that have none there are missing."""
        found: dict[Place, Message] = {}
        asked, begin = list(begin), dict(begin)
        stretches = self._stretches(asked, begin, self._offsets.ends(asked, committed=True))
        near = {place: (first, min(first + NEAR_OFFSETS, end)) for place, (first, end) in stretches.items()}
        self._read("the first records", near, lambda one: _keep_first(found, one))
        return found

    def watermarks(
        self, partitions: Iterable[int], kind: Literal["watermark", "backfill"] = "watermark"
    ) -> dict[int, int]:
        """Up to which offset partitions of the raw topic, or of the one for history, are processed, as the processors' state says.

        Those of which nothing was processed are missing.
        """
        topic, found = state_topic(self._settings), dict[int, int]()
        left = {table_key(partition, kind): partition for partition in partitions}
        for count in (NEWEST_STATE, ALL_OFFSETS):
            places = [Place(topic, partition) for partition in left.values()]
            for record in self.newest(places, count) if places else ():
                partition, value = left.get(record.key() or b""), record.value()
                if partition is not None and value:
                    with suppress(CodecError):  # no record of a processor's: the one before it counts
                        found[partition] = int(codec("watermark").decode(value)["offset"])
            left = {key: partition for key, partition in left.items() if partition not in found}
        return found

    def _stretches(
        self, places: list[Place], begin: Mapping[Place, int], ends: Mapping[Place, int]
    ) -> dict[Place, tuple[int, int]]:
        """The offsets to read, of partitions that have any."""
        kept = self._offsets.beginnings(places)
        first = {place: max(kept[place], begin.get(place, 0)) for place in places}
        return {place: (first[place], ends[place]) for place in places if first[place] < ends[place]}

    def _read(
        self,
        what: str,
        stretches: dict[Place, tuple[int, int]],
        take: Callable[[Message], None],
        since: int | None = None,
    ) -> Searched:
        total = sum(end - begin for begin, end in stretches.values())
        if not stretches:
            return Searched(what, 0)
        records, oldest = 0, None
        reader = Consumer(partition_reader_config(self._settings, "scan") | {"log_level": 0})
        with closing(reader):
            assign(reader, [TopicPartition(*place, begin) for place, (begin, _) in stretches.items()])
            unread = set(stretches)
            deadline = time.monotonic() + SILENT_SECONDS
            while unread:
                messages = what_comes(reader, BATCH_RECORDS, POLL_SECONDS)
                if not messages:
                    if time.monotonic() > deadline:
                        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
                    continue
                deadline = time.monotonic() + SILENT_SECONDS
                for message in messages:
                    place = Place(message.topic() or "", message.partition() or 0)
                    error, offset = message.error(), message.offset() or 0
                    if error is None:
                        _, end = stretches[place]
                        written_at = time_of(message)
                        if offset < end and (since is None or written_at >= since):  # times need not be in order
                            oldest = written_at if oldest is None else min(oldest, written_at)
                            records += 1
                            take(message)
                        if offset >= end - 1:
                            unread.discard(place)
                    elif error.code() == KafkaError._PARTITION_EOF:
                        unread.discard(place)
                    elif error.code() != KafkaError._ALL_BROKERS_DOWN:
                        raise KafkaException(error)
                self._progress(what, records, total)
        return Searched(what, records, oldest)


def time_of(message: Message) -> int:
    """When a record was written; 0 where it does not say."""
    kind, written_at = message.timestamp()
    return 0 if kind == TIMESTAMP_NOT_AVAILABLE else written_at


def _keep_first(found: dict[Place, Message], record: Message) -> None:
    found.setdefault(Place(record.topic() or "", record.partition() or 0), record)
