"""A processor whose add-on is broken stops and gives up nothing; one that is sent nonsense goes on."""

import uuid
from pathlib import Path

import orjson

from headwater.settings import Settings
from tests.processing import (
    BREAK_ADDON,
    ProcessorProcess,
    RawTopic,
    State,
    new_project,
    processor,
    raw_record,
    read_dead_letters,
)
from tests.waiting import wait_until

EVENTS = 200
NONSENSE = 100
MAX_RUN = 30
REACHED = 'headwater_dead_letter_limit_reached{stage="processor"}'
PARSER = orjson.dumps([{"name": "keen:url_parser", "input": {"url": "page"}, "output": "parts"}]).decode()
NO_SUCH = PARSER.replace("url_parser", "no_such_add-on")
PAGE = orjson.dumps({"page": "https://example.com/a"}).decode()


def test_a_broken_add_on_stops_the_processor_and_what_it_left_is_read_again(
    kafka_settings: Settings, tmp_path: Path
) -> None:
    settings = kafka_settings.model_copy(update={"dead_letter_max_run": MAX_RUN})
    project_id = new_project(settings)
    raw = RawTopic(settings)
    for number in range(EVENTS):
        id_ = str(uuid.UUID(int=number))
        raw.send(raw_record(project_id, "visits", id=id_, addons=PARSER, properties=PAGE), b"one key")
    raw.flush()
    broken = ProcessorProcess(settings, "broken", tmp_path, BREAK_ADDON)
    try:
        wait_until(lambda: "stops rather than give up everything" in broken.log.read_text(), 60)
        assert not broken.ready
        assert broken.metric(REACHED) == 1
        assert broken.end() != 0
    finally:
        if broken.running:
            broken.kill()
    assert "HEADWATER_DEAD_LETTER_MAX_RUN is 30" in broken.log.read_text()
    assert read_dead_letters(settings) == []
    assert State(settings).watermarks == {}

    with processor(settings, "mended") as mended:
        for _ in range(NONSENSE):
            raw.send(raw_record(project_id, "visits", addons=NO_SUCH, properties=PAGE), b"one key")
        raw.flush()
        wait_until(lambda: State(settings).events(project_id, "visits") == EVENTS, 60, 0.2)
        wait_until(lambda: len(read_dead_letters(settings)) == NONSENSE, 60, 0.2)
        assert mended.ready
        assert mended.metric(REACHED) == 0
