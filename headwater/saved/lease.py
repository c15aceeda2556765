"""Who of several replicas does what only one should: the one that has a partition of a consumer group."""

import threading
from functools import partial

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from headwater.kafka import client_config
from headwater.membership import Membership, StrandedError, closed_at_last
from headwater.settings import Settings
from headwater.topics import control_topic

POLL_SECONDS = 0.2
RETRY_SECONDS = 1.0
SESSION_SECONDS = 10  # a holder that died is followed after this long

log = structlog.get_logger("headwater.lease")


class Lease:
    """Held by at most one process of the deployment at a time, as far as its clock runs: what is done under it must bear being
    done twice, by one that slept and the next. Its records are never read. Safe to use from several threads.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._held = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._hold, name=f"lease-{name}", daemon=True)

    @property
    def held(self) -> bool:
        """Whether this process holds it."""
        return self._held.is_set()

    def start(self) -> None:
        """Apply for it, once the control topic exists. Does not block."""
        self._thread.start()

    def stop(self) -> None:
        """Give it up, so that another has it at once. Blocks until the thread has ended."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _hold(self) -> None:
        """Begin anew after whatever went wrong."""
        while not self._stopping.is_set():
            try:
                self._be_a_member()
            except StrandedError as error:
                log.warning("lease cannot be held; trying again", name=self._name, error=str(error))
            except Exception:  # a fault of ours: who holds no lease would refresh nothing for ever
                log.exception("lease cannot be held; trying again", name=self._name)
            self._stopping.wait(RETRY_SECONDS)

    def _be_a_member(self) -> None:
        topic = control_topic(self._settings)
        held = self._held = threading.Event()  # a member's own: one that is let go of tells the next nothing
        membership = Membership(self._settings, f"{topic}.{self._name}")
        consumer = Consumer(
            client_config(self._settings)
            | {
                "enable.auto.commit": False,
                "session.timeout.ms": SESSION_SECONDS * 1000,
                "heartbeat.interval.ms": 1_000,
                "topic.metadata.refresh.interval.ms": 5_000,
            }
            | membership.config()
        )

        def gone(_consumer: Consumer, _partitions: list[TopicPartition]) -> None:
            held.clear()

        try:
            with closed_at_last(consumer):
                consumer.subscribe([topic], on_assign=partial(self._assigned, held), on_revoke=gone, on_lost=gone)
                while not self._stopping.is_set():
                    membership.check()
                    consumer.poll(POLL_SECONDS)
        finally:
            held.clear()

    def _assigned(self, held: threading.Event, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            consumer.assign(partitions)
            consumer.pause(partitions)  # the partition is a token: its records are the followers' to read
        except KafkaException as error:
            log.warning("lease cannot be held", name=self._name, error=error.args[0].str())
            return
        if partitions:
            held.set()
            log.info("lease held", name=self._name)
