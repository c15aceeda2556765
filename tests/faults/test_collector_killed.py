"""The collector is killed while every dialect's clients send: what was answered is there, once, as the clients' retries make it."""

import json
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from headwater.control import Project
from headwater.settings import Settings
from headwater.topics import raw_topic
from tests.collecting import Collector, running_collector
from tests.processing import processor, read_dead_letters, read_events, read_topic, wait_processed
from tests.waiting import wait_until

REQUESTS = 60  # of each dialect
EVENTS = 3  # of a request, where it may have several
START = datetime(2026, 1, 31, 12, tzinfo=UTC)
GREGORIAN = datetime(1582, 10, 15, tzinfo=UTC)

Sent = tuple[str, Any, dict[str, str]]  # path, body, headers of a request
Dialect = Callable[[Project, int], Sent]


def numbers(request: int) -> list[int]:
    """What the events of a request have as `n`."""
    return [request * EVENTS + number for number in range(EVENTS)]


def at(number: int) -> str:
    return (START + timedelta(seconds=number)).isoformat()


def keen(project: Project, request: int) -> Sent:
    events = [{"n": n, "keen": {"uniqueness_token": f"keen {n}", "timestamp": at(n)}} for n in numbers(request)]
    path = f"/3.0/projects/{project.id}/events"
    return path, {"keen": events}, {"Authorization": project.write_key}


def segment(project: Project, request: int) -> Sent:
    """With `sentAt`, by which the time of an event is another one at each attempt: its id alone tells that it is the same."""
    batch = [
        {
            "type": "track",
            "event": "segment",
            "userId": "u",
            "messageId": f"segment {n}",
            "timestamp": at(n),
            "properties": {"n": n},
        }
        for n in numbers(request)
    ]
    return "/v1/batch", {"batch": batch, "writeKey": project.write_key, "sentAt": at(0)}, {}


def github(project: Project, request: int) -> Sent:
    delivery = uuid.UUID(fields=((START - GREGORIAN).seconds + request, 0, 0x11ED, 0x8E, 0x05, request))
    headers = {"X-GitHub-Event": "github", "X-GitHub-Delivery": str(delivery)}
    return f"/webhooks/github/{project.id}", {"n": request}, headers | {"Authorization": project.write_key}


def sendgrid(project: Project, request: int) -> Sent:
    events = [
        {"event": "open", "email": "a@example.com", "sg_event_id": f"id {n}", "timestamp": 1_769_860_800 + n, "n": n}
        for n in numbers(request)
    ]
    return f"/webhooks/sendgrid/{project.id}", events, {"Authorization": project.write_key}


def cloudevents(project: Project, request: int) -> Sent:
    events = [
        {"specversion": "1.0", "id": f"{n}", "source": "/s", "type": "cloud", "time": at(n), "data": {"n": n}}
        for n in numbers(request)
    ]
    headers = {"Content-Type": "application/cloudevents-batch+json", "Authorization": project.write_key}
    return f"/webhooks/cloudevents/{project.id}", events, headers


def number_in(properties: dict[str, Any]) -> int:
    """The `n` of an event; CloudEvents have it in their data."""
    number: int = properties.get("data", properties)["n"]
    return number


DIALECTS: dict[str, tuple[Dialect, int]] = {  # by collection, and how many events a request has
    "keen": (keen, EVENTS),
    "segment": (segment, EVENTS),
    "github": (github, 1),
    "email_open": (sendgrid, EVENTS),
    "cloud": (cloudevents, EVENTS),
}


class Clients:
    """One client of each dialect, which sends a request again, as it was, until it is answered."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._lock = threading.Lock()
        self.answered: Counter[str] = Counter()
        self.again = 0

    def run(self, name: str) -> None:
        """Send all requests of a dialect."""
        make, _ = DIALECTS[name]
        with httpx.Client(base_url=self._collector.url, timeout=15) as http:
            for request in range(REQUESTS):
                path, body, headers = make(self._collector.project, request)
                post = partial(
                    http.post,
                    path,
                    content=json.dumps(body).encode(),
                    headers={"Content-Type": "application/json"} | headers,
                )
                wait_until(partial(self._answered, post), 60)
                with self._lock:
                    self.answered[name] += 1

    def _answered(self, post: Callable[[], httpx.Response]) -> bool:
        try:
            answer = post()
        except httpx.HTTPError:
            self.again += 1
            return False
        if answer.status_code >= 500:
            return False
        assert answer.status_code == 200, answer.text
        return True


@pytest.mark.timeout(180)
def test_what_was_answered_before_the_collector_was_killed_is_there_once(
    kafka_settings: Settings, tmp_path: Path
) -> None:
    with running_collector(kafka_settings, tmp_path) as collector:
        clients = Clients(collector)
        with ThreadPoolExecutor(len(DIALECTS)) as pool:
            runs = [pool.submit(clients.run, name) for name in DIALECTS]
            for share in (REQUESTS // 4, REQUESTS // 2):
                wait_until(lambda: min(clients.answered[name] for name in DIALECTS) >= share, 60, 0.002)  # noqa: B023 - called at once
                collector.kill()
                collector.start()
            for run in runs:
                run.result(120)
        assert clients.again, "no request was under way when the collector was killed"
        project = collector.project.id
    raw = len(read_topic(kafka_settings, raw_topic(kafka_settings)))

    with processor(kafka_settings):
        wait_processed(kafka_settings, raw)
    for name, (_, events) in DIALECTS.items():
        # The same id and time is one event, however often it was put out.
        found = {
            (each["id"], each["timestamp"], number_in(json.loads(each["properties"])))
            for each in read_events(kafka_settings, project, name)
        }
        assert Counter(number for *_, number in found) == Counter(range(REQUESTS * events)), name
    assert not read_dead_letters(kafka_settings)
