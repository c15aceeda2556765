"""History on a real processor: beside live events, behind sinks that are away, and through a processor that is killed."""

import uuid
from pathlib import Path

import pytest

from headwater.dead_letters import Settler, Wanted, read_ledger
from headwater.identity import origin_id
from headwater.settings import Settings
from headwater.topics import backfill_topic
from processors.backfill import WINDOW_EVENTS
from tests.processing import (
    ProcessorProcess,
    RawTopic,
    State,
    new_project,
    raw_record,
    read_dead_letters,
    read_events,
    storing,
    wait_processed,
)
from tests.waiting import wait_until

HISTORY = 3 * WINDOW_EVENTS
LIVE = 600
WAITS = 'headwater_processor_backfill_paused{for="sinks"}'


@pytest.mark.timeout(180)
def test_history_waits_for_sinks_and_live_events_do_not(kafka_settings: Settings, tmp_path: Path) -> None:
    settings = kafka_settings
    project_id = new_project(settings)
    live, history = RawTopic(settings), RawTopic(settings, backfill_topic(settings))
    history.send(b"nonsense", partition=3)
    history.send(raw_record(project_id, "both"), partition=3)  # without an id: that comes from where it stands
    for number in range(HISTORY):
        history.send(raw_record(project_id, "both", id=str(uuid.UUID(int=number))), b"%d" % number)
    history.flush()
    first, second = (ProcessorProcess(settings, name, tmp_path) for name in ("first", "second"))
    try:
        first.wait_ready()
        second.wait_ready()
        # Nobody stores what comes out: no more does than a window, and what the first one took before the second came.
        wait_until(lambda: "history waits" in second.log.read_text(), 60, 0.2)  # which is to say when it goes on
        for number in range(HISTORY, HISTORY + LIVE):
            live.send(raw_record(project_id, "both", id=str(uuid.UUID(int=number))), b"%d" % number)
        live.flush()
        halted = wait_processed(settings, LIVE + 1)
        wait_until(lambda: State(settings).processed_live == LIVE, 30, 0.2)
        assert WINDOW_EVENTS / 2 <= halted.processed_history <= 2 * WINDOW_EVENTS
        assert first.metric(WAITS) + second.metric(WAITS) >= 1

        first.kill()
        with storing(settings):
            state = wait_processed(settings, HISTORY + 2 + LIVE, 90)
            assert state.processed_history == HISTORY + 2
            assert state.events(project_id, "both") == HISTORY + 1 + LIVE
            wait_until(lambda: second.metric(WAITS) == 0 and "history goes on" in second.log.read_text())
        ids = {event["id"] for event in read_events(settings, project_id, "both")}
        derived = {origin_id(backfill_topic(settings), 3, offset) for offset in range(HISTORY)}
        assert len(ids & derived) == 1
        assert ids - derived == {str(uuid.UUID(int=number)) for number in range(HISTORY + LIVE)}
        letters = {(letter["id"], letter["topic"], letter["offset"]) for letter in read_dead_letters(settings)}
        (letter,) = letters  # made again perhaps, and the same
        assert letter == (origin_id(backfill_topic(settings), 3, letter[2]), backfill_topic(settings), letter[2])
        with Settler(settings) as settler:  # what history gave up goes back to history
            settler.settle(settler.ledger().open(Wanted()), "replayed")
        wait_until(lambda: [entry.letter["attempt"] for entry in read_ledger(settings)] == [2], 30, 0.2)
        assert [entry.letter["id"] for entry in read_ledger(settings)] == [letter[0]]
        assert {part.offset for part in state.aggregates(project_id, "both")} <= {-1, *range(LIVE)}
    finally:
        first.kill()
        assert second.end() == 0, second.log.read_text()[-3000:]
