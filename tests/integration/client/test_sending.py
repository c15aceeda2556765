"""The client against a real collector and a real Kafka: every event ends accepted or reported, each one once."""

import asyncio
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

import headwater
from headwater.client.client import Client
from headwater.client.errors import FailedEvent
from tests.collecting import Collector, environment, raw_records


def client(collector: Collector, **options: Any) -> Client:
    options.setdefault("write_key", collector.project.write_key)
    return headwater.connect(collector.url, collector.project.id, **options)


def test_events_of_several_collections_arrive_as_they_were_given(collector: Collector) -> None:
    when = datetime(2026, 1, 31, 12, 0, 0, 123000, tzinfo=UTC)
    with client(collector, batch_events=400) as hw:
        for number in range(1_000):
            hw.add_event(
                "purchases", {"n": number, "item": "böök", "nested": {"list": [1, 2.5, None]}}, when, f"p-{number}"
            )
        hw.add_events("visits", ({"n": number, "keen": {"uniqueness_token": f"v-{number}"}} for number in range(500)))
        hw.flush(30)
        assert (hw.accepted, hw.failed, hw.pending) == (1_500, 0, 0)
    records = raw_records(collector.settings, collector.project.id)
    purchases = [r for r in records if r["collection"] == "purchases"]
    assert sorted(orjson.loads(r["properties"])["n"] for r in purchases) == list(range(1_000))
    assert {r["timestamp"] for r in purchases} == {1769860800123}
    assert orjson.loads(purchases[0]["properties"])["nested"] == {"list": [1, 2.5, None]}
    visits = [r for r in records if r["collection"] == "visits"]
    assert len({r["id"] for r in visits}) == 500
    assert all(r["timestamp"] is not None for r in visits)


def test_every_event_gets_an_id_and_a_time_of_its_own(collector: Collector) -> None:
    before = datetime.now(UTC).timestamp() * 1000 - 1
    with client(collector) as hw:
        for _ in range(50):
            hw.add_event("visits", {"page": "/"})
    records = raw_records(collector.settings, collector.project.id)
    assert len({r["id"] for r in records}) == 50
    assert all(before <= r["timestamp"] <= datetime.now(UTC).timestamp() * 1000 for r in records)


def test_a_collector_that_is_killed_and_comes_back_gets_every_event_as_the_same_event(collector: Collector) -> None:
    failures: list[FailedEvent] = []
    total = 6_000
    with client(collector, batch_events=100, on_error=failures.append) as hw:
        halfway, down = threading.Event(), threading.Event()

        def add() -> None:
            for number in range(total):
                hw.add_event("ledger", {"n": number})
                if number == total // 2:
                    halfway.set()
                    down.wait(30)

        adding = threading.Thread(target=add)
        adding.start()
        assert halfway.wait(30)
        collector.kill()
        down.set()
        adding.join(30)
        collector.start()
        hw.flush(60)
        assert (hw.accepted, failures) == (total, [])
    records = raw_records(collector.settings, collector.project.id)
    # What was sent twice is the same event: folded by id and time, every number is there once.
    events = {(r["id"], r["timestamp"], r["properties"]) for r in records}
    assert sorted(orjson.loads(properties)["n"] for _, _, properties in events) == list(range(total))


def test_refused_events_are_reported_and_the_others_are_kept(collector: Collector) -> None:
    failures: list[FailedEvent] = []
    with client(collector, on_error=failures.append) as hw:
        hw.add_event("visits", {"fine": 1})
        hw.add_event("visits", {"not.fine": 1}, id="dotted")
        hw.add_event("visits", {"keen": {"timestamp": "yesterday"}}, id="undated")
        hw.flush(30)
        assert (hw.accepted, hw.failed) == (1, 2)
    assert {(f.id, f.name, f.refused) for f in failures} == {
        ("dotted", "InvalidPropertyNameError", True),
        ("undated", "InvalidPropertyValueError", True),
    }
    assert next(f for f in failures if f.id == "dotted").event["not.fine"] == 1
    assert len(raw_records(collector.settings, collector.project.id)) == 1


def test_without_a_callback_a_refusal_is_logged(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    with client(collector) as hw:
        hw.add_event("visits", {"$bad": 1}, id="dollar")
    assert "dollar" in caplog.text
    assert "InvalidPropertyNameError" in caplog.text
    assert hw.failed == 1


def test_a_wrong_key_fails_every_event_without_retrying(collector: Collector) -> None:
    failures: list[FailedEvent] = []
    with client(collector, write_key=collector.project.read_key, on_error=failures.append) as hw:
        hw.add_events("visits", [{"n": 1}, {"n": 2}])
        hw.flush(20)
    assert [f.refused for f in failures] == [False, False]
    assert hw.accepted == 0


def test_an_event_is_the_same_record_over_kafka_as_over_http(collector: Collector) -> None:
    event = {
        "user": {"id": "ann"},
        "when": datetime(2026, 5, 1, tzinfo=UTC),
        "keen": {
            "location": {"coordinates": [1.5, 2]},
            "addons": [{"name": "keen:date_time_parser", "input": {"date_time": "when"}, "output": "parts"}],
        },
    }
    with client(collector) as hw:
        hw.add_event("visits", event, "2026-05-01T10:00:00.250Z", "one")
    options = {"transport": "kafka", "project_id": collector.project.id, "settings": collector.settings}
    failures: list[FailedEvent] = []
    with headwater.connect(**options, on_error=failures.append) as hw:
        hw.add_event("visits", event, "2026-05-01T10:00:00.250Z", "one")
        hw.add_event("visits", {"a.b": 1})
        hw.flush(30)
        assert (hw.accepted, hw.failed, hw.pending) == (1, 1, 0)
    assert [f.name for f in failures] == ["InvalidPropertyNameError"]
    http, kafka = (
        {name: value for name, value in record.items() if name not in ("received_at", "ip", "user_agent")}
        for record in raw_records(collector.settings, collector.project.id)  # one user, so one partition, in order
    )
    assert http == kafka
    assert kafka["timestamp"] == 1777629600250


async def test_the_client_for_asyncio_writes_to_kafka_too_and_lets_others_run_while_its_queue_is_full(
    collector: Collector,
) -> None:
    total, text = 400, "x" * 10_000  # four times what the queue takes
    failures: list[FailedEvent] = []
    told_by: set[int] = set()

    def tell(failure: FailedEvent) -> None:
        failures.append(failure)
        told_by.add(threading.get_ident())

    async with headwater.connect_async(
        project_id=collector.project.id,
        transport="kafka",
        settings=collector.settings,
        queue_bytes=1_000_000,
        on_error=tell,
    ) as hw:
        ran: list[int] = []

        async def other() -> None:
            while True:
                ran.append(hw.pending)
                await asyncio.sleep(0)

        beside = asyncio.create_task(other())
        for number in range(total):
            await hw.add_event("visits", {"n": number, "text": text})
        assert ran  # adding itself lets nobody run: it waited for room
        await hw.add_event("visits", {"a.b": 1})
        await hw.flush(60)
        beside.cancel()
        assert (hw.accepted, hw.failed, hw.pending) == (total, 1, 0)
    assert [f.name for f in failures] == ["InvalidPropertyNameError"]
    assert told_by.isdisjoint({threading.get_ident()})  # a callback may block
    records = raw_records(collector.settings, collector.project.id)
    assert sorted(orjson.loads(r["properties"])["n"] for r in records) == list(range(total))


def test_what_is_unsent_at_exit_is_sent(collector: Collector) -> None:
    script = (
        "import headwater\nhw = headwater.connect(linger=60)\nfor n in range(300): hw.add_event('visits', {'n': n})"
    )
    own = {
        "HEADWATER_URL": collector.url,
        "HEADWATER_PROJECT_ID": collector.project.id,
        "HEADWATER_WRITE_KEY": collector.project.write_key,
    }
    run = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | own, capture_output=True, text=True, timeout=60
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert len(raw_records(collector.settings, collector.project.id)) == 300


def test_a_forked_child_sends_its_own_events_and_not_its_parents(collector: Collector) -> None:
    script = (
        "import os, headwater\n"
        "hw = headwater.connect(linger=60)\n"
        "hw.add_event('visits', {'who': 'parent'})\n"
        "child = os.fork()\n"
        "if not child: hw.add_event('visits', {'who': 'child'}); hw.close(20); os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "hw.close(20)\n"
    )
    own = {
        "HEADWATER_URL": collector.url,
        "HEADWATER_PROJECT_ID": collector.project.id,
        "HEADWATER_WRITE_KEY": collector.project.write_key,
    }
    subprocess.run([sys.executable, "-c", script], env=environment(collector.settings) | own, check=True, timeout=60)
    who = [orjson.loads(r["properties"])["who"] for r in raw_records(collector.settings, collector.project.id)]
    assert sorted(who) == ["child", "parent"]


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_child_of_multiprocessing_sends_what_it_has_before_it_ends(
    collector: Collector, tmp_path: Path, method: str
) -> None:
    """Such a child runs nothing that was told to `atexit`."""
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing, headwater\n"
        "hw = headwater.connect(linger=60)\n"
        "def work(n): hw.add_event('visits', {'who': n})\n"
        "def work_alone(n): headwater.connect(linger=60).add_event('visits', {'who': n})\n"
        "if __name__ == '__main__':\n"
        "    hw.add_event('visits', {'who': 0})\n"
        f"    context = multiprocessing.get_context({method!r})\n"
        "    works = {1: work, 2: work, 3: work_alone}\n"
        "    children = [context.Process(target=each, args=(n,)) for n, each in works.items()]\n"
        "    for child in children: child.start()\n"
        "    for child in children: child.join(60)\n"
        "    assert [child.exitcode for child in children] == [0, 0, 0]\n"
    )
    own = {
        "HEADWATER_URL": collector.url,
        "HEADWATER_PROJECT_ID": collector.project.id,
        "HEADWATER_WRITE_KEY": collector.project.write_key,
    }
    subprocess.run([sys.executable, script], env=environment(collector.settings) | own, check=True, timeout=120)
    who = [orjson.loads(r["properties"])["who"] for r in raw_records(collector.settings, collector.project.id)]
    assert sorted(who) == [0, 1, 2, 3]


async def test_events_are_sent_without_blocking_the_loop(collector: Collector) -> None:
    failures: list[FailedEvent] = []
    async with headwater.connect_async(
        collector.url, collector.project.id, write_key=collector.project.write_key, on_error=failures.append
    ) as hw:
        await hw.add_event("visits", {"n": 0}, datetime(2026, 1, 31, tzinfo=UTC), "first")
        await hw.add_events("visits", ({"n": number} for number in range(1, 1_500)))
        await hw.add_event("visits", {"not.fine": 1}, id="dotted")
        await hw.flush(30)
        assert (hw.accepted, hw.failed) == (1_500, 1)
    assert [failure.id for failure in failures] == ["dotted"]
    records = raw_records(collector.settings, collector.project.id)
    assert sorted(orjson.loads(record["properties"])["n"] for record in records) == list(range(1_500))
    with pytest.raises(RuntimeError, match="closed"):
        await hw.add_event("visits", {"n": 1})
