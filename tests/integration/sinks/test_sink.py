"""A sink between a real Kafka and a real engine."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from headwater import metrics
from headwater.codec import codec
from headwater.dead_letters import GivenUp, Settler, Wanted, dead_letter, read_ledger
from headwater.kafka import client_config, create_base_topics, durable_producer_config, sink_group
from headwater.settings import Settings
from headwater.topics import dead_letters_topic
from sinks.consumer import consumer_config
from sinks.datums import Collection
from sinks.errors import ROW_FAULTS
from sinks.lag import watch_lag
from tests.local_http import HTTP
from tests.processing import PORTS
from tests.sinking import (
    Tables,
    committed,
    create_collections,
    dead_letters,
    encoded,
    new_collection,
    new_store,
    produce,
    read,
    running_sink,
    start_sink,
    topic_of,
)
from tests.waiting import wait_until

LIMIT = 30.0
HEALTH_PORT = 22600


def test_a_new_collection_is_a_table_at_first_sight(settings: Settings, tables: Tables) -> None:
    collection = new_collection()
    with running_sink(settings):
        produce(settings, collection, [encoded(collection, {"n": n}) for n in range(10)])
        wait_until(lambda: tables.count(collection) == 10, LIMIT)
        wait_until(lambda: committed(settings, collection) == 10, LIMIT)
    columns = tables.rows(collection, "id, timestamp, received_at, processed_at, properties.n", order="LIMIT 1")
    assert len(columns) == 1


def test_what_was_there_before_the_sink_is_read(settings: Settings, tables: Tables) -> None:
    collection = new_collection()
    produce(settings, collection, [encoded(collection, {"n": n}) for n in range(100)])
    with running_sink(settings):
        wait_until(lambda: tables.count(collection) == 100, LIMIT)


NAMES = [
    "sign ups",
    "x`; DROP TABLE y; --",
    "back\\slash",
    "quote\"quote's",
    "{n:String} %s ${x}",
    "naïve 🙂",
    "a/b..c",
    "-dash_",
    "x" * 64,
]


def has_one(tables: Tables, collection: Collection) -> bool:
    return tables.count(collection) == 1


def test_odd_names_are_tables_of_that_very_name(settings: Settings, tables: Tables) -> None:
    collections = [new_collection(name) for name in NAMES]
    with running_sink(settings):
        for collection in collections:
            produce(settings, collection, [encoded(collection, {"name": collection.name})])
        for collection in collections:
            wait_until(partial(has_one, tables, collection), LIMIT)
            assert tables.properties(collection) == [{"name": collection.name}]


VALUES: list[dict[str, Any]] = [
    {
        "when": "2024-01-01T00:00:00Z",
        "day": "2024-01-01",
        "time": "2024-01-01 10:00:00.000",
        "number": "0012",
        "e": "1e5",
    },
    {"big": 2**63 - 1, "small": -(2**63), "unsigned": 2**64 - 1, "zero": 0},
    {"float": 0.1, "tiny": 5e-324, "large": 1.7976931348623157e308, "pi": 3.141592653589793},
    {
        "nested": [[1, 2], [3, [4, ["five"]]]],
        "mixed": [1, "two", 3.5, True],
        "bools": [True, False],
        "flags": [True, 1],
    },
    {"objects": [{"a": 1}, {"a": "x", "b": [1]}]},
    {"deep": {"a": {"b": {"c": {"d": [1]}}}}},
    {"text": 'tab\t newline\n quote" backslash\\ nul\x00 emoji 🙂 é \u2028'},
    {
        "a`b": 1,
        "x'; DROP TABLE y": 2,
        "🙂": 3,
        "a b": 4,
        "back\\slash": 5,
        'quo"te': 6,
        "k" * 256: 7,
        "^n": 8,
        ":Int64": 9,
    },
    {"true": True, "false": False, "empty": ""},
]


def test_values_come_back_as_they_were_sent(settings: Settings, tables: Tables) -> None:
    collection = new_collection()
    with running_sink(settings):
        produce(settings, collection, [encoded(collection, value, timestamp=n) for n, value in enumerate(VALUES)])
        wait_until(lambda: tables.count(collection) == len(VALUES), LIMIT)
    assert tables.properties(collection) == VALUES


def test_times_come_back_to_the_millisecond(settings: Settings, tables: Tables) -> None:
    collection = new_collection()
    times = [-2_208_988_800_000, -1, 0, 1_700_000_000_123, 10_413_791_999_999]
    with running_sink(settings):
        produce(settings, collection, [encoded(collection, {"n": 1}, timestamp=time) for time in times])
        wait_until(lambda: tables.count(collection) == len(times), LIMIT)
    found = tables.rows(collection, "toUnixTimestamp64Milli(timestamp)", order="ORDER BY timestamp")
    assert [row[0] for row in found] == times


def test_a_batch_of_more_months_than_a_server_wants_at_once_is_stored(settings: Settings, tables: Tables) -> None:
    collection = new_collection()
    month = 31 * 24 * 3600 * 1000
    with running_sink(settings):
        produce(settings, collection, [encoded(collection, {"n": n}, timestamp=n * month) for n in range(150)])
        wait_until(lambda: tables.count(collection) == 150, LIMIT)


def test_copies_of_an_event_are_one_row_and_the_last_processed_stays(settings: Settings, tables: Tables) -> None:
    collection = new_collection()
    same = {"id": "6f4f6d5e-2a0b-4a1f-9f3e-6865616477a7", "timestamp": 1_700_000_000_000}
    with running_sink(settings):
        for version in (2, 1):
            copy = encoded(collection, {"version": version}, processed_at=1_700_000_000_000 + version, **same)
            produce(settings, collection, [copy] * 3)
            wait_until(lambda: tables.count(collection) == 1, LIMIT)
        wait_until(lambda: committed(settings, collection) == 6, LIMIT)
    assert tables.properties(collection) == [{"version": 2}]


POISON: dict[str, tuple[Callable[[Collection], bytes | None], str]] = {
    "not an object": (lambda c: encoded(c, "[1]"), "refused_by_clickhouse"),
    "not JSON": (lambda c: encoded(c, '{"a":'), "refused_by_clickhouse"),
    "a key twice": (lambda c: encoded(c, '{"a":1,"a":2}'), "refused_by_clickhouse"),
    "not UTF-8": (lambda c: encoded(c, {"a": "XXXX"}).replace(b"XXXX", b"\xff\xfe\xfd\xfc"), "unreadable"),
    "no UUID": (lambda c: encoded(c, {"a": 1}, id="x" * 36), "refused_by_clickhouse"),
    "a short id": (lambda c: encoded(c, {"a": 1}, id="x"), "refused_by_clickhouse"),
    "a far time": (lambda c: encoded(c, {"a": 1}, timestamp=10**17), "refused_by_clickhouse"),
    "bytes too many": (lambda c: encoded(c, {"a": 1}) + b"x", "unreadable"),
    "cut short": (lambda c: encoded(c, {"a": 1})[:-2], "unreadable"),
    "noise": (lambda c: b"\x00\xff" * 50, "unreadable"),
    "nothing": (lambda c: None, "unreadable"),
    "JSON text": (lambda c: b'{"collection":"x"}', "unreadable"),
    "a collection of another": (lambda c: encoded(Collection(c.project_id, "other"), {"a": 1}), "invalid_event"),
}


def test_poison_goes_to_the_dead_letters_and_all_else_is_stored(settings: Settings, tables: Tables) -> None:
    collection = new_collection()
    poison = {name: make(collection) for name, (make, _) in POISON.items()}
    values: list[bytes | None] = []
    for record in poison.values():
        values += [encoded(collection, {"n": len(values) + k}) for k in range(40)] + [record]
    before = metrics.dead_letters.labels("sink", "refused_by_clickhouse")._value.get()
    produce(settings, collection, values)
    with running_sink(settings):
        wait_until(lambda: committed(settings, collection) == len(values), LIMIT)
    assert tables.count(collection, final=False) == 40 * len(poison)
    assert tables.rows(collection, "uniqExact(id)") == [(40 * len(poison),)]
    letters = dead_letters(settings)
    assert {letter["payload"]: letter["reason"] for letter in letters} == {
        poison[name]: reason for name, (_, reason) in POISON.items()
    }
    for letter in letters:
        assert letter["stage"] == "sink"
        assert letter["message"]
        assert (letter["project_id"], letter["collection"]) == (collection.project_id, collection.name)
        assert values[0] is not None
    refused = [letter for letter in letters if letter["payload"] == poison["a key twice"]]
    assert refused[0]["error_class"] == "INCORRECT_DATA"
    assert "Duplicate path found" in refused[0]["message"]
    assert metrics.dead_letters.labels("sink", "refused_by_clickhouse")._value.get() == before + 6


def test_a_batch_that_is_stored_again_gives_the_same_rows_and_dead_letters(settings: Settings, tables: Tables) -> None:
    collection = new_collection()
    create_base_topics(settings)
    produce(settings, collection, [b"junk", encoded(collection, {"a": 1}), encoded(collection, "[]")])
    records = read(settings, collection, 3)
    with new_store(settings) as store:
        for _ in range(2):
            store.store(topic_of(settings, collection), records)
    assert tables.properties(collection) == [{"a": 1}]
    letters = dead_letters(settings)
    assert len(letters) == 4
    assert len({letter["id"] for letter in letters}) == 2
    first = next(letter for letter in letters if letter["payload"] == b"junk")
    origin = next(record for record in records if record.value() == b"junk")
    assert (first["topic"], first["partition"], first["offset"], first["key"], first["record_timestamp"]) == (
        origin.topic(),
        origin.partition(),
        origin.offset(),
        origin.key(),
        origin.timestamp()[1],
    )


def test_a_name_that_no_table_can_have_is_given_up(settings: Settings, tables: Tables) -> None:
    collection, fine = new_collection("!" * 64), new_collection("!" * 50)
    produce(settings, collection, [encoded(collection, {"n": n}) for n in range(3)])
    produce(settings, fine, [encoded(fine, {"n": 1})])
    with running_sink(settings):
        wait_until(lambda: committed(settings, collection) == 3, LIMIT)
        wait_until(lambda: tables.count(fine) == 1, LIMIT)
    letters = dead_letters(settings)
    assert [(letter["reason"], letter["error_class"]) for letter in letters] == [
        ("refused_by_clickhouse", "ARGUMENT_OUT_OF_BOUND")
    ] * 3
    assert "max length of table name" in letters[0]["message"]


def test_a_topic_of_noise_alone_is_given_up_without_a_table(settings: Settings, tables: Tables) -> None:
    collection = new_collection()
    produce(settings, collection, [b"junk"] * 5)
    with running_sink(settings):
        wait_until(lambda: committed(settings, collection) == 5, LIMIT)
    assert [letter["reason"] for letter in dead_letters(settings)] == ["unreadable"] * 5
    assert tables.rows(collection) == []


def test_a_table_that_was_dropped_is_made_again(settings: Settings, tables: Tables) -> None:
    collection = new_collection()
    with running_sink(settings):
        produce(settings, collection, [encoded(collection, {"n": 1})])
        wait_until(lambda: tables.count(collection) == 1, LIMIT)
        tables.command(f"DROP DATABASE headwater_{collection.project_id}")
        produce(settings, collection, [encoded(collection, {"n": 2})])
        wait_until(lambda: tables.properties(collection) == [{"n": 2}], LIMIT)
    assert dead_letters(settings) == []


def test_a_table_of_another_form_holds_up_its_collection_alone(settings: Settings, tables: Tables) -> None:
    broken, fine = new_collection("broken"), new_collection("fine")
    with running_sink(settings):
        produce(settings, broken, [encoded(broken, {"n": 1})])
        wait_until(lambda: tables.count(broken) == 1, LIMIT)
        tables.command(f"ALTER TABLE headwater_{broken.project_id}.broken RENAME COLUMN properties TO others")
        produce(settings, broken, [encoded(broken, {"n": 2})])
        wait_until(lambda: metrics.sink_paused._value.get() == 1, LIMIT)
        produce(settings, fine, [encoded(fine, {"n": 3})])
        wait_until(lambda: tables.count(fine) == 1, LIMIT)
        assert tables.count(broken) == 1
        tables.command(f"ALTER TABLE headwater_{broken.project_id}.broken RENAME COLUMN others TO properties")
        wait_until(lambda: tables.count(broken) == 2, LIMIT)
        wait_until(lambda: metrics.sink_paused._value.get() == 0, LIMIT)
    assert dead_letters(settings) == []


def test_partitions_that_go_while_they_are_paused_are_read_when_they_come_back(
    settings: Settings, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = new_collection()
    turns: list[Callable[[], None]] = []  # to be done in the sink's own thread
    with running_sink(settings) as sink:
        check = sink._membership.check
        monkeypatch.setattr(sink._membership, "check", lambda: turns.pop()() if turns else check())
        produce(settings, collection, [encoded(collection, {"n": 1})])
        wait_until(lambda: tables.count(collection) == 1, LIMIT)
        tables.command(f"ALTER TABLE headwater_{collection.project_id}.events RENAME COLUMN properties TO others")
        produce(settings, collection, [encoded(collection, {"n": 2})])
        wait_until(lambda: sink._paused, LIMIT)
        turns.append(sink._consumer.unsubscribe)
        wait_until(lambda: not sink._owned, LIMIT)
        tables.command(f"ALTER TABLE headwater_{collection.project_id}.events RENAME COLUMN others TO properties")
        turns.append(sink._subscribe)
        wait_until(lambda: tables.count(collection) == 2, LIMIT)


def test_a_full_batch_does_not_wait_for_its_age(settings: Settings, tables: Tables) -> None:
    collection = new_collection()
    patient = settings.model_copy(update={"sink_flush_seconds": 3600.0, "sink_flush_records": 100})
    with running_sink(patient):
        produce(patient, collection, [encoded(collection, {"n": 0})])
        wait_until(lambda: tables.count(collection) == 1, LIMIT)  # the first does not wait
        produce(patient, collection, [encoded(collection, {"n": n}) for n in range(250)])
        wait_until(lambda: tables.count(collection) == 201, LIMIT)
        assert committed(patient, collection) <= 201
    assert tables.count(collection) == 251, "what is left is stored at the end"
    assert committed(patient, collection) == 251


def test_a_batch_does_not_wait_longer_than_its_age(settings: Settings, tables: Tables) -> None:
    collection = new_collection()
    aged = settings.model_copy(update={"sink_flush_seconds": 1.0})
    with running_sink(aged):
        produce(aged, collection, [encoded(collection, {"n": 0})])
        wait_until(lambda: tables.count(collection) == 1, LIMIT)
        started = time.monotonic()
        produce(aged, collection, [encoded(collection, {"n": 1})])
        wait_until(lambda: tables.count(collection) == 2, LIMIT)
        assert time.monotonic() - started < 10.0


def test_two_sinks_share_the_work(settings: Settings, tables: Tables) -> None:
    collection = new_collection()
    create_collections(settings, collection)
    with running_sink(settings):
        with running_sink(settings.model_copy(update={"worker_name": "second"})):
            produce(settings, collection, [encoded(collection, {"n": n}) for n in range(1000)])
            wait_until(lambda: committed(settings, collection) == 1000, LIMIT)
        produce(settings, collection, [encoded(collection, {"n": n}) for n in range(1000)])
        wait_until(lambda: committed(settings, collection) == 2000, LIMIT)
    assert tables.count(collection) == 2000


def test_a_sink_that_is_taken_for_another_of_its_name_joins_anew(settings: Settings, tables: Tables) -> None:
    """As where a broker that was killed gave it an id which it never heard of. What it held is read once more, and stored once."""
    collection = new_collection()
    database = f"headwater_{collection.project_id}"
    with running_sink(settings) as sink:
        produce(settings, collection, [encoded(collection, {"n": 0})])
        wait_until(lambda: committed(settings, collection) == 1, LIMIT)
        tables.command(f"ALTER TABLE {database}.events RENAME COLUMN properties TO others")
        produce(settings, collection, [encoded(collection, {"n": n}) for n in range(1, 10)])
        wait_until(lambda: sink._batches.failing, LIMIT)
        before = sink._consumer
        with closing(Consumer(consumer_config(settings) | {"group.id": sink_group(settings)})) as namesake:
            namesake.subscribe([topic_of(settings, collection)])
            wait_until(lambda: namesake.poll(0.1) or sink._consumer is not before, LIMIT)
        tables.command(f"ALTER TABLE {database}.events RENAME COLUMN others TO properties")
        wait_until(lambda: committed(settings, collection) == 10, LIMIT)
        wait_until(lambda: sink.problems() == [], LIMIT)
        produce(settings, collection, [encoded(collection, {"n": 10})])
        wait_until(lambda: committed(settings, collection) == 11, LIMIT)
    assert tables.count(collection) == 11


def test_of_two_sinks_with_one_name_the_first_ends(settings: Settings, tables: Tables, tmp_path: Path) -> None:
    collection, logs = new_collection(), [tmp_path / "first.log", tmp_path / "second.log"]
    create_base_topics(settings)
    processes = []
    try:
        for log in logs:
            processes.append(start_sink(settings, log))
            produce(settings, collection, [encoded(collection, {"n": 1})])
            wait_until(lambda: committed(settings, collection) == len(processes), LIMIT)
        first, second = processes
        assert first.wait(LIMIT) == 1
        assert "each needs its own" in logs[0].read_text()
        produce(settings, collection, [encoded(collection, {"n": 1})])
        wait_until(lambda: tables.count(collection) == 3, LIMIT)
        assert second.poll() is None
        second.terminate()
        assert second.wait(LIMIT) == 0
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_the_errors_that_are_a_rows_fault_have_the_servers_names(tables: Tables) -> None:
    assert {code: tables.value(f"SELECT errorCodeToName({code})") for code in ROW_FAULTS} == ROW_FAULTS


def test_a_letter_that_is_replayed_is_stored_or_is_the_same_letter_once_more(
    settings: Settings, tables: Tables
) -> None:
    collection = new_collection()
    good, bad = encoded(collection, {"n": 1}), POISON["a key twice"][0](collection)
    produce(settings, collection, [good, bad])
    with running_sink(settings):
        wait_until(lambda: committed(settings, collection) == 2, LIMIT)
        (letter,) = dead_letters(settings)
        # As if ClickHouse had refused the good one too, and takes it now.
        (record,) = [one for one in read(settings, collection, 2) if one.value() == good]
        refused = dead_letter(GivenUp.of(record), "sink", "refused_by_clickhouse", "E", "m", 0)
        producer = Producer(durable_producer_config(settings))
        producer.produce(dead_letters_topic(settings), codec("dead_letter").encode(refused), key=refused["id"])
        assert producer.flush(30) == 0
        with Settler(settings) as settler:
            assert settler.settle(settler.ledger().open(Wanted()), "replayed").letters.total() == 2
        wait_until(lambda: committed(settings, collection) == 4, LIMIT)
        (left,) = [entry.letter for entry in read_ledger(settings) if entry.is_open]
    assert (left["id"], left["offset"], left["attempt"]) == (letter["id"], letter["offset"], 2)
    assert tables.count(collection) == 1
    assert tables.count(collection, final=False) == 2, "it came again, as the same row"


def test_a_sink_whose_rows_are_all_refused_stops(settings: Settings, tmp_path: Path) -> None:
    """What it says, and that it is not ready, can be seen until it ends; garbage of a sender's is no reason to stop."""
    collection = new_collection()
    garbage = Collection(collection.project_id, "garbage")
    settings = settings.model_copy(
        update={"dead_letter_max_run": 200, "sink_flush_seconds": 1.0, "health_port": PORTS.claim(HEALTH_PORT)}
    )
    create_base_topics(settings)
    produce(settings, garbage, [b"nonsense"] * 400 + [encoded(garbage, {"n": 1})])
    log = tmp_path / "sink.log"
    sink = start_sink(settings, log)
    try:
        wait_until(lambda: committed(settings, garbage) == 401, LIMIT)
        produce(settings, collection, [POISON["a key twice"][0](collection)] * 250)
        wait_until(lambda: "stops rather than give up everything" in log.read_text(), LIMIT)
        health = f"http://127.0.0.1:{settings.health_port}"
        assert HTTP.get(f"{health}/readyz").status_code == 503
        assert 'headwater_dead_letter_limit_reached{stage="sink"} 1.0' in HTTP.get(f"{health}/metrics").text
        sink.terminate()
        assert sink.wait(LIMIT) == 1
    finally:
        sink.kill()
        sink.wait()
    letters = Counter(letter["collection"] for letter in dead_letters(settings))
    assert letters["garbage"] == 400
    # What batches before the last one had; read again where it ended before their commit, they are the same letters.
    assert committed(settings, collection) in (0, letters["events"])
    assert letters["events"] < 200


def test_a_sink_that_reads_nothing_though_records_wait_is_not_ready(
    settings: Settings, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinks.lag.STILL_SECONDS", 0.5)
    collection = new_collection()
    produce(settings, collection, [encoded(collection, {"n": 0})])
    stop = threading.Event()
    with running_sink(settings) as sink:
        wait_until(lambda: committed(settings, collection) == 1, LIMIT)
        watching = threading.Thread(target=watch_lag, args=(settings, sink, stop, 0.1))
        watching.start()
        try:
            with monkeypatch.context() as patch:
                idle = threading.Event()
                patch.setattr(sink, "_read", lambda: (idle.set(), time.sleep(0.05)))
                assert idle.wait(LIMIT)
                produce(settings, collection, [encoded(collection, {"n": n}) for n in (1, 2)])
                wait_until(lambda: "2 records of" in "".join(sink.problems()), LIMIT)
            wait_until(lambda: not sink.problems(), LIMIT)
        finally:
            stop.set()
            watching.join(LIMIT)
    assert tables.count(collection) == 3


def test_records_that_kafka_no_longer_has_are_counted_and_said(settings: Settings, tables: Tables) -> None:
    collection = new_collection()
    produce(settings, collection, [encoded(collection, {"n": n}) for n in range(20)])
    admin, topic = AdminClient(client_config(settings)), topic_of(settings, collection)
    for future in admin.delete_records([TopicPartition(topic, 0, 3)]).values():
        future.result(30)
    lost = metrics.offsets_lost.labels("sink")
    before = lost._value.get()
    stop = threading.Event()
    with running_sink(settings) as sink:
        watching = threading.Thread(target=watch_lag, args=(settings, sink, stop, 0.1))
        watching.start()
        try:
            wait_until(lambda: committed(settings, collection) == 20, LIMIT)  # an offset is no record
            wait_until(lambda: lost._value.get() - before == 3, LIMIT)
            wait_until(lambda: metrics.sink_lag_records._value.get() == 0, LIMIT)
        finally:
            stop.set()
            watching.join(LIMIT)
    assert tables.count(collection) == 17
