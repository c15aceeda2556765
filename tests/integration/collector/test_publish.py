"""Records of many requests into Kafka: together where there are many, at once where there is one."""

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest

from collector import publish
from collector.publish import TURN_RECORDS, Publisher
from collector.rates import Rates
from headwater.control import ControlPlane
from headwater.kafka import create_base_topics
from headwater.settings import Settings
from headwater.topics import backfill_topic, raw_topic
from tests.processing import new_project, read_topic


@pytest.fixture
def plane(kafka_settings: Settings) -> Iterator[ControlPlane]:
    create_base_topics(kafka_settings)
    plane = ControlPlane(kafka_settings)
    with plane.running():
        yield plane


async def test_what_requests_bring_at_a_time_is_all_stored_in_its_topic(
    kafka_settings: Settings, plane: ControlPlane
) -> None:
    project_id = new_project(kafka_settings)
    publisher = Publisher(kafka_settings, Rates(plane))
    sizes = [1, 100, 1, TURN_RECORDS - 1, 250, TURN_RECORDS, 1, TURN_RECORDS + 1, 20, 5 * TURN_RECORDS, 1]
    requests = [
        ([(b"k%d" % at, b"%d" % number) for at in range(size)], bool(number % 2)) for number, size in enumerate(sizes)
    ]
    await asyncio.wait_for(
        asyncio.gather(*(publisher.publish(project_id, records, backfill=late) for records, late in requests)), 30
    )
    assert publisher.close() == 0
    for topic, late in ((raw_topic(kafka_settings), False), (backfill_topic(kafka_settings), True)):
        found = Counter((key, value) for key, value, _ in read_topic(kafka_settings, topic))
        assert found == Counter(record for records, its_late in requests if its_late is late for record in records)


async def test_requests_one_after_the_other_wait_for_no_others(
    kafka_settings: Settings, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "GATHER_SECONDS", 3_600)
    project_id = new_project(kafka_settings)
    publisher = Publisher(kafka_settings, Rates(plane))
    for size in (1, 1, 100, TURN_RECORDS, 1):
        await asyncio.wait_for(publisher.publish(project_id, [(b"k", b"v")] * size), 10)
    assert publisher.close() == 0
