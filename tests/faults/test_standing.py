"""A processor that gets nowhere says so on /readyz, says on /livez whether a restart would help, and goes on when it can."""

from pathlib import Path

from confluent_kafka.cimpl import NewTopic

from headwater.kafka import create_topics
from headwater.settings import Settings
from headwater.topics import backfill_topic, collection_topic
from tests.processing import ProcessorProcess, RawTopic, new_project, raw_record, read_events, wait_processed
from tests.waiting import wait_until

LIMIT = 60.0
GETS_NOTHING = """
import asyncio, pathlib
from aiokafka.consumer import fetcher
from processors import ends, standing
standing.STALLED_SECONDS, ends.PAUSE_SECONDS = 2.0, 1.0
fetch = fetcher.Fetcher._proc_fetch_request
async def fetch_or_hang(self, *given):
    while pathlib.Path({flag!r}).exists():
        await asyncio.sleep(0.05)
    return await fetch(self, *given)
fetcher.Fetcher._proc_fetch_request = fetch_or_hang
"""
GETS_NO_HISTORY = """
from confluent_kafka import TopicPartition
from processors import backfill, backfill_reader
backfill.IDLE_SECONDS = 2.0
turn = backfill_reader.BackfillReader._turn_to_what_is_wanted
first = []
def turned(self):
    turn(self)
    first[:] = first or [self._consumer]
    if self._consumer is first[0] and self._readings:
        self._consumer.pause([TopicPartition(self.topic, partition) for partition in self._readings])
backfill_reader.BackfillReader._turn_to_what_is_wanted = turned
"""
IS_BLOCKED = """
import pathlib, time
from processors import standing
standing.LOOP_SECONDS, standing.DEAD_LOOP_SECONDS = 2.0, 4.0
look = standing.Standing.look
def blocked(self, *given):
    while pathlib.Path({flag!r}).exists():
        time.sleep(0.05)
    look(self, *given)
standing.Standing.look = blocked
"""


def test_topics_that_cannot_be_made(kafka_settings: Settings, tmp_path: Path) -> None:
    project_id = new_project(kafka_settings)
    raw = RawTopic(kafka_settings)
    more_than_there_are = kafka_settings.model_copy(update={"replication_factor": 2})
    process = ProcessorProcess(more_than_there_are, "processor", tmp_path)
    try:
        process.wait_ready()
        raw.send(raw_record(project_id, "c"), b"k", 1)
        raw.flush()
        wait_until(lambda: "partition 1 is stuck, for " in process.unready, LIMIT)
        assert process.unready.rstrip().endswith(": topics of collections cannot be made")
        assert process.alive, "a restart would not help"
        # What an operator would do: a topic with what there is.
        topic = collection_topic(kafka_settings.topic_prefix, project_id, "c")
        create_topics(kafka_settings, [NewTopic(topic, 1, -1)])
        wait_until(lambda: process.ready, LIMIT)
        wait_processed(kafka_settings, 1)
        assert len(read_events(kafka_settings, project_id, "c")) == 1
        assert process.end() == 0, process.log.read_text()[-3000:]
    finally:
        process.kill()


def test_records_that_wait_and_are_not_fetched(kafka_settings: Settings, tmp_path: Path) -> None:
    """Kafka is asked where its topic ends: what was fetched says nothing of it."""
    project_id = new_project(kafka_settings)
    raw = RawTopic(kafka_settings)
    flag, sent = tmp_path / "flag", 0
    process = ProcessorProcess(kafka_settings, "processor", tmp_path, GETS_NOTHING.format(flag=str(flag)))

    def send() -> None:
        nonlocal sent
        raw.send(raw_record(project_id, "c"), b"k", 1)
        raw.flush()
        sent += 1

    def said() -> bool:
        send()  # a fetch was under way, which the first ends
        return "records wait and none was processed for 2 s: partitions 1" in process.unready

    try:
        process.wait_ready()
        send()
        wait_processed(kafka_settings, 1)
        flag.touch()
        wait_until(said, LIMIT, 0.2)
        assert process.metric('headwater_processor_lag_records{partition="1"}') > 0
        assert process.alive
        flag.unlink()
        wait_until(lambda: process.ready, LIMIT)
        wait_processed(kafka_settings, sent)
        assert len(read_events(kafka_settings, project_id, "c")) == sent
        assert process.end() == 0, process.log.read_text()[-3000:]
    finally:
        process.kill()


def test_a_worker_that_does_not_answer_itself(kafka_settings: Settings, tmp_path: Path) -> None:
    new_project(kafka_settings)
    flag = tmp_path / "flag"
    process = ProcessorProcess(kafka_settings, "processor", tmp_path, IS_BLOCKED.format(flag=str(flag)))
    try:
        process.wait_ready()
        assert process.alive
        flag.touch()
        wait_until(lambda: "the worker has not answered itself for " in process.unready, LIMIT)
        wait_until(lambda: not process.alive, LIMIT)  # whoever looks after it starts it anew
        assert process.running
        flag.unlink()
        wait_until(lambda: process.ready and process.alive, LIMIT)
    finally:
        process.kill()


def test_history_that_waits_and_is_not_fetched(kafka_settings: Settings, tmp_path: Path) -> None:
    """As when librdkafka has lost all brokers: what Kafka has does not come, and no error does."""
    project_id = new_project(kafka_settings)
    history = RawTopic(kafka_settings, backfill_topic(kafka_settings))
    process = ProcessorProcess(kafka_settings, "processor", tmp_path, GETS_NO_HISTORY)
    try:
        process.wait_ready()
        for number in range(200):
            history.send(raw_record(project_id, "c"), b"%d" % number)
        history.flush()
        wait_processed(kafka_settings, 200)
        assert len(read_events(kafka_settings, project_id, "c")) == 200
        assert process.log.read_text().count("history is there and is not read") == 1
        assert process.end() == 0, process.log.read_text()[-3000:]
    finally:
        process.kill()
