"""Whether a consumer is still a member of its group that gets anywhere, as its client's statistics tell, and what to do where it is not.

librdkafka 2.16 can lose its cluster for good: a Kafka that hung may name no broker in its metadata for a moment, upon which a client drops
all that it has, those of its configuration too, and now and then looks for none any more, while every new client is answered. It reports
no error. Its statistics tell it of a group; of partitions that are read without one, that nothing comes tells it to their readers
(`headwater.follower`, `processors.backfill`).
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from confluent_kafka import Consumer, KafkaException, TopicPartition

from headwater.kafka import admin_client, has_topic
from headwater.offsets import ask_coordinator
from headwater.readiness import Trouble
from headwater.settings import Settings
from headwater.topics import control_topic

STATISTICS_SECONDS = 2
SAID_SECONDS = 5.0  # a group whose coordinator moves is found again within these
ASK_SECONDS = 2.0
ANSWER_SECONDS = 1.0
COORDINATOR_SECONDS = 2.0  # a new client connects, and then asks for the coordinator, and that for offsets
STRANDED_SECONDS = 20.0  # twice a session: what finds its group by itself has done so by then
# Who reads partitions without a group and has had nothing for so long looks whether there is something: then it reads by a new client.
IDLE_SECONDS = 15.0
FORLORN_SECONDS = 4.0  # a client without any broker that has not begun at its configured ones again by then never does
BROKERS = ("configured", "learned")  # of what is in the statistics: the others are librdkafka's own
LEAVING = ("wait-unassign-to-complete", "wait-incr-unassign-to-complete")


class StrandedError(Exception):
    """A consumer has lost its group while others find it: only a new consumer helps."""

    def __init__(self) -> None:
        super().__init__(
            "the group's coordinator is not found any more, though a new client finds it; beginning with a new consumer"
        )


class Membership:
    """One consumer's, in a group. `answers`: whether the group's coordinator answers a new client; blocks two seconds at most."""

    def __init__(self, settings: Settings, group: str, answers: Callable[[], bool] | None = None) -> None:
        self._group = group
        self._answers = answers or (lambda: coordinator_answers(settings, group))
        self._lost = Trouble()
        self._asked_at = 0.0
        self._answered_since: float | None = None  # while the group is lost
        self._has_brokers = True

    def config(self) -> dict[str, Any]:
        """What the consumer's configuration needs, the group's name among it. It has to be polled, which it has anyway."""
        return {"group.id": self._group, "statistics.interval.ms": STATISTICS_SECONDS * 1000, "stats_cb": self.told}

    def told(self, statistics: str) -> None:
        """The client's statistics, as JSON (librdkafka's STATISTICS.md)."""
        told = orjson.loads(statistics)
        group = told.get("cgrp")
        if group is None:
            return
        self._has_brokers = any(broker["source"] in BROKERS for broker in told["brokers"].values())
        if group["state"] == "up" and group["join_state"] not in LEAVING:
            self._lost.mended()
        else:
            self._lost.failed()

    def problems(self) -> list[str]:
        """A line where the group has been lost for longer than passes by itself. From any thread."""
        return self._lost.lines("the consumer group's coordinator is not found", SAID_SECONDS)

    def check(self) -> None:
        """Raise StrandedError where only a new consumer helps. To be called in each turn of the thread that polls; blocks up to two
        seconds, and for two more not again, while the group is lost, and not at all else."""
        if self._lost.seconds is None:
            self._answered_since = None
            return
        if time.monotonic() - self._asked_at < ASK_SECONDS:
            return
        answers, now = self._answers(), time.monotonic()
        self._asked_at = now
        if not answers:
            self._answered_since = None
        elif self._answered_since is None:
            self._answered_since = now
        elif now - self._answered_since >= (STRANDED_SECONDS if self._has_brokers else FORLORN_SECONDS):
            raise StrandedError


def kafka_answers(settings: Settings, topic: str) -> bool:
    """Whether Kafka answers a client that is new, and has the topic. Blocks up to a second."""
    return has_topic(admin_client(settings), topic, ANSWER_SECONDS)


def coordinator_answers(settings: Settings, group: str) -> bool:
    """Whether the group's coordinator answers a client that is new. Blocks up to two seconds.

    It may not where Kafka does: while too few brokers are there for the topic of groups' offsets. Then a new consumer is no better.
    """
    try:
        ask_coordinator(settings, group, [TopicPartition(control_topic(settings), 0)], COORDINATOR_SECONDS)
    except KafkaException:
        return False
    return True


def let_go(consumer: Consumer) -> None:
    """Close a consumer in a thread of its own: one that has lost its group may wait for it for ever."""
    threading.Thread(target=consumer.close, name="closing", daemon=True).start()


@contextmanager
def closed_at_last(consumer: Consumer) -> Iterator[Consumer]:
    """Closes it at the end; a stranded one as `let_go` does."""
    try:
        yield consumer
    except StrandedError:
        let_go(consumer)
        raise
    except BaseException:
        consumer.close()
        raise
    consumer.close()
