"""How far a sink is behind, and what it never got to see: asked of Kafka beside the reading, so also while that is paused."""

import threading
from collections.abc import Iterable

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
ANSWER_SECONDS = 5.0

log = structlog.get_logger("headwater.sink")


def watch_lag(settings: Settings, sink: Sink, stop: threading.Event, pause: float = LOOK_SECONDS) -> None:
    """Until `stop` is set, look every `pause` seconds: set the sink's lag, and count and log the offsets that were lost."""
    admin = admin_client(settings)
    while not stop.wait(pause):
        try:
            stored = sink.stored
            ends = _offsets(admin, stored, OffsetSpec.latest())  # type: ignore[no-untyped-call]  # the client's own gap
            metrics.sink_lag_records.set(sum(max(0, end - stored[place]) for place, end in ends.items()))
            _tell_lost(admin, sink)
        except KafkaException:  # it is said by who reads
            admin = admin_client(settings)


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
