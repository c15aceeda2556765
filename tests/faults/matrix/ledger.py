"""The load, and its ledger: what was answered with success, and nothing else.

A sender numbers its events from 0. What is not answered with success is sent again until it is, a request byte for byte; only
then are its events in the ledger. So when a sender has ended, the ledger is all that it ever sent.
"""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import httpx
import orjson
from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.cimpl import NewTopic

from headwater.control import Project
from headwater.kafka import create_topics, durable_producer_config
from headwater.settings import Settings
from headwater.topics import in_topic

COLLECTIONS = ("visits", "orders")
PAUSE_SECONDS = 0.1
ANSWER_SECONDS = 6.0
AGAIN_SECONDS = 0.1


@dataclass(frozen=True)
class Entry:
    """One event that was answered with success."""

    id: str
    collection: str
    number: int


@dataclass
class Ledger:
    """A project's entries, in the order of their answers, and what else the sender saw."""

    entries: list[Entry] = field(default_factory=list)
    answers: Counter[str] = field(
        default_factory=Counter
    )  # HTTP statuses, and the names of errors where there was none; records acknowledged, and why others were not
    longest_wait: float = 0.0  # seconds in which no request was answered with success


def properties(entry: Entry) -> dict[str, object]:
    """What an event says of itself, beside its id and time."""
    return {"n": entry.number, "text": "x" * 100}


def event_id(project_id: str, number: int) -> str:
    """The id of a project's event."""
    return str(uuid.uuid5(uuid.UUID(project_id[:24].ljust(32, "0")), str(number)))


class Way(Protocol):
    """How a sender's events go out."""

    batch: int  # events of one request
    burst: int  # and in a burst

    def send(self, entries: Sequence[Entry], ledger: Ledger) -> float:
        """Have these events answered with success, however often it takes; returns when the try began in which the last of them was."""
        ...

    def close(self) -> None:
        """Stop."""
        ...


class OverHttp:
    """Bulk requests to the collector."""

    batch, burst = 50, 500

    def __init__(self, url: str, project: Project, *, history: bool = False) -> None:
        self._address = f"{url}/3.0/projects/{project.id}/events"
        self._headers = {"Authorization": project.write_key, "Content-Type": "application/json"}
        if history:
            self._headers["Headwater-Backfill"] = "true"
        self._client = httpx.Client(timeout=ANSWER_SECONDS)

    def close(self) -> None:
        """Stop."""
        self._client.close()

    def send(self, entries: Sequence[Entry], ledger: Ledger) -> float:
        """As Way says; the same bytes each time."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        body: dict[str, list[dict[str, object]]] = {name: [] for name in COLLECTIONS}
        for entry in entries:
            event = properties(entry) | {"keen": {"timestamp": now, "uniqueness_token": entry.id}}
            body[entry.collection].append(event)
        data = orjson.dumps(body)
        while True:
            began = time.monotonic()
            try:
                answer = self._client.post(self._address, content=data, headers=self._headers)
                ledger.answers[str(answer.status_code)] += 1
                results = answer.json() if answer.status_code == 200 else {}
            except (httpx.HTTPError, ValueError) as error:
                ledger.answers[type(error).__name__] += 1
                results = {}
            if sum(result.get("success") is True for each in results.values() for result in each) == len(entries):
                return began
            time.sleep(AGAIN_SECONDS)


class IntoTopics:
    """Records of topics of the producer's own, which collectors take in; Kafka's acknowledgement is the answer."""

    batch, burst = 20, 500

    def __init__(self, settings: Settings, project: Project) -> None:
        """Makes the topics. Raises KafkaException."""
        self._config = durable_producer_config(settings) | {"message.timeout.ms": int(ANSWER_SECONDS * 1000)}
        self._topics = {name: in_topic(settings.topic_prefix, project.id, name) for name in COLLECTIONS}
        create_topics(settings, [NewTopic(topic, 2, -1) for topic in self._topics.values()])
        self._producer = Producer(self._config)

    def close(self) -> None:
        """Stop; everything is answered."""

    def send(self, entries: Sequence[Entry], ledger: Ledger) -> float:
        """As Way says; what was not acknowledged is written again, by a new client."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        waiting = {entry.id: entry for entry in entries}

        def answered(entry: Entry, error: KafkaError | None, _message: Message) -> None:
            ledger.answers["acknowledged" if error is None else error.name()] += 1
            if error is None:
                del waiting[entry.id]

        while True:
            began = time.monotonic()
            for entry in list(waiting.values()):
                topic, value = self._topics[entry.collection], orjson.dumps(properties(entry))
                headers: list[tuple[str, str | bytes | None]] = [("id", entry.id), ("timestamp", now)]
                self._producer.produce(topic, value, headers=headers, on_delivery=partial(answered, entry))
            while len(self._producer):
                self._producer.poll(AGAIN_SECONDS)
            if not waiting:
                return began
            self._producer = Producer(self._config)


class Sender:
    """Sends events of one project in a thread of its own, from `start` to `finish`."""

    def __init__(self, project_id: str, way: Way) -> None:
        self.project_id = project_id
        self.ledger = Ledger()
        self._way = way
        self._began = 0.0  # when the request began that was answered last
        self._burst = 0
        self._number = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sender-{project_id}", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    @property
    def answered(self) -> int:
        """How many events were answered with success; those with lower numbers than this."""
        return len(self.ledger.entries)

    @property
    def answered_from(self) -> float:
        """When the request began that was answered with success last, by the monotonic clock."""
        return self._began

    def burst(self, events: int) -> None:
        """Send the next so many without a pause, in large requests."""
        self._burst = events

    def finish(self, seconds: float) -> bool:
        """End when all that was begun is answered with success; False where that took longer than `seconds`."""
        self._stopping.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                began = time.monotonic()
                in_burst = self._burst > 0
                count = self._way.burst if in_burst else self._way.batch
                self._send(range(self._number, self._number + count))
                self._number += count
                if in_burst:
                    self._burst -= count
                else:
                    self._stopping.wait(max(0.0, began + PAUSE_SECONDS - time.monotonic()))
        finally:
            self._way.close()

    def _send(self, numbers: range) -> None:
        entries = [
            Entry(event_id(self.project_id, number), COLLECTIONS[number % len(COLLECTIONS)], number)
            for number in numbers
        ]
        since = time.monotonic()
        began = self._way.send(entries, self.ledger)
        self.ledger.longest_wait = max(self.ledger.longest_wait, time.monotonic() - since)
        self.ledger.entries += entries
        self._began = began
