"""Children: groups, ends, logs."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from headwater.local import child as child_module
from headwater.local.child import Child, is_running, wait_gone
from tests.waiting import wait_until

SLEEP = "import time; time.sleep(60)"
# Says what it started, then sleeps, as a server with a worker process of its own does.
WITH_WORKER = (
    f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SLEEP!r}]).pid, flush=True); {SLEEP}"
)
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); {SLEEP}"


def start(code: str, log: Path) -> Child:
    return Child([sys.executable, "-c", code], os.environ, log)


def first_line(log: Path) -> str:
    return wait_until(lambda: log.read_text().partition("\n")[0])


def test_its_output_and_its_exit_code(tmp_path: Path) -> None:
    child = start("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)", tmp_path / "logs" / "c.log")
    assert wait_until(child.exit_code) == 3
    assert sorted((tmp_path / "logs" / "c.log").read_text().split()) == ["err", "out"]


def test_stop_lets_it_end_by_itself(tmp_path: Path) -> None:
    child = start(SLEEP, tmp_path / "c.log")
    assert is_running(child.pid, child.created)
    assert child.stop(10.0)
    assert child.exit_code() == -15
    assert not is_running(child.pid, child.created)


def test_stop_kills_what_does_not_listen(tmp_path: Path) -> None:
    child = start(DEAF, tmp_path / "c.log")
    first_line(tmp_path / "c.log")
    assert not child.stop(0.2)
    assert child.exit_code() == -9


def test_kill_ends_the_whole_group(tmp_path: Path) -> None:
    child = start(WITH_WORKER, tmp_path / "c.log")
    worker = psutil.Process(int(first_line(tmp_path / "c.log")))
    created = worker.create_time()
    os.kill(child.pid, 9)
    wait_until(lambda: child.exit_code() is not None)
    assert is_running(worker.pid, created)
    child.kill()
    assert wait_gone(worker.pid, created, 10.0)


def test_a_reused_process_id_is_another_process(tmp_path: Path) -> None:
    child = start(SLEEP, tmp_path / "c.log")
    assert not is_running(child.pid, child.created - 3600)
    child.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, sys, time; from pathlib import Path; from headwater.local.child import Child\n"
            f"print(Child([sys.executable, '-c', {SLEEP!r}], os.environ, Path({str(tmp_path / 'c.log')!r})).pid, flush=True)\n"
            "time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    with parent.stdout:
        child = psutil.Process(int(parent.stdout.readline()))
    created = child.create_time()
    parent.kill()
    parent.wait()
    assert wait_gone(child.pid, created, 10.0)


def test_a_long_log_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "LOG_MAX_BYTES", 10)
    log = tmp_path / "c.log"
    log.write_text("more than ten bytes\n")
    child = start("print('new')", log)
    wait_until(lambda: child.exit_code() is not None)
    assert log.read_text() == "new\n"
    assert (tmp_path / "c.log.1").read_text() == "more than ten bytes\n"
