"""A sink that is killed in the middle of a deletion, and the engine too: the deletion is done all the same."""

import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from headwater.control import ControlWriter, DeletionWriter
from headwater.settings import Settings
from sinks.datums import Collection
from tests.engine import Engine
from tests.querying import event, store, store_many
from tests.sinking import Tables, start_sink
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

PARTS, ROWS = 6, 2_000
START = 1_704_067_200_000
OF_USER = ({"property_name": "user", "operator": "in", "property_value": [0, 1]},)
WANTED = {"events": {"filters": OF_USER}, "property": {"property_name": "user"}, "collection": {}}
LEFT = {"events": PARTS * ROWS * 8 // 10, "property": PARTS * ROWS, "collection": 0}


@pytest.mark.parametrize("what", WANTED)
def test_a_sink_is_killed_in_the_middle_of_a_deletion(settings: Settings, tmp_path: Path, what: str) -> None:
    with ControlWriter(settings) as control:
        collection = Collection(control.create_project("test").id, "events")
        for part in range(PARTS):
            rows = [event({"user": n % 10, "n": n}, START + part * ROWS + n) for n in range(ROWS)]
            store(settings.clickhouse, collection.project_id, collection.name, rows)
        tables = Tables(settings)
        writer = DeletionWriter(settings, control)
        sinks = [start_sink(settings, tmp_path / "sink.log")]
        begun = f"SELECT count() FROM system.mutations WHERE database = 'headwater_{collection.project_id}'"
        keys = f"SELECT count() FROM system.tables WHERE database = 'headwater_{collection.project_id}' AND name LIKE '\\_%'"
        try:
            deletion = writer.delete(collection.project_id, collection.name, **WANTED[what])  # type: ignore[arg-type]  # each has its own
            wait_until(lambda: tables.value(keys) or tables.value(begun), 60, every=0.001)
            sinks[0].send_signal(signal.SIGKILL)
            sinks[0].wait(10)
            sinks.append(start_sink(settings, tmp_path / "sink.log"))

            def done() -> bool:
                newest = writer.plane.deletions.get(deletion.id)
                return newest is not None and newest.done_at is not None

            wait_until(done, 60)
        finally:
            for sink in sinks:
                sink.kill()
                sink.wait(10)
        assert tables.count(collection) == LEFT[what], (tmp_path / "sink.log").read_text()[-3000:]
        found = {n for properties in tables.properties(collection) for n in [properties.get("user")]}
        assert found == {"events": set(range(2, 10)), "property": {None}, "collection": set()}[what]
        assert tables.value(keys) == 0
        tables.close()


MANY = 400_000  # so many that a mutation of them takes long enough to be met
FEW = ({"property_name": "n", "operator": "lt", "property_value": 1_000},)


def test_the_engine_is_killed_in_the_middle_of_a_mutation(
    kafka_settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    settings = kafka_settings.model_copy(update={"clickhouse": engine.url})
    with ControlWriter(settings) as control:
        collection = Collection(control.create_project("test").id, "events")
        where = (engine.url, collection.project_id, collection.name)
        writer = DeletionWriter(settings, control)
        store(*where, [event({"n": MANY, "text": "y"}, START)])
        store_many(*where, START + 1, MANY)
        undone = (
            f"SELECT count() FROM system.mutations WHERE database = 'headwater_{collection.project_id}' AND NOT is_done"
        )
        with_text = "countIf(properties.text.:String IS NOT NULL), sum(properties.n.:Int64)"
        wanted: dict[str, Any]
        for wanted, rows, texts, first in (
            ({"filters": FEW}, MANY + 1 - 1_000, MANY + 1 - 1_000, 1_000),
            ({"property_name": "text"}, MANY + 1 - 1_000, 0, 1_000),
        ):
            sink = start_sink(settings, tmp_path / "sink.log")
            try:
                deletion = writer.delete(collection.project_id, collection.name, **wanted)

                def done(of: str = deletion.id) -> bool:
                    newest = writer.plane.deletions.get(of)
                    return newest is not None and newest.done_at is not None

                with closing(Tables(settings)) as tables:
                    wait_until(lambda: tables.value(undone), 60, every=0.001)
                engine.child.kill()
                assert not done()
                engine.start()
                wait_until(done, 60)
            finally:
                sink.kill()
                sink.wait(10)
            with closing(Tables(settings)) as tables:
                assert tables.count(collection) == tables.count(collection, final=False) == rows
                assert tables.rows(collection, with_text) == [(texts, sum(range(first, MANY + 1)))]
                assert tables.value(undone) == 0
