"""A client with a spool against a real collector: what a killed process did not get rid of arrives, once."""

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

import headwater
from headwater.client.errors import ConnectError
from tests.collecting import Collector, raw_records

SCRIPT = """
import sys, time, headwater
first = int(sys.argv[1])
hw = headwater.connect(spool=sys.argv[2], batch_events=100)
for number in range(first, first + 2_000):
    hw.add_event("ledger", {"n": number})
print(hw.pending, flush=True)
time.sleep(60)
"""


def killed(collector: Collector, spool: Path, first: int) -> int:
    """A process that adds 2,000 events and is killed as soon as all are added; how many were not answered then."""
    own = {
        "HEADWATER_URL": collector.url,
        "HEADWATER_PROJECT_ID": collector.project.id,
        "HEADWATER_WRITE_KEY": collector.project.write_key,
    }
    run = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(first), str(spool)], env=os.environ | own, stdout=subprocess.PIPE, text=True
    )
    with run:
        assert run.stdout
        try:
            pending = int(run.stdout.readline())
            with pytest.raises(ConnectError, match=f"in use by process {run.pid}"):
                headwater.connect(collector.url, collector.project.id, write_key="w", spool=spool)
        finally:
            run.kill()
    return pending


def test_what_killed_processes_added_while_the_collector_was_away_arrives_once(
    collector: Collector, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    during = killed(collector, spool, 0)  # the collector answers some of it
    collector.kill()
    assert killed(collector, spool, 2_000) >= 2_000
    assert during <= 2_000
    collector.start()
    with headwater.connect(
        collector.url, collector.project.id, write_key=collector.project.write_key, spool=spool
    ) as hw:
        hw.add_event("ledger", {"n": 4_000})
        hw.flush(30)
        assert (hw.failed, hw.pending) == (0, 0)
        assert hw.accepted >= 2_001
    events = {
        (record["id"], record["timestamp"], record["properties"])
        for record in raw_records(collector.settings, collector.project.id)
    }  # what was sent twice is the same event
    assert sorted(orjson.loads(properties)["n"] for _, _, properties in events) == list(range(4_001))
    assert [path.name for path in spool.iterdir()] == ["lock"]


async def test_the_client_that_is_awaited_has_one_too(collector: Collector, tmp_path: Path) -> None:
    with headwater.connect("http://127.0.0.1:9", collector.project.id, write_key="w", spool=tmp_path) as hw:
        hw.add_event("visits", {"n": 1}, "2026-05-01", "one")
        hw.close(0.1)
        assert (hw.failed, hw.pending) == (0, 1)
    key = collector.project.write_key
    async with headwater.connect_async(collector.url, collector.project.id, write_key=key, spool=tmp_path) as twin:
        await twin.flush(30)
        assert (twin.accepted, twin.pending) == (1, 0)
    (record,) = raw_records(collector.settings, collector.project.id)
    assert (record["timestamp"], orjson.loads(record["properties"])) == (1777593600000, {"n": 1})
