"""Waits between tries; and commits that are refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from confluent_kafka import KafkaError, TopicPartition

from headwater.settings import Settings
from sinks.consumer import LAST_RETRY_SECONDS, Sink, retry_seconds


def test_waits_double_up_to_the_longest() -> None:
    assert [retry_seconds(failures) for failures in range(1, 8)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


@pytest.mark.parametrize("failures", [100, 2_000, 10**6])
def test_a_server_may_be_away_for_ever(failures: int) -> None:
    assert retry_seconds(failures) == LAST_RETRY_SECONDS


class Confirming:
    """A store of which only the question before a commit is asked."""

    def confirm(self) -> bool:
        return True


@contextmanager
def lonely_sink(folder: Path) -> Iterator[Sink]:
    """A sink without a Kafka."""
    store: Any = Confirming()
    sink = Sink(Settings(kafka="127.0.0.1:1", data_dir=folder, worker_name="sink-1"), store)
    try:
        yield sink
    finally:
        sink._consumer.close()


def test_a_refused_commit_is_trouble_until_its_partitions_are_anothers(tmp_path: Path) -> None:
    with lonely_sink(tmp_path) as sink:
        place = ("headwater.events.p.visits", 3)
        sink._owned, sink._asked = {place}, {place: 7}
        with structlog.testing.capture_logs() as told:
            for _ in range(2):
                sink._commit_answered(KafkaError(KafkaError.UNKNOWN_MEMBER_ID), [TopicPartition(*place, 7)])
        assert [line["event"] for line in told] == ["sink.commit_failed"]  # once
        assert sink._refused == {place: 7}
        assert sink._uncommitted.seconds is not None
        sink._lost(sink._consumer, [TopicPartition(*place)])
        sink._commit_answered(KafkaError(KafkaError.UNKNOWN_MEMBER_ID), [TopicPartition(*place, 7)])  # and late
        assert sink._uncommitted.seconds is not None
        sink._commit()
        assert sink._uncommitted.seconds is None
