"""Dead letters, and whole stretches of the raw topic, through real processors once more: the same events, counted once."""

import time
import uuid
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from headwater.cli import app
from headwater.identity import origin_id
from headwater.segment_users import IDENTIFY, attachment, user_key
from headwater.settings import PREFIX, Settings
from headwater.topics import raw_topic
from tests.processing import (
    BREAK_ADDON,
    ProcessorProcess,
    RawTopic,
    State,
    new_project,
    processor,
    raw_record,
    read_dead_letters,
    read_events,
    storing,
)
from tests.waiting import wait_until

BROKEN = 12
HOUR_AGO = time.time_ns() // 1_000_000 - 3_600_000  # Kafka lets go of what is older than its retention
ADDON = orjson.dumps([{"name": "keen:url_parser", "input": {"url": "page"}, "output": "parts"}]).decode()
PAGE = orjson.dumps({"page": "https://example.com/a"}).decode()
USER = orjson.dumps({"user": {"userId": "u"}}).decode()
ATTACH = orjson.dumps([attachment("userId")]).decode()
TWICE = str(uuid.UUID(int=77))


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def identify(project_id: str, plan: str, at: int) -> bytes:
    """What the collector writes for an identify."""
    properties = {"user": "u", "userId": "u", "traits": {"plan": plan}}
    return orjson.dumps({"project_id": project_id, "collection": IDENTIFY, "timestamp": at, "properties": properties})


def ids_kept(state: State) -> dict[bytes, bytes]:
    """The chunks of the windows of ids."""
    return {key: value for key, value in state.values.items() if b"/ids/" in key}


def with_parts(state: State, project_id: str) -> int:
    """How many events the catalogue has with what the add-on found."""
    return sum(one.paths.get("parts.domain", [0] * 4)[3] for one in state.catalogues(project_id, "visits"))


@pytest.mark.timeout(180)
def test_what_is_mended_and_replayed_counts_once(
    kafka_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = kafka_settings
    project_id = new_project(settings)
    for name in ("kafka", "topic_prefix", "data_dir"):
        monkeypatch.setenv(PREFIX + name.upper(), str(getattr(settings, name)))
    monkeypatch.setenv(f"{PREFIX}SECRET", settings.required_secret())
    raw = RawTopic(settings)

    def counted(visits: int, of_users: int) -> State | None:
        state = State(settings)
        found = state.events(project_id, "visits"), state.events(project_id, "of users")
        return state if found == (visits, of_users) else None

    # Half have no id and no time: these follow from where the record stands. The broken add-on fails at all of them.
    expected = {(TWICE, HOUR_AGO + 1_000)}
    for number in range(BROKEN):
        own: dict[str, Any] = {"id": str(uuid.UUID(int=number)), "timestamp": HOUR_AGO} if number % 2 else {}
        record = raw_record(project_id, "visits", addons=ADDON, properties=PAGE, **own)
        raw.send(record, b"k", number % 2, HOUR_AGO + 5)
        derived = origin_id(raw_topic(settings), 0, number // 2), HOUR_AGO + 5
        expected.add((own["id"], HOUR_AGO) if own else derived)
    raw.flush()
    # Without a limit, it does not wait to see whether too many fail.
    broken = ProcessorProcess(settings.model_copy(update={"dead_letter_max_run": 0}), "broken", tmp_path, BREAK_ADDON)
    try:
        broken.wait_ready()
        wait_until(lambda: len(read_dead_letters(settings)) == BROKEN, 60, 0.2)
        assert broken.end() == 0, broken.log.read_text()[-3000:]
    finally:
        broken.kill()

    with storing(settings), processor(settings, "mended"):
        for timestamp in (
            HOUR_AGO + 1_000,
            HOUR_AGO + 2_000,
        ):  # sent again under its id, without a time of its own: one is dropped
            raw.send(raw_record(project_id, "visits", id=TWICE, timestamp=timestamp, id_given=True), b"k", 2, timestamp)
        visit = raw_record(project_id, "of users", id=TWICE, timestamp=HOUR_AGO, addons=ATTACH, properties=USER)
        for record in (identify(project_id, "old", 1), visit, identify(project_id, "new", 2)):
            raw.send(record, user_key(project_id, "u"), 3, HOUR_AGO)
        raw.flush()
        wait_until(lambda: counted(1, 1), 60, 0.2)

        assert f"{BROKEN} dead letters replayed" in run("dead-letter", "replay", "--reason", "addon_failed")
        assert f"none of {BROKEN} dead letters is open" in run("dead-letter", "replay", "--reason", "addon_failed")
        before = wait_until(lambda: counted(BROKEN + 1, 1), 60, 0.2)
        assert before is not None
        events = read_events(settings, project_id, "visits")
        first = {(one["id"], one["timestamp"]): one for one in events}
        assert (len(events), first.keys()) == (BROKEN + 1, expected)
        assert {one["received_at"] for one in events} == {HOUR_AGO + 5, HOUR_AGO + 1_000}, "that of the first record"
        assert {one["topic"] for one in read_dead_letters(settings)} == {raw_topic(settings)}
        assert with_parts(before, project_id) == BROKEN

        # All that there is once more.
        printed = run("replay", "--from", "2020-01-01", "--project", project_id)
        assert f"{BROKEN + 2} events will be processed again." in printed
        assert f"Left out: {BROKEN} dead letters, 2 identify, 1 sent again." in printed
        wait_until(lambda: State(settings).processed_history >= BROKEN + 2, 60, 0.2)
        after = counted(BROKEN + 1, 1)
        assert after is not None, "nothing is counted again"
        assert (ids_kept(after), with_parts(after, project_id)) == (ids_kept(before), BROKEN)
        events = read_events(settings, project_id, "visits")
        assert {(one["id"], one["timestamp"]) for one in events} == expected, "the same rows"
        assert len(events) == 2 * (BROKEN + 1)
        latest = {
            key: max(one["processed_at"] for one in events if (one["id"], one["timestamp"]) == key) for key in first
        }
        assert all(latest[key] > one["processed_at"] for key, one in first.items()), "the new ones replace them"
        assert "0 events will be processed again." in run("replay", "--from", "2020-01-01", "--collection", "others")
        assert "would be processed again" in run("replay", "--from", "1h", "--dry-run")

        # A replayed identify says nothing: the user is who was identified last.
        last = raw_record(project_id, "of users", timestamp=HOUR_AGO + 9, addons=ATTACH, properties=USER)
        raw.send(last, user_key(project_id, "u"), 3)
        raw.flush()
        wait_until(lambda: counted(BROKEN + 1, 2), 60, 0.2)
    (visit_,) = [one for one in read_events(settings, project_id, "of users") if one["timestamp"] == HOUR_AGO + 9]
    assert orjson.loads(visit_["properties"])["user"]["traits"] == {"id": "u", "plan": "new"}
