"""The local stack as a user has it: through the command line, every process real. The stacks are those of each test."""

import os
import signal
import stat
import subprocess
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest

from headwater.local.state import read_state
from headwater.settings import Settings
from tests.backends import clickhouse_answers, kafka_answers
from tests.local_http import HTTP
from tests.system.stacks import Stack, new_stack
from tests.waiting import wait_until

__all__ = ["new_stack"]

pytestmark = pytest.mark.timeout(600)
SERVICES = ["clickhouse", "http", "kafka", "processor-1", "sink"]


def collected(status: dict[str, Any], event: dict[str, Any] | None = None) -> Any:
    """Count the collection `seen`, after sending an event to it if there is one."""
    project = f"{status['url']}/3.0/projects/{status['project_id']}"
    with httpx.Client(timeout=30) as client:
        if event is not None:
            answer = client.post(f"{project}/events/seen", json=event, headers={"Authorization": status["write_key"]})
            assert answer.status_code == 201, answer.text
        answer = client.get(
            f"{project}/queries/count",
            params={"event_collection": "seen", "timeframe": "this_7_days"},
            headers={"Authorization": status["read_key"]},
        )
        return answer.json().get("result")


def test_a_stack_from_its_first_start_to_its_end(new_stack: Callable[[str], Stack]) -> None:
    stack = new_stack('Zoë\'s "stack" \\n 100%d')  # a name that every program between here and there could trip over
    assert "No stack runs" in stack.run("status", "--json", code=1).stderr
    stack.run("up", "--detach")
    first = stack.status()
    assert first["ready"]
    assert sorted(first["services"]) == SERVICES
    assert all(service["ready"] for service in first["services"].values())
    assert first["database"] == f"headwater_{first['project_id']}"
    assert len(first["project_id"]) == 24
    assert {len(first[key]) for key in ("master_key", "write_key", "read_key")} == {64}
    assert HTTP.get(f"{first['url']}/readyz").status_code == 200
    assert HTTP.post(first["clickhouse"], content="SELECT 1").text == "1\n"
    for private in ("deployment.json", "run/state.json"):
        assert stat.S_IMODE((stack.data_dir / private).stat().st_mode) == 0o600
    assert {path.name for path in (stack.data_dir / "logs").iterdir()} >= {"supervisor.log", "http.log", "sink.log"}

    assert "already; nothing was changed" in stack.run("up", "--detach", "--processors", "3").stdout
    assert stack.status()["services"] == first["services"]

    collected(first, {"n": 1})
    wait_until(lambda: collected(first) == 1, 60, every=0.3)
    wait_until(lambda: "seen" in stack.run("status").stdout, 30)

    for names in (set(SERVICES) - {"kafka"}, {"kafka"}):
        for name in names:
            os.kill(first["services"][name]["pid"], signal.SIGKILL)
        wait_until(partial(stack.came_back, names), 120, every=0.2)
    now = stack.status()["services"]
    for name in SERVICES:
        assert now[name]["pid"] != first["services"][name]["pid"]
        assert (now[name]["port"], now[name]["restarts"]) == (first["services"][name]["port"], 1)
    assert collected(first) == 1

    state = read_state(stack.data_dir)
    assert state is not None
    os.kill(state.supervisor_pid, signal.SIGKILL)
    wait_until(lambda: not stack.processes(), 30)
    stack.run("status", "--json", code=1)
    stack.run("up", "--detach", "--processors", "2")
    second = stack.status()
    assert sorted(second["services"]) == sorted([*SERVICES, "processor-2"])
    same = ("url", "project_id", "write_key", "kafka", "clickhouse")
    assert [second[name] for name in same] == [first[name] for name in same]
    assert all(second["services"][name]["port"] == first["services"][name]["port"] for name in SERVICES)
    wait_until(lambda: collected(second) == 1, 60, every=0.3)

    assert "Stopped" in stack.run("down").stdout
    assert stack.processes() == []
    assert list((stack.data_dir / "run").iterdir()) == []
    assert "No stack runs" in stack.run("down").stdout


def test_ctrl_c_while_kafka_is_prepared_leaves_nothing(new_stack: Callable[[str], Stack]) -> None:
    stack = new_stack("stack")
    process = subprocess.Popen(stack.command("up"), stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_until(lambda: stack.runs("kafka.tools.StorageTool"), 60)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    assert stack.processes() == []


def test_with_a_kafka_and_a_clickhouse_of_others(
    new_stack: Callable[[str], Stack], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_TOPIC_PREFIX", settings.topic_prefix)
    stack = new_stack("stack")
    stack.run("up", "--detach", "--kafka", settings.kafka, "--clickhouse", settings.clickhouse)
    status = stack.status()
    assert sorted(status["services"]) == ["http", "processor-1", "sink"]
    assert (status["kafka"], status["clickhouse"]) == (settings.kafka, settings.clickhouse)
    collected(status, {"n": 1})
    wait_until(lambda: collected(status) == 1, 60, every=0.3)
    stack.run("down")
    assert kafka_answers(settings.kafka)
    assert clickhouse_answers(settings.clickhouse)


def test_a_stack_that_cannot_start_says_why_and_leaves_nothing(new_stack: Callable[[str], Stack]) -> None:
    stack = new_stack("stack")
    stack.data_dir.mkdir()
    (stack.data_dir / "clickhouse").write_text("not a folder")
    assert "clickhouse ended 5 times before it was ready" in stack.run("up", "--detach", code=1).stderr
    assert stack.processes() == []
    assert "The last one did not start: clickhouse ended" in stack.run("status", code=1).stderr


@pytest.mark.parametrize("name", ["a,b", "what?"])
def test_a_folder_that_cannot_be_used_is_refused_before_anything_is_written(
    new_stack: Callable[[str], Stack], name: str
) -> None:
    stack = new_stack(name)
    refused = stack.run("up", "--detach", code=1).stderr.splitlines()
    assert len(refused) == 1
    assert refused[0].startswith("The data directory cannot be used: ")
    assert not stack.data_dir.exists()


def test_what_was_given_and_cannot_be_used_is_named(new_stack: Callable[[str], Stack], settings: Settings) -> None:
    address = settings.clickhouse.rpartition("@")[2]
    for url in (f"http://default:sesame@{address}", "http://default:sesame@127.0.0.1:1"):
        stack = new_stack("stack")
        said = stack.run("up", "--detach", "--kafka", settings.kafka, "--clickhouse", url, code=1).stderr
        assert "--clickhouse" in said
        assert "sesame" not in said
        assert stack.processes() == []


def test_a_data_directory_that_is_a_file_is_one_line(new_stack: Callable[[str], Stack]) -> None:
    stack = new_stack("stack")
    stack.data_dir.touch()
    assert "No stack runs" in stack.run("status", code=1).stderr
    assert "No stack runs" in stack.run("down").stdout
    assert len(stack.run("up", code=1).stderr.splitlines()) == 1


def test_a_secret_that_is_too_short_is_refused(
    new_stack: Callable[[str], Stack], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_SECRET", "short")
    failed = new_stack("stack").run("up", "--detach", code=1)
    assert "HEADWATER_SECRET has 5 characters: it must have 32 or more." in failed.stderr


def test_settings_that_are_wrong_are_one_line(
    new_stack: Callable[[str], Stack], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_PROT", "7000")
    failed = new_stack("stack").run("up", code=1)
    monkeypatch.delenv("HEADWATER_PROT")
    assert failed.stdout == ""
    assert failed.stderr.splitlines() == [
        "HEADWATER_PROT is not a setting of Headwater. Known settings are in docs/settings.md."
    ]
