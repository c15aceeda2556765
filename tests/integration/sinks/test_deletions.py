"""Deletions: rows go, come back by no way, and what comes later stays. Against the real Kafka and engine."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from confluent_kafka import Consumer, TopicPartition
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from headwater import metrics
from headwater.control import Deletion, DeletionWriter
from headwater.kafka import sink_group
from headwater.settings import Settings
from headwater.topics import collections_pattern
from sinks.consumer import consumer_config
from sinks.datums import Collection
from sinks.deletions import Table
from sinks.store import Store
from tests.sinking import (
    Tables,
    committed,
    create_collections,
    deletion_writer,
    encoded,
    new_collection,
    new_store,
    produce,
    read,
    running_sink,
    topic_of,
)
from tests.waiting import wait_until

LATER = 3_600_000
MIX: list[dict[str, Any]] = [{"n": n, "user": {"id": n % 3, "name": f"u{n % 3}"}} for n in range(9)]
OF_USER_1 = ({"property_name": "user.id", "operator": "eq", "property_value": 1},)


@pytest.fixture
def writer(settings: Settings) -> Iterator[DeletionWriter]:
    with deletion_writer(settings) as writer:
        yield writer


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with new_store(settings) as store:
        yield store


@pytest.fixture
def collection(settings: Settings) -> Collection:
    collection = new_collection()
    create_collections(settings, collection)
    return collection


def delete(writer: DeletionWriter, collection: Collection, **wanted: Any) -> Deletion:
    return writer.delete(collection.project_id, collection.name, **wanted)


def wait_done(writer: DeletionWriter, deletion: Deletion) -> None:
    def done() -> bool:
        newest = writer.plane.deletions.get(deletion.id)
        return newest is not None and newest.done_at is not None

    wait_until(done)


def rewind(settings: Settings, *collections: Collection) -> None:
    """The sink's group starts the collections' topics again; no sink may run."""
    consumer = Consumer(
        consumer_config(settings) | {"group.id": sink_group(settings)}
    )  # the sink's own name: its group waits for that one to come back
    consumer.subscribe([collections_pattern(settings.topic_prefix)])
    wait_until(lambda: consumer.poll(0.1) is None and consumer.assignment())
    topics = [topic_of(settings, collection) for collection in collections]
    places = [TopicPartition(topic, n, 0) for topic in topics for n in range(settings.collection_partitions)]
    consumer.commit(offsets=places, asynchronous=False)
    consumer.close()


def numbers(tables: Tables, collection: Collection) -> list[int]:
    return sorted(properties["n"] for properties in tables.properties(collection))


def test_what_is_deleted_stays_deleted_when_all_is_read_again(
    settings: Settings, tables: Tables, writer: DeletionWriter, collection: Collection
) -> None:
    other = Collection(collection.project_id, "other")
    create_collections(settings, other)
    produce(settings, collection, [encoded(collection, one) for one in MIX])
    produce(settings, other, [encoded(other, one) for one in MIX])
    with running_sink(settings):
        wait_until(lambda: tables.count(collection) == tables.count(other) == len(MIX))
        for wanted in ({"filters": OF_USER_1}, {"property_name": "user.name"}):
            wait_done(writer, delete(writer, collection, **wanted))
        wait_done(writer, delete(writer, other))
        left = [one for one in MIX if one["user"]["id"] != 1]
        assert numbers(tables, collection) == [one["n"] for one in left]
        assert all(properties["user"].keys() == {"id"} for properties in tables.properties(collection))
        assert tables.count(other, final=False) == 0
        produce(settings, collection, [encoded(collection, {"n": 100, "user": {"id": 1, "name": "new"}})])
        produce(settings, other, [encoded(other, {"n": 100})])
        wait_until(lambda: tables.count(collection) == len(left) + 1 and tables.count(other) == 1)
    rewind(settings, collection, other)
    with running_sink(settings):
        wait_until(lambda: committed(settings, collection) == committed(settings, other) == len(MIX) + 1)
    assert numbers(tables, collection) == [*(one["n"] for one in left), 100]
    names = [properties["user"].get("name") for properties in tables.properties(collection)]
    assert sorted(names, key=str) == [None] * len(left) + ["new"]
    assert tables.properties(other) == [{"n": 100}]
    assert tables.value(f"SELECT count() FROM system.tables WHERE database = 'headwater_{collection.project_id}'") == 2


def test_a_rewritten_event_stays_deleted(
    settings: Settings, tables: Tables, writer: DeletionWriter, collection: Collection
) -> None:
    """A processor that was killed puts events out again: received before the deletion, processed after it."""
    before = int(time.time() * 1000)
    with running_sink(settings):
        wait_done(writer, delete(writer, collection))
        after = int(time.time() * 1000) + LATER
        again = encoded(collection, {"n": 1}, received_at=before, processed_at=after)
        dated_ahead = encoded(collection, {"n": 2}, received_at=after, processed_at=before)
        later = encoded(collection, {"n": 3}, received_at=after, processed_at=after)
        produce(settings, collection, [again, dated_ahead, later])
        wait_until(lambda: committed(settings, collection) == 3)
    assert numbers(tables, collection) == [3]


def test_older_copies_of_an_event_go_with_it_and_newer_ones_stay(
    settings: Settings, tables: Tables, writer: DeletionWriter, collection: Collection
) -> None:
    now = int(time.time() * 1000)
    ids = [f"00000000-0000-4000-8000-00000000000{n}" for n in range(3)]

    def copy(n: int, user: int, processed_at: int) -> bytes:
        fixed: dict[str, Any] = {"id": ids[n], "timestamp": now, "received_at": processed_at}
        return encoded(collection, {"n": n, "user": {"id": user}}, processed_at=processed_at, **fixed)

    first = [copy(n, user, now - 2000) for n, user in enumerate([0, 1, 1])]
    second = [copy(0, 1, now - 1000), copy(1, 0, now - 1000), copy(2, 1, now + LATER)]
    for values in (first, second):  # parts of their own
        with running_sink(settings):
            count = committed(settings, collection)
            produce(settings, collection, values)
            wait_until(lambda count=count: committed(settings, collection) == count + 3)  # type: ignore[misc]  # a default
    with running_sink(settings):
        wait_done(writer, delete(writer, collection, filters=OF_USER_1))
    assert numbers(tables, collection) == [1, 2], "0 was of user 1 last, 1 was not, and 2 came after the deletion"


def test_a_deletion_that_comes_while_rows_are_on_their_way(
    settings: Settings, tables: Tables, writer: DeletionWriter, collection: Collection
) -> None:
    """A sink inserts what it read before it knew of a deletion, which has looked for rows already: it asks for it again."""
    produce(settings, collection, [encoded(collection, one) for one in MIX])
    records = read(settings, collection, len(MIX))
    with new_store(settings) as store:
        store.store(topic_of(settings, collection), records[:1])
        assert store.confirm()
        deletion = delete(writer, collection, filters=OF_USER_1)
        assert writer.done(deletion)
        store._deletions.of = lambda _: ()  # type: ignore[method-assign, assignment]  # what it knew when it began
        store.store(topic_of(settings, collection), records)
        assert store.confirm()
    writer.plane.catch_up()
    asked = writer.plane.deletions.get(deletion.id)
    assert asked is not None
    assert (asked.asked, asked.done_at) == (2, None)
    assert not writer.done(deletion), "it was asked for again since"
    with running_sink(settings):
        wait_done(writer, deletion)
    assert numbers(tables, collection) == [one["n"] for one in MIX if one["user"]["id"] != 1]


def test_a_sink_that_ended_before_it_confirmed(
    settings: Settings, tables: Tables, writer: DeletionWriter, collection: Collection
) -> None:
    produce(settings, collection, [encoded(collection, one) for one in MIX])
    records = read(settings, collection, len(MIX))
    with new_store(settings) as store:
        store.store(topic_of(settings, collection), records)  # and it is killed
    deletion = delete(writer, collection, property_name="user")
    assert writer.done(deletion)
    with running_sink(settings):
        wait_until(lambda: committed(settings, collection) == len(MIX))
        writer.plane.catch_up()
        wait_done(writer, deletion)
    assert tables.count(collection) == len(MIX)
    assert all(one.keys() == {"n"} for one in tables.properties(collection))


def test_nothing_is_confirmed_while_the_engine_cannot_be_asked(
    settings: Settings, writer: DeletionWriter, collection: Collection
) -> None:
    produce(settings, collection, [encoded(collection, one) for one in MIX])
    with new_store(settings) as store:
        store.store(topic_of(settings, collection), read(settings, collection, len(MIX)))
        delete(writer, collection)
        away = settings.model_copy(update={"clickhouse": "http://default@127.0.0.1:1"})
        with new_store(away) as elsewhere:
            elsewhere._deletions._stored = store._deletions._stored
            assert not elsewhere.confirm()
        assert store.confirm()


def test_one_sink_does_deletions_and_another_when_it_is_gone(
    settings: Settings, tables: Tables, writer: DeletionWriter, collection: Collection
) -> None:
    produce(settings, collection, [encoded(collection, one) for one in MIX])
    elsewhere = settings.model_copy(update={"worker_name": "other"})
    with running_sink(elsewhere) as other, running_sink(settings) as sink:
        wait_until(lambda: tables.count(collection) == len(MIX) and other.leads != sink.leads)
        wait_done(writer, delete(writer, collection, filters=OF_USER_1))
        assert tables.count(collection) == 6
    with running_sink(settings) as sink:  # the other's name stays in the group until its session is over
        deletion = delete(writer, collection)
        wait_done(writer, deletion)
        wait_until(lambda: sink.leads)  # not while the group does without the other
    assert tables.count(collection) == 0


def test_a_deletion_that_meets_a_fault_holds_up_no_other(
    settings: Settings, tables: Tables, writer: DeletionWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, fine = new_collection(), new_collection()
    for one in (broken, fine):
        produce(settings, one, [encoded(one, {"n": 1})])
    delete_rows = Table.delete

    def with_a_fault(table: Table, stop: threading.Event) -> bool:
        if faulty and table._deletion.project_id == broken.project_id:
            raise RuntimeError("a fault of ours")
        return delete_rows(table, stop)

    faulty = True
    monkeypatch.setattr(Table, "delete", with_a_fault)
    with running_sink(settings):
        wait_until(lambda: tables.count(broken) == tables.count(fine) == 1)
        first = delete(writer, broken)
        wait_done(writer, delete(writer, fine))
        assert tables.count(broken) == 1
        faulty = False
        wait_done(writer, first)
        assert tables.count(broken) == 0


def test_a_table_that_the_engine_cannot_change_holds_up_no_other(
    settings: Settings, tables: Tables, writer: DeletionWriter, collection: Collection
) -> None:
    other = Collection(collection.project_id, "other")
    create_collections(settings, other)
    name = f"headwater_{collection.project_id}.{collection.name}"
    with running_sink(settings):
        for each in (collection, other):
            produce(settings, each, [encoded(each, {"n": 1})])
            wait_until(lambda each=each: tables.count(each) == 1)
        with pytest.raises(DatabaseError):  # and yet it is tried again and again
            tables.command(f"ALTER TABLE {name} DELETE WHERE throwIf(cityHash64(id) >= 0) = 1")
        stuck = delete(writer, collection)
        wait_done(writer, delete(writer, other))
        assert tables.count(other) == 0
        assert stuck in writer.plane.deletions.pending()
        assert waits() > 0
        tables.command(
            f"KILL MUTATION WHERE database = 'headwater_{collection.project_id}' AND table = '{collection.name}'"
        )
        wait_done(writer, stuck)
        assert tables.count(collection) == 0
        wait_until(lambda: waits() == 0)


def waits() -> float | None:
    """For how long the sink says that the oldest deletion waits."""
    return metrics.registry.get_sample_value("headwater_sink_deletion_wait_seconds")


def test_hostile_names(settings: Settings, tables: Tables, writer: DeletionWriter) -> None:
    collection = new_collection("a `b\\' c")
    name = "we`ir\\d 'n😀 {p0:String} )"
    produce(settings, collection, [encoded(collection, {"n": 1, name: {"x": 1}, "kept": [1, "a"]})])
    with running_sink(settings):
        wait_until(lambda: tables.count(collection) == 1)
        wait_done(writer, delete(writer, collection, property_name=name))
        assert tables.properties(collection) == [{"n": 1, "kept": [1, "a"]}]
        filters = ({"property_name": "kept", "operator": "contains", "property_value": "a"},)
        wait_done(writer, delete(writer, collection, filters=filters))
        assert tables.count(collection) == 0


STEPS = st.lists(
    st.sampled_from(["insert", "collection", "property", "user", "span", "replay"]), min_size=1, max_size=7
)


# Each example has a collection of its own.
@hypothesis_settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_any_order_of_events_deletions_and_replays(
    settings: Settings, tables: Tables, writer: DeletionWriter, store: Store, steps: list[str]
) -> None:
    """A model: a dictionary of events to which each step is done at once."""
    collection = new_collection()
    model: dict[str, dict[str, Any]] = {}
    written: list[bytes] = []
    span = {"start": "2024-01-01T00:00:00.000Z", "end": "2024-01-01T00:00:00.005Z"}
    wanted: dict[str, dict[str, Any]] = {
        "collection": {},
        "property": {"property_name": "user.name"},
        "user": {"filters": OF_USER_1},
        "span": {"timeframe": span},
    }
    create_collections(settings, collection)
    topic = topic_of(settings, collection)
    for number, step in enumerate(steps):
        if step == "insert":
            now = int(time.time() * 1000)
            for n, one in enumerate(MIX):
                event_id = f"00000000-0000-4000-8000-{number:06}{n:06}"
                at = {"timestamp": 1_704_067_200_000 + n, "received_at": now, "processed_at": now}
                written.append(encoded(collection, one, id=event_id, **at))
                model[event_id] = {**one, "user": dict(one["user"])}
            produce(settings, collection, written[-len(MIX) :])
            store.store(topic, read(settings, collection, len(written)))
        elif step == "replay":
            if written:
                store.store(topic, read(settings, collection, len(written)))
        else:
            deletion = delete(writer, collection, **wanted[step])
            Table(store._clickhouse, deletion).delete(threading.Event())
            store._deletions._plane.catch_up()
            gone: Callable[[dict[str, Any]], bool] = {
                "collection": lambda one: True,
                "property": lambda one: False,
                "user": lambda one: one["user"]["id"] == 1,
                "span": lambda one: one["n"] < 5,
            }[step]
            model = {key: one for key, one in model.items() if not gone(one)}
            if step == "property":
                for one in model.values():
                    one["user"].pop("name", None)
            time.sleep(0.002)  # the clock moves on: an event of the same millisecond is covered
    assert store.confirm()
    assert sorted(tables.properties(collection), key=str) == sorted(model.values(), key=str)
