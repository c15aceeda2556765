"""Processors come and go, killed and terminated at any moment, with history among live events: nothing is lost, and nothing is counted twice."""

import random
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.settings import Settings
from headwater.topics import backfill_topic
from tests.processing import (
    ProcessorProcess,
    RawTopic,
    State,
    new_project,
    raw_record,
    read_events,
    storing,
    wait_processed,
)

COLLECTIONS = ("visits", "sign ups", "a/b")
EVENTS = 60_000
CHURN_SECONDS = 27.0
STEP_SECONDS = 2.5
WORKERS_MAX = 4
REPEATED = 10  # each so-many-th event has its id but not its time from its sender, and is sent again
REPEATED_AFTER = 300  # events


def event_id(number: int) -> str:
    return str(uuid.UUID(int=number))


def send_events(settings: Settings, project_id: str, first: int, count: int, seconds: float) -> None:
    """Numbered events, spread over the time and over all partitions and collections; every third is history."""
    began = time.monotonic()
    topics = RawTopic(settings), RawTopic(settings), RawTopic(settings, backfill_topic(settings))

    def send(number: int) -> None:
        now = time.time_ns() // 1_000_000
        record = raw_record(
            project_id,
            COLLECTIONS[number % len(COLLECTIONS)],
            id=event_id(number),
            timestamp=now,
            received_at=now,
            id_given=True,
            time_given=number % REPEATED != 0,
            properties=f'{{"number":{number},"even":{"true" if number % 2 == 0 else "false"}}}',
        )
        topics[number // len(COLLECTIONS) % len(topics)].send(record, b"%d" % (number % 1_000))

    for number in range(first, first + count):
        send(number)
        if number % REPEATED == 0 and number >= first + REPEATED_AFTER:
            send(number - REPEATED_AFTER)
        if number % 200 == 0:
            pause = began + seconds * (number - first) / count - time.monotonic()
            if pause > 0:
                time.sleep(pause)
    for topic in topics:
        topic.flush()


def records(count: int) -> int:
    """How many records `send_events` makes of so many events."""
    return count + (count - REPEATED_AFTER) // REPEATED


def check_exact(settings: Settings, project_id: str, state: State, events: int) -> None:
    """The state counts each event once, and each is in the output: with one time, so that it is one row."""
    for index, collection in enumerate(COLLECTIONS):
        numbers = range(index, events, len(COLLECTIONS))
        sizes = sum(len(f'{{"number":{n},"even":{"true" if n % 2 == 0 else "false"}}}') for n in numbers)
        parts = state.aggregates(project_id, collection)
        assert sum(part.events for part in parts) == len(numbers)
        assert sum(part.size for part in parts) == sizes
        assert sum(cell[0] for part in parts for cell in part.received_minutes.values()) == len(numbers)
        for path in ("number", "even"):
            assert sum(part.paths[path][3] for part in state.catalogues(project_id, collection)) == len(numbers)
        rows = {(event["id"], event["timestamp"]) for event in read_events(settings, project_id, collection)}
        assert sorted(id_ for id_, _ in rows) == [event_id(number) for number in numbers]


@pytest.fixture(autouse=True)
def stored(kafka_settings: Settings) -> Iterator[None]:
    """History goes on only when what was put out is stored."""
    with storing(kafka_settings):
        yield


@pytest.mark.timeout(300)
def test_killed_and_terminated_workers_lose_and_repeat_nothing(kafka_settings: Settings, tmp_path: Path) -> None:
    settings, rnd = kafka_settings, random.Random(20261122)
    project_id = new_project(settings)
    load = threading.Thread(target=send_events, args=(settings, project_id, 0, EVENTS, CHURN_SECONDS))
    load.start()
    started = 0

    def start() -> ProcessorProcess:
        nonlocal started
        started += 1
        return ProcessorProcess(settings, f"processor-{started}", tmp_path)

    workers, ended = [start()], []
    try:
        while load.is_alive():
            load.join(STEP_SECONDS)
            workers = [worker if worker.running else start() for worker in workers]
            if len(workers) < 2 or (len(workers) < WORKERS_MAX and rnd.random() < 0.5):
                workers.append(start())
            else:
                worker = workers.pop(rnd.randrange(len(workers)))
                how = rnd.choice((signal.SIGTERM, signal.SIGKILL))
                ended.append((worker, how))
                worker.signal(how)
        state = wait_processed(settings, records(EVENTS), 120)
        check_exact(settings, project_id, state, EVENTS)
        assert len(ended) >= 5
        for worker, how in ended:
            # What came while Python was still starting up found nobody to handle it.
            clean = 0 if worker.log.stat().st_size else worker.process.wait(30)
            assert worker.process.wait(30) == (clean if how == signal.SIGTERM else -how), worker.log.read_text()
    finally:
        for worker in [*workers, *(worker for worker, _ in ended)]:
            worker.kill()
