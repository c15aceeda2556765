"""`headwater dead-letter replay` and `discard` against a real Kafka: each letter once, whatever is killed in the middle."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from typer.testing import CliRunner

from headwater.cli import app
from headwater.codec import codec
from headwater.dead_letters import DeadLettersError, GivenUp, Settler, Wanted, dead_letter
from headwater.kafka import assign, create_base_topics, durable_producer_config, partition_reader_config, what_comes
from headwater.origin import Origin, headers_of, origin_in
from headwater.settings import PREFIX, Settings
from headwater.topics import dead_letters_topic, raw_topic
from tests.conftest import new_deployment

# Letters are settled one at a time, and what is killed waits before its second commit: its records are in Kafka by then.
STUCK = """
import sys, time
from headwater.dead_letters import Settler, Wanted, settling
from headwater.settings import load_settings
settling.BATCH_LETTERS = 1
class Stuck(settling.Producer):
    commits = 0
    def commit_transaction(self, *arguments):
        if self.commits:
            self.flush()
            print("in the middle", flush=True)
            time.sleep(600)
        self.commits += 1
        super().commit_transaction(*arguments)
settling.Producer = Stuck
with Settler(load_settings()) as settler:
    settler.settle(settler.ledger().open(Wanted(reason="addon_failed")), "replayed")
"""


@pytest.fixture(scope="module")
def deployment(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = new_deployment(kafka, tmp_path_factory.mktemp("deployment"))
    create_base_topics(settings)
    return settings


@pytest.fixture
def settings(deployment: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """The deployment, which the command line finds in the environment; its letters are settled afterwards."""
    for name in ("kafka", "topic_prefix", "data_dir"):
        monkeypatch.setenv(PREFIX + name.upper(), str(getattr(deployment, name)))
    yield deployment
    with Settler(deployment) as settler:
        settler.settle(settler.ledger().open(Wanted()), "discarded")


def give_up(settings: Settings, *letters: dict[str, Any]) -> None:
    producer = Producer(durable_producer_config(settings))
    for letter in letters:
        producer.produce(dead_letters_topic(settings), codec("dead_letter").encode(letter), key=letter["id"])
    assert producer.flush(30) == 0


def letter(settings: Settings, offset: int, reason: str = "addon_failed", **place: Any) -> dict[str, Any]:
    origin = Origin(place.get("topic", raw_topic(settings)), offset % 4, offset, 1_700_000_000_000 + offset)
    record = GivenUp(origin, b"key-%d" % offset, b"value-%d" % offset, [("id", b"order-%d" % offset)])
    return dead_letter(record, "processor", reason, "OSError", "away", 1_700_000_009_000, "p" * 24, "c")


def written_again(settings: Settings) -> list[Message]:
    """The committed records of the raw topic."""
    topic = raw_topic(settings)
    consumer = Consumer(partition_reader_config(settings, topic))
    try:
        assign(consumer, [TopicPartition(topic, number, 0) for number in range(settings.raw_partitions)])
        found, ends = [], 0
        while ends < settings.raw_partitions:
            for message in what_comes(consumer, 1_000, 0.1):
                if message.error():
                    ends += 1
                else:
                    found.append(message)
        return found
    finally:
        consumer.close()


def places(records: list[Message], *offsets: int) -> list[int]:
    """From which of these offsets records were written again, each as often as it was."""
    found = [origin_in(headers_of(record), record.topic() or "") for record in records]
    return sorted(origin.offset for origin in found if origin is not None and origin.offset in offsets)


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["dead-letter", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def listed(*arguments: str) -> list[dict[str, Any]]:
    return orjson.loads(run("list", "--json", *arguments))  # type: ignore[no-any-return]


def test_a_replay_is_the_record_as_it_was_and_is_done_once(settings: Settings) -> None:
    first, other = letter(settings, 1), letter(settings, 2, "unreadable")
    give_up(settings, first, other, first | {"failed_at": 1_700_000_009_500})
    assert "Say which" in run("discard", code=2)
    assert "2 dead letters would be replayed" in run("replay", "--dry-run")
    planned = orjson.loads(run("replay", "--reason", "addon_failed", "--dry-run", "--json"))
    assert planned == {"replayed": 1, "topics": {raw_topic(settings): 1}, "missing_topics": {}, "dry_run": True}
    assert "1 dead letters would be replayed" in run("replay", "--reason", "addon_failed", "--dry-run")
    assert not places(written_again(settings), 1, 2)
    done = orjson.loads(run("replay", "--reason", "addon_failed", "--json"))
    assert done == planned | {"dry_run": False}
    (record,) = [one for one in written_again(settings) if one.key() == b"key-1"]
    assert (record.value(), record.partition()) == (b"value-1", 1)
    assert headers_of(record)[0] == ("id", b"order-1")
    assert origin_in(headers_of(record), raw_topic(settings)) == Origin(
        raw_topic(settings), 1, 1, 1_700_000_000_001, attempt=2
    )
    assert "none of 1 dead letters is open" in run("replay", "--reason", "addon_failed")
    assert orjson.loads(run("replay", "--reason", "addon_failed", "--json"))["replayed"] == 0
    assert "none of 1 dead letters is open" in run("discard", "--id", first["id"])
    assert places(written_again(settings), 1, 2) == [1]

    assert [one["id"] for one in listed()] == [other["id"]]
    (settled,) = [one for one in listed("--all") if one["id"] == first["id"]]
    assert settled["outcome"] == "replayed"
    assert settled["settled_at"] is not None
    shown = orjson.loads(run("show", first["id"], "--json"))
    assert (shown["outcome"], shown["headers"], shown["payload"]) == ("replayed", {"id": "order-1"}, "value-1")

    # The copy fails again: the same letter, open once more.
    give_up(settings, first | {"attempt": 2})
    (again,) = listed("--reason", "addon_failed")
    assert (again["id"], again["attempt"], again["outcome"]) == (first["id"], 2, None)
    assert "failed 2 times" in run("list")


def test_what_is_killed_in_the_middle_leaves_both_or_neither(settings: Settings) -> None:
    letters = [letter(settings, offset) for offset in (11, 12, 13)]
    give_up(settings, *letters)
    process = subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"in the middle\n"
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()  # type: ignore[union-attr]  # it is piped
    # The first was done; of the second, which Kafka had but for the commit, neither record is there. The third was not begun.
    assert "2 dead letters replayed" in run("replay", "--all")
    assert places(written_again(settings), 11, 12, 13) == [11, 12, 13]
    assert [one["outcome"] for one in listed("--all") if one["offset"] in (11, 12, 13)] == ["replayed"] * 3


def test_a_second_operator_takes_over_from_the_first(settings: Settings) -> None:
    give_up(settings, letter(settings, 21))
    with Settler(settings) as slow:
        entries = slow.ledger().open(Wanted())
        assert "1 dead letters replayed" in run("replay", "--all")
        with pytest.raises(DeadLettersError, match="another replay or discard was started"):
            slow.settle(entries, "replayed")
    assert places(written_again(settings), 21) == [21]


def test_what_is_discarded_is_not_replayed(settings: Settings) -> None:
    give_up(settings, letter(settings, 31), letter(settings, 32))
    assert "1 dead letters discarded" in run("discard", "--id", letter(settings, 31)["id"])
    assert "1 dead letters replayed" in run("replay", "--project", "p" * 24, "--from", "2023-11-14", "--to", "1s")
    assert places(written_again(settings), 31, 32) == [32]
    outcomes = {one["offset"]: one["outcome"] for one in listed("--all") if one["offset"] in (31, 32)}
    assert outcomes == {31: "discarded", 32: "replayed"}


def test_where_the_topic_is_gone_the_letter_stays_open(settings: Settings) -> None:
    topic = f"{settings.topic_prefix}.in.{'a' * 24}.gone"
    give_up(settings, letter(settings, 41, topic=topic), letter(settings, 42))
    printed = run("replay", "--all", code=1)
    assert "1 dead letters replayed" in printed
    assert topic in printed
    assert [one["topic"] for one in listed()] == [topic]
    assert "is no time" in run("list", "--from", "yesterday", code=2)
