"""How far a sink is behind, and what it never got to see: asked of Kafka beside the reading, so also while that is paused."""

import threading
import time
from collections.abc import Iterable, Mapping

import structlog
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec  # the package offers it without saying so to type checkers

from headwater import metrics
from headwater.kafka import admin_client
from headwater.settings import Settings
from sinks.batches import Partition
from sinks.consumer import Sink

LOOK_SECONDS = 5.0
STILL_SECONDS = 60.0  # an insert may take as long
ANSWER_SECONDS = 5.0

log = structlog.get_logger("headwater.sink")


class Still:
    """Tells of which partitions nothing is stored though records wait. Pure."""

    def __init__(self) -> None:
        self._since: dict[Partition, tuple[int, float]] = {}  # what was stored then, and since when

    def look(self, stored: Mapping[Partition, int], ends: Mapping[Partition, int], now: float) -> set[Partition]:
        """Those with records behind what is stored, which has not moved for STILL_SECONDS."""
        since = {}
        for place, end in ends.items():
            if (offset := stored[place]) < end:
                before = self._since.get(place)
                since[place] = before if before is not None and before[0] == offset else (offset, now)
        self._since = since
        return {place for place, (_, began) in since.items() if now - began >= STILL_SECONDS}


def watch_lag(settings: Settings, sink: Sink, stop: threading.Event, pause: float = LOOK_SECONDS) -> None:
    """Until `stop` is set, look every `pause` seconds: set the sink's lag, tell it what waits and is not stored, and count and log the
    offsets that were lost."""
    admin, still = admin_client(settings), Still()
    while not stop.wait(pause):
        try:
            stored = sink.stored
            ends = _offsets(admin, stored, OffsetSpec.latest())  # type: ignore[no-untyped-call]  # the client's own gap
            metrics.sink_lag_records.set(sum(max(0, end - stored[place]) for place, end in ends.items()))
            sink.not_stored = _waiting(admin, stored, ends, still.look(stored, ends, time.monotonic()))
            _tell_lost(admin, sink)
        except KafkaException:  # it is said by who reads
            admin = admin_client(settings)


def _waiting(
    admin: AdminClient, stored: Mapping[Partition, int], ends: Mapping[Partition, int], still: set[Partition]
) -> dict[Partition, int]:
    """How many records wait in these partitions; without those that Kafka has let go."""
    earliest = OffsetSpec.earliest()  # type: ignore[no-untyped-call]  # the client's own gap
    begins = _offsets(admin, still, earliest)
    counts = {place: ends[place] - max(stored[place], begins.get(place, 0)) for place in still}
    return {place: count for place, count in counts.items() if count > 0}


def _tell_lost(admin: AdminClient, sink: Sink) -> None:
    """Tell gaps that retention made from those of transactions: in the latter, what is older is still there."""
    gaps = list(sink.gaps)
    earliest = OffsetSpec.earliest()  # type: ignore[no-untyped-call]  # the client's own gap
    begins = _offsets(admin, {gap.place for gap in gaps}, earliest)
    for gap in gaps:
        sink.gaps.popleft()
        lost = min(begins.get(gap.place, 0), gap.found) - gap.expected
        if lost > 0:
            metrics.offsets_lost.labels("sink").inc(lost)
            topic, partition = gap.place
            log.error("sink.offsets_lost", topic=topic, partition=partition, offset=gap.expected, records=lost)


def _offsets(admin: AdminClient, places: Iterable[Partition], which: OffsetSpec) -> dict[Partition, int]:
    """An offset of each partition that exists. Blocks; raises KafkaException where Kafka gives no answer at all."""
    asked = {TopicPartition(*place): which for place in places}
    if not asked:
        return {}
    found, failed = {}, None
    for place, future in admin.list_offsets(asked, request_timeout=ANSWER_SECONDS).items():
        try:
            found[place.topic, place.partition] = future.result().offset
        except KafkaException as error:  # a topic that was deleted
            failed = error
    if failed is not None and not found:
        raise failed
    return found
