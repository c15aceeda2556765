"""The virtual environment of peers that pin older clients than ours: made on first use, from hashed pins, and kept."""

import hashlib
import os
import subprocess
import sys
import venv
from importlib.metadata import distributions
from pathlib import Path

import headwater
from benchmarks.stack import BenchmarkError

LOCK = Path(__file__).parents[1] / "peers.lock"
FOLDER = Path(__file__).parents[2] / ".venv-peers"
VERSIONS = ("bytewax", "confluent-kafka", "quixstreams")


def python() -> Path:
    """The environment's interpreter. Makes the environment, with downloads, where it is not there or has other pins.

    Raises BenchmarkError where it cannot be made.
    """
    interpreter, done = FOLDER / "bin" / "python", FOLDER / "pins"
    pins = wanted()
    if done.exists() and done.read_text() == pins:
        return interpreter
    venv.create(FOLDER, with_pip=True, clear=True)
    command = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    made = subprocess.run(
        [*command, "--require-hashes", "--no-deps", "-r", str(LOCK)],
        env=os.environ | {"PIP_NO_INPUT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise BenchmarkError(f"the environment of the peers ({LOCK.name}) cannot be made: {made.stderr[-2000:]}")
    # Headwater is not installed there, since it wants newer clients; it is on the path, and asks for its own version.
    [packages] = FOLDER.glob("lib/python*/site-packages")
    metadata = packages / f"headwater-{headwater.__version__}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: headwater\nVersion: {headwater.__version__}\n")
    done.write_text(pins)
    return interpreter


def wanted() -> str:
    """What an environment that can be used says of itself."""
    return hashlib.sha256(f"{headwater.__version__} {sys.version} {LOCK.read_text()}".encode()).hexdigest()


def versions() -> dict[str, str]:
    """The versions of the peers, and of the client that they use."""
    paths = [str(path) for path in FOLDER.glob("lib/python*/site-packages")]
    installed = {d.metadata["Name"].lower(): d.version for d in distributions(path=paths)}
    return {f"peers: {name}": installed[name] for name in VERSIONS if name in installed}
