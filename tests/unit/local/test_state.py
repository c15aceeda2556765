"""The state of the stack in a data directory, and the hold on it."""

import os
import stat
import sys
import threading
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from headwater.local.child import Child, is_running
from headwater.local.deployment import DeploymentError, load_deployment, save_deployment
from headwater.local.stack import end_left_over, stop_stack, wait_until_started
from headwater.local.state import (
    AlreadyRunningError,
    ServiceState,
    State,
    hold,
    last_state,
    read_state,
    run_folder,
    write_state,
)
from headwater.local.supervisor import StackError

STATE = State(
    supervisor_pid=os.getpid(),
    supervisor_created=psutil.Process().create_time(),
    url="http://127.0.0.1:7000",
    kafka="127.0.0.1:19092",
    clickhouse="http://default:secret@127.0.0.1:18123",
    secret="s" * 64,
    services={"kafka": ServiceState(pid=1, ready=True, restarts=0, port=19092, created=1.5)},
)


def sleeper(tmp_path: Path) -> Child:
    return Child([sys.executable, "-c", "import time; time.sleep(60)"], os.environ, tmp_path / "sleeper.log")


def left_by_a_killed_supervisor(data_dir: Path, child: Child, created: float) -> None:
    service = ServiceState(pid=child.pid, ready=True, restarts=0, port=1, created=created)
    run_folder(data_dir).mkdir(parents=True)
    write_state(data_dir, replace(STATE, supervisor_pid=2**22, services={"sink": service}))


def test_the_state_is_there_while_somebody_holds_the_directory(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    with hold(tmp_path):
        write_state(tmp_path, STATE)
        assert read_state(tmp_path) == STATE
    assert read_state(tmp_path) is None
    assert last_state(tmp_path) == STATE


def test_only_this_user_can_read_it(tmp_path: Path) -> None:
    with hold(tmp_path):
        write_state(tmp_path, STATE)
    assert stat.S_IMODE((run_folder(tmp_path) / "state.json").stat().st_mode) == 0o600


def test_its_text_shows_no_key() -> None:
    assert "ssss" not in repr(replace(STATE, master_key="ssss", read_key="ssss", write_key="ssss"))


def test_two_cannot_hold_one_directory(tmp_path: Path) -> None:
    with hold(tmp_path), pytest.raises(AlreadyRunningError, match=str(tmp_path)), hold(tmp_path):
        pass


def test_readers_do_not_keep_a_supervisor_from_starting(tmp_path: Path) -> None:
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            read_state(tmp_path)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(20):
        with hold(tmp_path):
            write_state(tmp_path, STATE)
    stop.set()
    for reader in readers:
        reader.join()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"url": "x"}', '{"services": {"kafka": {}}}'])
def test_a_state_file_that_is_not_ours_is_no_state(tmp_path: Path, content: str) -> None:
    run_folder(tmp_path).mkdir()
    (run_folder(tmp_path) / "state.json").write_text(content)
    assert last_state(tmp_path) is None
    assert end_left_over(tmp_path) == 0


def test_what_a_killed_supervisor_left_is_ended(tmp_path: Path) -> None:
    child = sleeper(tmp_path)
    left_by_a_killed_supervisor(tmp_path, child, child.created)
    assert stop_stack(tmp_path)
    assert child.exit_code() == -9
    assert last_state(tmp_path) is None


def test_after_a_reset_the_ids_of_others_are_left_alone(tmp_path: Path) -> None:
    child = sleeper(tmp_path)
    left_by_a_killed_supervisor(tmp_path, child, child.created - 3600)
    assert not stop_stack(tmp_path)
    assert is_running(child.pid, child.created)
    child.kill()


def test_a_deployment_keeps_its_secret(tmp_path: Path) -> None:
    made = load_deployment(tmp_path / "data", None)
    assert len(made.secret) == 64
    save_deployment(tmp_path / "data", replace(made, project_id="0" * 24, ports={"http": 7001}))
    assert load_deployment(tmp_path / "data", None) == replace(made, project_id="0" * 24, ports={"http": 7001})
    assert load_deployment(tmp_path / "data", "given").secret == "given"
    assert stat.S_IMODE((tmp_path / "data" / "deployment.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "{}", '{"secret": "x", "unknown": 1}'])
def test_a_broken_deployment_is_never_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / "deployment.json").write_text(content)
    with pytest.raises(DeploymentError, match=r"deployment\.json cannot be read"):
        load_deployment(tmp_path, None)
    assert (tmp_path / "deployment.json").read_text() == content


def test_waiting_ends_when_the_stack_has_been_ready_and_fails_when_it_is_gone(tmp_path: Path) -> None:
    done: list[BaseException | None] = []

    def wait() -> None:
        try:
            wait_until_started(tmp_path)
        except StackError as error:
            done.append(error)
        else:
            done.append(None)

    def waiting() -> threading.Thread:
        thread = threading.Thread(target=wait)
        thread.start()
        return thread

    with hold(tmp_path):
        write_state(tmp_path, replace(STATE, started=False))
        first = waiting()
        first.join(0.3)
        assert not done
        write_state(tmp_path, replace(STATE, started=True))
        first.join(10)
        assert done == [None]
        write_state(tmp_path, replace(STATE, started=False))
        second = waiting()
    second.join(10)
    assert "has ended" in str(done[1])
