"""A stack of a test's own beside the shared one."""

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stack import RunningStack
from tests.system.stacks import START_LIMIT, Stack, new_stack
from tests.waiting import wait_until

__all__ = ["new_stack"]

pytestmark = pytest.mark.timeout(600)


def test_two_stacks_side_by_side_and_ctrl_c(
    new_stack: Callable[[str], Stack], stack: RunningStack, tmp_path: Path
) -> None:
    foreground = new_stack("foreground")
    with (tmp_path / "foreground.txt").open("w") as output:
        process = subprocess.Popen(foreground.command("up"), stdout=output, stderr=output, start_new_session=True)
    try:
        wait_until(lambda: "Headwater is ready" in (tmp_path / "foreground.txt").read_text(), START_LIMIT)
        one = foreground.status()
        for name in ("url", "kafka", "clickhouse", "project_id"):
            assert one[name] != stack.status[name]
        process.send_signal(signal.SIGINT)
        assert process.wait(90) == 0
    finally:
        process.kill()
        process.wait()
    assert foreground.processes() == []
    assert json.loads(stack.run("status", "--json").stdout)["ready"]
