"""Records that nobody can read, of each kind, in every topic."""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from headwater.codec import MARKER, codec
from headwater.kafka import client_config, create_topics, durable_producer_config
from headwater.topics import (
    backfill_topic,
    collection_topic,
    control_topic,
    dead_letters_topic,
    in_topic,
    raw_topic,
    state_topic,
)
from tests.faults.matrix.injections import killed
from tests.faults.matrix.scene import Scene
from tests.faults.matrix.stack import ROOT, FaultError, Stack, settings_environment, wait_for

TOPIC_SECONDS = 60.0
BYTES: tuple[bytes | None, ...] = (
    None,
    b"",
    b"\0",
    b"no record",
    b"\xff" * 100,
    MARKER,
    MARKER + b"\0" * 8 + b"x" * 50,
)
JSONS = (b"{", b"[1]", b'"x"', b"7", b"null", b'{"a": NaN}', b'{"\xff": 1}', b'{"a":' * 2_000 + b"1" + b"}" * 2_000)
BODIES = ("{", "[]", "7", '{"a": NaN}', '{"a":' * 2_000 + "1" + "}" * 2_000)  # of events, as text in Avro


@contextmanager
def poison(scene: Scene) -> Iterator[None]:
    """Poison in every topic; then the collector with the API, a processor and the sink begin anew, so that they read all of it."""
    stack, project = scene.stack, scene.projects[0]
    settings, prefix = stack.settings, stack.settings.topic_prefix
    events = collection_topic(prefix, project.id, "visits")
    known = AdminClient(client_config(settings))
    wait_for(lambda: events in known.list_topics(timeout=10).topics, TOPIC_SECONDS, "the collection's topic")
    inbox = in_topic(prefix, project.id, "inbox")
    create_topics(settings, [NewTopic(inbox, 1, -1)])
    raw = [*BYTES, *JSONS, *_raw_events(project.id)]
    for topic, values in (
        (raw_topic(settings), raw),
        (backfill_topic(settings), raw),
        (events, [*BYTES, *_events(scene)]),
        (inbox, [*BYTES, *JSONS]),
    ):
        scene.known.poison |= _write(stack, topic, [(b"poison", value) for value in values])
    keys = (None, b"", b"poison", b"0/aggregates/poison/poison", b"0/catalogue/poison/poison", b"x/watermark")
    _write(stack, state_topic(settings), [(key, value) for key in keys for value in BYTES if value is not None])
    _write(
        stack,
        control_topic(settings),
        [(key, value) for key in (None, b"project:poison", b"key:poison", b"x") for value in BYTES],
    )
    _write(stack, dead_letters_topic(settings), [(b"poison", value) for value in BYTES])
    time.sleep(1.0)  # for what reads along
    with killed("http", "processor-1", "sink-1")(scene):
        yield


def letters_can_be_listed(scene: Scene) -> list[str]:
    """What is wrong with `headwater dead-letter list` beside letters that cannot be read."""
    command = [sys.executable, "-m", "headwater.cli", "dead-letter", "list", "--json"]
    environment = settings_environment(scene.stack.settings) | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    return [f"dead-letter list ends with {done.returncode}: {done.stderr[-500:]}"] if done.returncode else []


def _raw_events(project_id: str) -> list[bytes]:
    """Raw records that are none for what they say."""
    now = time.time_ns() // 1_000_000
    plain: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "project_id": project_id,
        "collection": "poison",
        "timestamp": now,
        "received_at": now,
        "properties": "{}",
    }
    changes: list[dict[str, Any]] = [
        {"project_id": "0" * 24},
        {"project_id": ""},
        {"collection": ""},
        {"collection": "x" * 300},
        *({"properties": body} for body in BODIES),
        {"addons": '[{"name": "none"}]'},
    ]
    whole = codec("raw_event").encode(plain)
    envelopes = [{"project_id": 7}, {"project_id": project_id}, plain | {"collection": "poison", "properties": []}]
    return [
        *(codec("raw_event").encode(plain | change | {"id": str(uuid.uuid4())}) for change in changes),
        whole[: len(whole) // 2],
        *(json.dumps(each).encode() for each in envelopes),
    ]


def _events(scene: Scene) -> list[bytes]:
    """Events that ClickHouse, or the sink, cannot take."""
    now, project = time.time_ns() // 1_000_000, scene.projects[0]
    plain: dict[str, Any] = {
        "project_id": project.id,
        "collection": "visits",
        "timestamp": now,
        "received_at": now,
        "processed_at": now,
        "properties": "{}",
    }
    found = []
    for change in (*({"properties": body} for body in BODIES), {"id": "no uuid"}, {"timestamp": 10**17}):
        id_ = str(uuid.uuid4())
        event = plain | {"id": id_} | change
        scene.known.strange.add(str(event["id"]))
        found.append(codec("event").encode(event))
    whole = codec("event").encode(plain | {"id": str(uuid.uuid4())})
    return [*found, whole[: len(whole) // 2]]


def _write(stack: Stack, topic: str, records: list[tuple[bytes | None, bytes | None]]) -> set[tuple[str, int, int]]:
    """Where the records are then."""
    places: set[tuple[str, int, int]] = set()
    refused: list[str] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            refused.append(error.str())
        else:
            places.add((message.topic() or "", message.partition() or 0, message.offset() or 0))

    producer = Producer(durable_producer_config(stack.settings))
    for key, value in records:
        producer.produce(topic, value, key, on_delivery=delivered)
    producer.flush(30)
    # A compacted topic takes no record without a key: that there can be none is as good.
    wrong = [reason for reason in refused if topic not in (state_topic(stack.settings), control_topic(stack.settings))]
    if wrong or len(places) + len(refused) != len(records):
        raise FaultError(f"poison cannot be written to {topic}: {wrong}")
    return places
