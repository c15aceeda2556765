"""A processor that is told to stop while it starts."""

import subprocess
import sys

TOLD_WHILE_AN_OBJECT_GOES = """
import os, signal
from processors.app import _leave

class Object:
    def __del__(self):  # what is raised here is printed, and lost
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1_000):
            pass

signal.signal(signal.SIGTERM, _leave)
Object()
raise SystemExit("it goes on")
"""


def test_it_leaves_wherever_the_signal_comes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOLD_WHILE_AN_OBJECT_GOES], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
