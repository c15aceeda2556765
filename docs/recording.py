"""Records the answers that pages show: starts a stack of its own in a temporary folder and asks it. Takes half a minute."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import headwater
from docs.models import asking as models
from docs.models.page import RECORDED
from docs.queries import asking as queries
from docs.queries.page import ANSWERS
from docs.queries.registry import examples


def record() -> None:
    """Write the files with recorded answers anew."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "headwater.cli"]
        data_dir = ["--data-dir", folder]

        def told(*words: str) -> dict[str, Any]:
            done = subprocess.run([*command, *words, "--json", *data_dir], check=True, capture_output=True)  # noqa: S603 - our own
            answer: dict[str, Any] = json.loads(done.stdout)
            return answer

        try:
            subprocess.run([*command, "up", "--detach", *data_dir], check=True)  # noqa: S603 - our own
            status = told("status")
            keys = {name: status[name] for name in ("url", "project_id", "write_key", "read_key", "master_key")}
            place = queries.Place(**keys, data_dir=Path(folder))
            queries.load(place)
            ANSWERS.write_text("{\n" + _lines(queries.answers(place, examples())) + "\n}\n")

            project = told("project", "create", "models")
            with headwater.connect(place.url, project["id"], read_key=project["read_key"]) as hw:
                models.load(place.url, hw, project["id"], project["write_key"])
                parts = [f"{json.dumps(name)}: {{\n{_lines(part)}\n}}" for name, part in models.recorded(hw).items()]
            RECORDED.write_text("{\n" + ",\n".join(parts) + "\n}\n")
        finally:
            subprocess.run([*command, "down", *data_dir], check=True)  # noqa: S603 - our own


def _lines(members: Mapping[str, Any]) -> str:
    return ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in members.items())
