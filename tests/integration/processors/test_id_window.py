"""Events that are sent again with another time, over HTTP and through real processors that are killed in between."""

import base64
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest

from headwater.control import Project
from headwater.identity import event_id
from headwater.settings import Settings
from tests.collecting import Collector, running_collector
from tests.processing import (
    ProcessorProcess,
    RawTopic,
    State,
    raw_record,
    read_dead_letters,
    read_events,
    wait_processed,
)
from tests.waiting import wait_until

IDS = 300  # enough for all partitions
GUID = str(uuid.UUID(int=7, version=4))  # as GitHub's now are: it tells no time


@dataclass
class Deployment:
    """A collector, and processors that can be killed and replaced; what is sent is remembered."""

    collector: Collector
    http: httpx.Client
    processors: list[ProcessorProcess]
    sent: int = 0

    @property
    def settings(self) -> Settings:
        return self.collector.settings

    def start_processors(self) -> None:
        """Two new ones, with nothing of their own."""
        number = len(self.processors) + 1
        new = [ProcessorProcess(self.settings, f"processor-{n}", self.settings.data_dir) for n in (number, number + 1)]
        self.processors += new
        for process in new:
            process.wait_ready()

    def new_project(self) -> Project:
        return self.collector.writer.create_project("test")

    def post(self, path: str, key: str, body: Any, count: int = 1, headers: dict[str, str] | None = None) -> None:
        content = orjson.dumps(body)
        answer = self.http.post(path, content=content, headers={"Authorization": key} | (headers or {}))
        assert answer.status_code in (200, 201), answer.text
        self.sent += count

    def keen(self, project: Project, collection: str, *events: dict[str, Any]) -> None:
        path = f"/3.0/projects/{project.id}/events"
        self.post(path, project.write_key, {collection: list(events)}, len(events))

    def processed(self) -> State:
        return wait_processed(self.settings, self.sent)

    def rows(self, project: Project, collection: str) -> set[tuple[str, int]]:
        """What would be rows: ClickHouse folds what has id and timestamp in common."""
        return {(event["id"], event["timestamp"]) for event in read_events(self.settings, project.id, collection)}


@pytest.fixture(scope="module")
def deployment(module_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with (
        running_collector(module_settings, tmp_path_factory.mktemp("collector")) as collector,
        httpx.Client(base_url=collector.url, timeout=20) as http,
    ):
        made = Deployment(collector, http, [])
        try:
            made.start_processors()
            yield made
        finally:
            for process in made.processors:
                process.kill()


def event(token: str, n: int = 0, **keen: str) -> dict[str, Any]:
    return {"n": n, "keen": {"uniqueness_token": token, **keen}}


def test_what_is_sent_again_is_one_event_though_processors_are_killed(deployment: Deployment) -> None:
    """By Keen's, Segment's and GitHub's way in, each with a time that the repetition does not have."""
    project = deployment.new_project()

    def send(clock_behind: timedelta) -> None:
        sent_at = (datetime.now(UTC) - clock_behind).isoformat()
        track = {
            "type": "track",
            "event": "Tried",
            "userId": "u",
            "messageId": "m",
            "timestamp": "2026-02-01T00:00:00Z",
        }
        basic = f"Basic {base64.b64encode(project.write_key.encode()).decode()}"
        deployment.post("/v1/batch", basic, {"batch": [track], "sentAt": sent_at})
        github = {"X-GitHub-Event": "star", "X-GitHub-Delivery": GUID}
        deployment.post(f"/webhooks/github/{project.id}", project.write_key, {"action": "deleted"}, headers=github)
        deployment.keen(project, "orders", *(event(f"order {n}", n) for n in range(IDS)))

    send(timedelta(minutes=4, seconds=50))  # a clock that is not corrected
    deployment.processed()
    deployment.keen(project, "orders", *(event(f"order {n}", n) for n in range(IDS // 2, 2 * IDS)))
    for process in deployment.processors:  # some of it put out, and not settled
        process.kill()
    deployment.start_processors()
    send(timedelta(minutes=5, seconds=10))  # one that is
    state = deployment.processed()
    expected = {"orders": 2 * IDS, "Tried": 1, "star": 1}
    assert {name: state.events(project.id, name) for name in expected} == expected
    assert {name: len(deployment.rows(project, name)) for name in expected} == expected
    assert {id_ for id_, _ in deployment.rows(project, "star")} == {GUID}


def test_a_project_says_what_is_dropped_and_is_heard_at_once(deployment: Deployment) -> None:
    project = deployment.new_project()
    time = "2026-02-01T00:00:00Z"
    deployment.keen(project, "untimed", event("a", 1), event("a", 2), event("a", 3), event("b"))
    deployment.keen(project, "timed", event("a", timestamp=time), event("a", timestamp=time))
    deployment.keen(project, "others", event("a"), {"n": 1}, {"n": 1})
    state = deployment.processed()
    counts = {name: state.events(project.id, name) for name in ("untimed", "timed", "others")}
    # The same id in another collection is another event; who gives the time has one row, and counts the retry.
    assert counts == {"untimed": 2, "timed": 2, "others": 3}
    assert len(deployment.rows(project, "timed")) == 1
    [kept] = [
        e for e in read_events(deployment.settings, project.id, "untimed") if e["id"] == event_id(project.id, "a")
    ]
    assert orjson.loads(kept["properties"]) == {"n": 1}

    def counted_of_two(collection: str, **keen: str) -> int:
        """Of an id that is sent twice."""
        before, token = deployment.processed().events(project.id, collection), uuid.uuid4().hex
        for _ in range(2):
            deployment.keen(project, collection, event(token, 0, **keen))
        return deployment.processed().events(project.id, collection) - before

    deployment.collector.writer.change_settings(project.id, {"ids.window": "all"})
    wait_until(lambda: counted_of_two("timed", timestamp=time) == 1)
    assert counted_of_two("untimed") == 1
    deployment.collector.writer.change_settings(project.id, {"ids.window": "off"})
    wait_until(lambda: counted_of_two("untimed") == 2)
    rows = deployment.rows(project, "untimed")
    assert len(rows) > len({id_ for id_, _ in rows})
    deployment.collector.writer.change_settings(project.id, {"ids.window": None})
    wait_until(lambda: counted_of_two("untimed") == 1)
    assert counted_of_two("timed", timestamp=time) == 2


def test_what_was_given_up_can_be_sent_again(deployment: Deployment) -> None:
    """An id is learned with an event that was put out; and of two in one request the good one comes through."""
    project = deployment.new_project()
    broken = {"name": "keen:url_parser", "input": {"url": 1}, "output": "x"}
    bad = {"keen": {"uniqueness_token": "a", "addons": [broken]}}
    deployment.keen(project, "tries", bad)
    deployment.processed()
    deployment.keen(project, "tries", bad, event("a", 1), event("a", 2))
    assert deployment.processed().events(project.id, "tries") == 1
    [kept] = read_events(deployment.settings, project.id, "tries")
    assert orjson.loads(kept["properties"]) == {"n": 1}

    id_, raw = str(uuid.uuid4()), RawTopic(deployment.settings)
    texts = ['{"a.b":1}', '{"n":1}', '{"n":2}']  # the first is found bad when the slice is surveyed
    for text in texts:
        raw.send(raw_record(project.id, "surveyed", id=id_, id_given=True, properties=text), b"k")
    raw.flush()
    deployment.sent += len(texts)
    assert deployment.processed().events(project.id, "surveyed") == 1
    [kept] = read_events(deployment.settings, project.id, "surveyed")
    assert orjson.loads(kept["properties"]) == {"n": 1}
    given_up = [letter for letter in read_dead_letters(deployment.settings) if letter["collection"] == "surveyed"]
    assert [letter["reason"] for letter in given_up] == ["invalid_event"]
