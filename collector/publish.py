"""Publishing: records into the raw topic or that for history, and one wait for the acknowledgements of a whole request."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from time import monotonic, perf_counter

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from collector.errors import unavailable
from collector.rates import Rates
from collector.records import Record
from headwater import metrics
from headwater.kafka import counting_retries, durable_producer_config, has_topic, note_error
from headwater.membership import kafka_answers
from headwater.settings import Settings
from headwater.topics import backfill_topic, raw_topic

QUEUE_KIB = 65_536  # what waits for Kafka; beyond it requests are answered 503
QUEUE_RECORDS = 200_000
POLL_SECONDS = 0.001
GATHER_SECONDS = 0.005  # what requests bring within it goes to librdkafka together, and so in fewer batches
TURN_RECORDS = 500  # so many at most are gathered, and produced without a pause
LARGE_TURN_RECORDS = 100  # the same of a request that has more: others have waited for its body already
UNACKNOWLEDGED_MAX = 1_000  # of such a request: all reports that are in are read at once
METADATA_SECONDS = 2.0
IDLE_POLL_SECONDS = 5.0
UNANSWERED_MAX = 3  # idle polls, one after the other, at which a new client was answered and the producer was not
FLUSH_SECONDS = 5.0
# A collector that is not ready gets no requests that could show that Kafka takes records again, so it is believed no longer.
FAILED_SECONDS = 10.0

log = structlog.get_logger("headwater.collector")

_acknowledged = metrics.collector_phase_seconds.labels("acknowledge").inc


class Publisher:
    """The producer of a collector. Belongs to one event loop: delivery reports are read in it, while requests wait.

    That costs a timer of a millisecond and saves the hand-over of the interpreter lock for every report that a thread
    of its own would need. What busy collectors send is gathered here and not by librdkafka (its linger): that wakes its
    thread for the first record of each partition, which is nearly every record of single events. A request that comes while no
    other is under way waits for nothing.
    """

    def __init__(self, settings: Settings, rates: Rates) -> None:
        self._settings = settings
        self._rates = rates
        self._topic, self._backfill_topic = raw_topic(settings), backfill_topic(settings)
        self._config = durable_producer_config(settings) | {
            "message.timeout.ms": int(settings.ack_timeout_seconds * 1000),
            "queue.buffering.max.kbytes": QUEUE_KIB,
            "queue.buffering.max.messages": QUEUE_RECORDS,
            "linger.ms": 0,
            "error_cb": _log_error,
        }
        self._producer = self._new_producer()
        self._refused_at: float | None = None  # when Kafka last did not take a request's records, and none since
        self._gathered: list[tuple[str, Sequence[Record], _Reports]] = []
        self._gathered_records = 0
        self._next_flush = 0.0  # not before this time of the loop
        self._under_way: set[_Reports] = set()  # of the requests that wait for them
        self._polling = False

    async def publish(self, project_id: str, records: Sequence[Record], *, backfill: bool = False) -> None:
        """Write the records of a project; returns when every in-sync replica has them all. History goes to the `backfill` topic.

        Raises ApiError: 429, and none is stored, where the project has sent more than it may; 503 when Kafka's queue is full or one
        record was not acknowledged in time, and some may then be stored all the same.
        """
        self._rates.take(project_id, records)
        loop = asyncio.get_running_loop()
        started = perf_counter()
        reports = _Reports(len(records), loop.create_future())
        topic = self._backfill_topic if backfill else self._topic
        self._under_way.add(reports)
        if not self._polling:
            self._polling = True
            loop.call_soon(self._poll, loop)
        try:
            if len(records) > TURN_RECORDS:
                await self._produce_in_turns(topic, records, reports)
            elif len(self._under_way) > 1:
                self._gather(topic, records, reports)
            else:
                self._produce(topic, records, reports)
            await reports.all_in
        finally:
            self._under_way.discard(reports)
            took = perf_counter() - started
            _acknowledged(took)
        if reports.error is not None:
            if reports.error.code() != KafkaError.MSG_SIZE_TOO_LARGE:  # which is the record's fault
                self._refused_at = monotonic()
            metrics.requests_unavailable.inc()
            raise unavailable()
        self._refused_at = None
        metrics.acknowledge_seconds.observe(took)
        metrics.request_records.observe(len(records))

    async def poll_when_idle(self) -> None:
        """For ever: take what the producer tells while no request waits, such as errors and statistics; and replace a producer that
        does not find Kafka any more (`headwater.membership`), while a new client does."""
        unanswered = 0
        while True:
            await asyncio.sleep(IDLE_POLL_SECONDS)
            try:
                if not self._polling:
                    self._take_reports()
                lost = await asyncio.to_thread(self._is_lost)
                unanswered = unanswered + 1 if lost else 0
                if unanswered == UNANSWERED_MAX:
                    unanswered = 0
                    self._replace_producer("it does not find Kafka any more, though Kafka answers")
            except Exception:  # a fault of ours, or no thread to be had: the next time it may be another
                log.exception("the producer cannot be looked after; trying again")

    def problems(self) -> list[str]:
        """What keeps Kafka from taking records: it does not know the raw topic, or it took none lately. Blocks up to two seconds."""
        if not has_topic(self._producer, self._topic, METADATA_SECONDS):
            return [f"Kafka does not answer for topic {self._topic}"]
        refused_at = self._refused_at
        if refused_at is not None and monotonic() - refused_at < FAILED_SECONDS:
            return [f"Kafka did not acknowledge the last events, {monotonic() - refused_at:.0f} s ago"]
        return []

    def close(self) -> int:
        """Wait for what is still under way; how many records Kafka has not acknowledged. Blocks up to five seconds."""
        return self._producer.flush(FLUSH_SECONDS)

    def _is_lost(self) -> bool:
        """Whether Kafka answers a new client and not the producer. Blocks a few seconds at most."""
        if has_topic(self._producer, self._topic, METADATA_SECONDS):
            return False
        return kafka_answers(self._settings, self._topic)

    def _new_producer(self) -> Producer:
        return Producer(self._config | counting_retries("collector"))

    def _produce(self, topic: str, records: Iterable[Record], reports: "_Reports") -> None:
        produce, report = self._producer.produce, reports.report
        refused: KafkaError | None = None
        for key, value in records:
            if refused is None:
                try:
                    produce(topic, value, key, on_delivery=report)
                    continue
                except BufferError:
                    refused = KafkaError(KafkaError._QUEUE_FULL)
                except KafkaException as error:
                    refused = error.args[0]
            report(refused, None)

    async def _produce_in_turns(self, topic: str, records: Sequence[Record], reports: "_Reports") -> None:
        """Produce many records, no more of them under way than are quickly reported."""
        for start in range(0, len(records), LARGE_TURN_RECORDS):
            while reports.error is None and reports.left > len(records) - start + UNACKNOWLEDGED_MAX:
                await asyncio.sleep(POLL_SECONDS)
            if reports.error is not None:  # nor will the rest be called stored
                reports.give_up(len(records) - start)
                return
            self._produce(topic, records[start : start + LARGE_TURN_RECORDS], reports)
            await asyncio.sleep(0)

    def _gather(self, topic: str, records: Sequence[Record], reports: "_Reports") -> None:
        """Produce the records within GATHER_SECONDS, with those of other requests."""
        if self._gathered_records + len(records) > TURN_RECORDS:
            self._produce_gathered()
        self._gathered.append((topic, records, reports))
        self._gathered_records += len(records)

    def _produce_gathered(self) -> None:
        gathered, self._gathered, self._gathered_records = self._gathered, [], 0
        for topic, records, reports in gathered:
            self._produce(topic, records, reports)

    def _poll(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._gathered and loop.time() >= self._next_flush:
            self._next_flush = loop.time() + GATHER_SECONDS
            self._produce_gathered()
        self._take_reports()
        if self._under_way:
            loop.call_later(POLL_SECONDS, self._poll, loop)
        else:
            self._polling = False

    def _take_reports(self) -> None:
        try:
            self._producer.poll(0)
        except KafkaException as error:  # a fatal one, which ends an idempotent producer for good
            self._replace_producer(error.args[0].str())

    def _replace_producer(self, why: str) -> None:
        """The next request has a new producer. What waits for the old one is told that it was not taken."""
        log.error("the producer is replaced", error=why)
        old, self._producer = self._producer, self._new_producer()
        old.purge()
        with suppress(KafkaException):  # the fatal one again
            old.poll(0)
        # Of what was on its way not everything is reported.
        for reports in self._under_way - {gathered for _, _, gathered in self._gathered}:
            reports.fail(KafkaError(KafkaError._PURGE_INFLIGHT))


class _Reports:
    """The delivery reports that a request waits for."""

    __slots__ = ("all_in", "error", "left")

    def __init__(self, expected: int, all_in: asyncio.Future[None]) -> None:
        self.left = expected
        self.all_in = all_in
        self.error: KafkaError | None = None

    def report(self, error: KafkaError | None, message: Message | None) -> None:
        """One record is acknowledged, or has failed."""
        if error is not None:
            self.error = error
        self.left -= 1
        if not self.left and not self.all_in.done():
            self.all_in.set_result(None)

    def give_up(self, count: int) -> None:
        """So many records are not produced."""
        self.left -= count
        if not self.left and not self.all_in.done():
            self.all_in.set_result(None)

    def fail(self, error: KafkaError) -> None:
        """Nothing more is reported."""
        if not self.all_in.done():
            self.error = error
            self.all_in.set_result(None)


def _log_error(error: KafkaError) -> None:
    note_error(error)
    log.warning("Kafka", error=error.str())
