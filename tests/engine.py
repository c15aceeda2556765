"""An embedded ClickHouse that a test may kill and start again."""

import os
import secrets
import sys
from pathlib import Path

from headwater.local.child import Child
from tests.backends import clickhouse_answers
from tests.waiting import wait_until

START_LIMIT = 60.0


class Engine:
    """An engine in `folder`, which runs when this is made."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder, self._port, self._password = folder, port, secrets.token_hex(16)
        self.url = f"http://default:{self._password}@127.0.0.1:{port}"
        self.child = self._launch()

    def start(self) -> None:
        """Start it again after its end."""
        self.child = self._launch()

    def signal(self, number: int) -> None:
        """Send a signal to the engine's process."""
        os.killpg(self.child.pid, number)

    def _launch(self) -> Child:
        arguments = ["--path", str(self._folder / "data"), "--port", str(self._port)]
        command = [sys.executable, "-m", "headwater.local.clickhouse", *arguments]
        environment = os.environ | {"HEADWATER_ENGINE_PASSWORD": self._password}
        child = Child(command, environment, self._folder / "engine.log")
        wait_until(lambda: clickhouse_answers(f"http://127.0.0.1:{self._port}"), START_LIMIT)
        return child
