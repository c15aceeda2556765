"""Segment's device mode through real processors: one user's identify and events in order, whichever process does them."""

from typing import Any

import orjson

from headwater.segment_users import IDENTIFY, attachment, forgetting, user_key
from headwater.settings import Settings
from tests.processing import ProcessorProcess, RawTopic, new_project, processor, raw_record, read_events, wait_processed

USERS = [f"user-{number}" for number in range(20)]
FORGOTTEN = USERS[1::4]


def identify(project_id: str, user: str, traits: dict[str, Any], at: int) -> bytes:
    """What the collector writes for an identify."""
    properties = {"user": user, "userId": user, "traits": traits}
    return orjson.dumps({"project_id": project_id, "collection": IDENTIFY, "timestamp": at, "properties": properties})


def test_events_have_what_was_identified_before_them(kafka_settings: Settings) -> None:
    """Also when the processor is killed, and another one works on with what the first one learned."""
    settings = kafka_settings
    project_id = new_project(settings)
    addons = orjson.dumps([attachment("userId")]).decode()
    raw = RawTopic(settings)
    sent = 0

    def send(user: str, value: bytes) -> None:
        nonlocal sent
        raw.send(value, user_key(project_id, user))
        sent += 1

    def visit(user: str, step: int) -> None:
        properties = orjson.dumps({"step": step, "user": {"userId": user}}).decode()
        send(user, raw_record(project_id, "visits", addons=addons, properties=properties))

    for user in USERS:
        visit(user, 0)
        send(user, identify(project_id, user, {"plan": "free", "of": user}, 1))
        visit(user, 1)
    send("late", orjson.dumps({"project_id": project_id, "collection": IDENTIFY, "properties": {"user": 5}}))
    raw.flush()
    first = ProcessorProcess(settings, "processor-1", settings.data_dir)
    try:
        first.wait_ready()
        wait_processed(settings, sent)
        for user in USERS[::2]:
            send(user, identify(project_id, user, {"plan": "pro", "of": user}, 2))
            visit(user, 2)
        for user in FORGOTTEN:
            send(user, forgetting(project_id, user))
            visit(user, 2)
        raw.flush()
    finally:
        first.kill()
    with processor(settings, "processor-2"):
        for user in USERS:
            visit(user, 3)
        raw.flush()
        wait_processed(settings, sent)
    plans: dict[tuple[str, int], set[str | None]] = {}
    for event in read_events(settings, project_id, "visits"):
        properties = orjson.loads(event["properties"])
        user, traits = properties["user"]["userId"], properties["user"].get("traits")
        assert traits is None or (traits["id"], traits["of"]) == (user, user)
        # What the first one put out and did not settle comes twice, and is the same.
        plans.setdefault((user, properties["step"]), set()).add(traits and traits["plan"])
    after = {user: "pro" if user in USERS[::2] else None if user in FORGOTTEN else "free" for user in USERS}
    assert plans == {
        **{(user, 0): {None} for user in USERS},
        **{(user, 1): {"free"} for user in USERS},
        **{(user, 2): {"pro"} for user in USERS[::2]},
        **{(user, 2): {None} for user in FORGOTTEN},
        **{(user, 3): {after[user]} for user in USERS},
    }
