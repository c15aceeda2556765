"""Clients from npm in Node: installed once, as tests/compat/node/package-lock.json pins them, and driven by JSON."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DRIVERS = Path(__file__).parent / "compat" / "node"
PINNED = ("package.json", "package-lock.json")
CALLS_LIMIT = 60.0
INSTALL_LIMIT = 240.0


@dataclass(frozen=True)
class Node:
    """The program `node`, and the folder that has the clients in node_modules."""

    program: str
    folder: Path

    def run(self, driver: str, given: dict[str, Any], timezone: str = "UTC") -> Any:
        """What `driver` prints for `given`, on a machine that lives in `timezone`. Fails the test where it breaks."""
        done = subprocess.run(
            [self.program, DRIVERS / f"{driver}.mjs", self.folder],
            input=json.dumps(given),
            env=os.environ | {"TZ": timezone},
            capture_output=True,
            text=True,
            timeout=CALLS_LIMIT,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)


def installed(program: str, cache: Path) -> Node:
    """Node with the clients, which npm fetches and checks by their hashes where `cache` does not have them yet."""
    pinned = b"".join((DRIVERS / name).read_bytes() for name in PINNED)
    folder = cache / hashlib.sha256(pinned).hexdigest()[:16]
    if not folder.exists():
        npm = shutil.which("npm")
        assert npm, "node is there, but not npm, which installs Keen's clients"
        making = Path(tempfile.mkdtemp(dir=cache))
        for name in PINNED:
            shutil.copy(DRIVERS / name, making)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=making, capture_output=True, text=True, timeout=INSTALL_LIMIT, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        try:
            making.rename(folder)
        except OSError:
            assert folder.exists()  # another process of the tests was first
            shutil.rmtree(making)
    return Node(program, folder)
