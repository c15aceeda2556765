"""A test event, end to end: sent over HTTP, seen in the raw topic, in its collection's topic, and by a query; with the time of each hop.

It goes into the collection COLLECTION, one small event for each time, and stays there.
"""

import secrets
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

import httpx
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from headwater.codec import CodecError, codec
from headwater.doctor.check import Check, failed, ok
from headwater.doctor.machines import Clock, now
from headwater.kafka import assign, partition_reader_config
from headwater.offsets import Offsets, Place
from headwater.settings import Settings
from headwater.topics import collection_topic, raw_topic

COLLECTION = "headwater_doctor"
HOPS = ("answered", "in the raw topic", "in the collection's topic", "visible by query")
REQUEST_SECONDS = 5.0
READ_SECONDS = 0.1
LOOK_SECONDS = 0.1
ANSWER_SECONDS = 3.0


class Target(NamedTuple):
    """Where the event is sent and asked for, and by which keys."""

    url: str
    project_id: str
    write_key: str
    read_key: str


@dataclass
class Journey:
    """When the event was seen at each hop, in seconds from its being sent; `stopped` says why it was not at the next one."""

    seconds: dict[str, float] = field(default_factory=dict)
    stopped: str | None = None
    clocks: list[Clock] = field(
        default_factory=list
    )  # of the collector and the processor, by what they wrote into the event


def send(settings: Settings, target: Target, limit: float) -> Journey:
    """Send an event and follow it. Blocks for `limit` seconds, and an answer, at most."""
    return _Follower(settings, target, limit).follow()


def judge(journey: Journey) -> Check:
    """Whether the event came through, and how long each hop took."""
    times = ", ".join(f"{hop} after {seconds:.2f} s" for hop, seconds in journey.seconds.items())
    missing = next((hop for hop in HOPS if hop not in journey.seconds), None)
    if missing is None:
        return ok("test event", times)
    said = f"{times or 'not answered'}; not {missing}: {journey.stopped}"
    return failed("test event", said, REMEDIES[missing])


REMEDIES = {
    "answered": "see that a collector runs at that address, and that Kafka takes records",
    "in the raw topic": "see that collector and HEADWATER_KAFKA are of one deployment (HEADWATER_TOPIC_PREFIX too)",
    "in the collection's topic": "see that a processor runs, its lag, and its log",
    "visible by query": "see that a sink runs, its lag, and its log; and that API and sink have one ClickHouse",
}


class _Follower:
    def __init__(self, settings: Settings, target: Target, limit: float) -> None:
        self._settings = settings
        self._target = target
        self._run = secrets.token_hex(12)
        self._offsets = Offsets(settings, ANSWER_SECONDS)
        self._topic = collection_topic(settings.topic_prefix, target.project_id, COLLECTION)
        self._limit = limit

    def follow(self) -> Journey:
        journey = Journey()
        config = partition_reader_config(self._settings, "doctor") | {"log_level": 0, "enable.partition.eof": False}
        base = f"{self._target.url}/3.0/projects/{self._target.project_id}"
        with closing(Consumer(config)) as reader, httpx.Client(timeout=REQUEST_SECONDS, trust_env=False) as http:
            try:
                begin = self._ends(raw_topic(self._settings)) | self._ends(self._topic)
                self._began, deadline = now(), time.monotonic() + self._limit
                began = time.monotonic()
                self._post(http, base)
                journey.seconds[HOPS[0]] = time.monotonic() - began
                answered_at = now()
                raw = self._read(reader, raw_topic(self._settings), "raw_event", begin, deadline)
                journey.seconds[HOPS[1]] = time.monotonic() - began
                journey.clocks.append(Clock("the collector", raw["received_at"] / 1000, self._began, answered_at))
                event = self._read(reader, self._topic, "event", begin, deadline)
                journey.seconds[HOPS[2]] = time.monotonic() - began
                journey.clocks.append(Clock("the processor", event["processed_at"] / 1000, self._began, now()))
                self._until(lambda: self._visible(http, base), deadline)
                journey.seconds[HOPS[3]] = time.monotonic() - began
            except _StoppedError as error:
                journey.stopped = str(error)
            except KafkaException as error:
                journey.stopped = f"Kafka: {error.args[0].str()}"
            except httpx.HTTPError as error:
                journey.stopped = f"{self._target.url}: {error or type(error).__name__}"
        return journey

    def _post(self, http: httpx.Client, base: str) -> None:
        answer = http.post(
            f"{base}/events/{COLLECTION}", json={"run": self._run}, headers={"Authorization": self._target.write_key}
        )
        if answer.status_code != httpx.codes.CREATED:
            raise _StoppedError(f"{self._target.url} answers {answer.status_code}: {answer.text[:200]}")

    def _visible(self, http: httpx.Client, base: str) -> bool:
        of_this_run = [{"property_name": "run", "operator": "eq", "property_value": self._run}]
        answer = http.post(
            f"{base}/queries/count",
            json={"event_collection": COLLECTION, "filters": of_this_run},
            headers={"Authorization": self._target.read_key},
        )
        if answer.status_code != httpx.codes.OK:
            raise _StoppedError(f"{self._target.url} answers a query {answer.status_code}: {answer.text[:200]}")
        return bool(answer.json()["result"])

    def _ends(self, topic: str) -> dict[Place, int]:
        return self._offsets.ends(self._places(topic))

    def _places(self, topic: str) -> list[Place]:
        return [Place(topic, number) for number in range(self._offsets.partitions().get(topic, 0))]

    def _read(
        self, reader: Consumer, topic: str, schema: str, begin: dict[Place, int], deadline: float
    ) -> dict[str, int]:
        """The event's record in a topic, which may not be there yet. One that is just being made has no ends: it is read from 0."""
        places: list[Place] = []

        def there() -> bool:
            places[:] = self._places(topic)
            return bool(places)

        self._until(there, deadline)
        assign(reader, [TopicPartition(*place, begin.get(place, 0)) for place in places])
        found: list[dict[str, int]] = []

        def read() -> bool:
            message = reader.poll(READ_SECONDS)
            while message is not None:
                found.extend(self._decoded(message, schema))
                message = None if found else reader.poll(0)
            return bool(found)

        self._until(read, deadline, pause=0.0)
        return found[0]

    def _decoded(self, message: Message, schema: str) -> list[dict[str, int]]:
        value = message.value() or b""
        if message.error() is not None or self._run.encode() not in value:
            return []
        try:
            return [codec(schema).decode(value)]
        except CodecError:
            return []

    def _until(self, condition: Callable[[], bool], deadline: float, pause: float = LOOK_SECONDS) -> None:
        while not condition():
            if time.monotonic() > deadline:
                raise _StoppedError(f"within {self._limit:g} s")
            time.sleep(pause)


class _StoppedError(Exception):
    """The event is not at its next hop; the message says why."""
