"""Records the answers to the examples: starts a stack of its own in a temporary folder and asks it. Takes half a minute."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from docs.queries.asking import Place, answers, load
from docs.queries.page import ANSWERS
from docs.queries.registry import examples


def record() -> None:
    """Write the answers' file anew."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "headwater.cli"]
        data_dir = ["--data-dir", folder]
        try:
            subprocess.run([*command, "up", "--detach", *data_dir], check=True)  # noqa: S603 - our own
            told = subprocess.run([*command, "status", "--json", *data_dir], check=True, capture_output=True)  # noqa: S603
            status = json.loads(told.stdout)
            keys = {name: status[name] for name in ("url", "project_id", "write_key", "read_key", "master_key")}
            place = Place(**keys, data_dir=Path(folder))
            load(place)
            lines = [f"{json.dumps(name)}: {json.dumps(answer)}" for name, answer in answers(place, examples()).items()]
            ANSWERS.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        finally:
            subprocess.run([*command, "down", *data_dir], check=True)  # noqa: S603
