"""`headwater up --processors 3` under load: the partitions are spread, one is killed, and the totals are exact."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.local_http import HTTP
from tests.stack import RunningStack, environment
from tests.waiting import wait_until

EVENTS = 80_000
PARTITIONS = 12
PROCESSORS = ("processor-1", "processor-2", "processor-3")
LIMIT = 120.0

pytestmark = pytest.mark.timeout(400)


def metric(service: dict[str, Any], name: str) -> float:
    """A sample of a service's /metrics; 0 where it does not answer."""
    try:
        text = HTTP.get(f"http://127.0.0.1:{service['port']}/metrics", timeout=5).text
    except httpx.HTTPError:
        return 0.0
    return next((float(line.split(" ")[1]) for line in text.splitlines() if line.startswith(name + " ")), 0.0)


def live(status: dict[str, Any]) -> int:
    """The live total of the collection."""
    url = f"{status['url']}/3.0/projects/{status['project_id']}/live"
    collections = HTTP.get(url, headers={"Authorization": status["read_key"]}).json()["collections"]
    events: int = collections.get("spread", {"events": 0})["events"]
    return events


def test_three_processors_share_a_load_and_one_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_bytes(b"".join(b'{"n": %d, "user": {"id": "u%d"}}\n' % (n, n % 1_000) for n in range(EVENTS)))
    stack = RunningStack(tmp_path / "data")
    try:
        stack.run("up", "--detach", "--processors", "3")
        status = json.loads(stack.run("status", "--json").stdout)
        command = stack.command("load", str(file), "--collection", "spread")
        load = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        services = [status["services"][name] for name in PROCESSORS]
        wait_until(lambda: all(metric(one, "headwater_processor_records_total") for one in services), LIMIT)
        owned = [metric(one, "headwater_processor_partitions") for one in services]
        assert sum(owned) == PARTITIONS
        assert min(owned) >= PARTITIONS // len(PROCESSORS) - 1
        os.kill(services[1]["pid"], signal.SIGKILL)
        assert load.wait(LIMIT) == 0

        with stack.client() as hw:
            wait_until(lambda: hw.count("spread").value == EVENTS, LIMIT, 0.2)
        total = json.loads(stack.run("query", "sum", "spread", "--target-property", "n", "--format", "json").stdout)
        assert total == sum(range(EVENTS))
        wait_until(lambda: live(status) == EVENTS, LIMIT, 0.2)
        again = json.loads(stack.run("status", "--json").stdout)
        assert again["services"]["processor-2"]["restarts"] == 1
    finally:
        stack.run("down")
