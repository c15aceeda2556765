"""The examples asked of a stack that runs: its events loaded, and the requests sent as the page has them, by curl."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docs.queries.example import Example, Question, Request
from headwater.settings import PREFIX

EVENTS = Path(__file__).parent
FILES = {"purchases": ("--id-field", "order"), "visits": ("--id-field", "visit")}  # with what loads them
VISIBLE_SECONDS = 60.0


@dataclass
class Place:
    """A project of a local stack. `kept` is what requests keep of their answers."""

    url: str
    project_id: str
    write_key: str
    read_key: str
    master_key: str
    data_dir: Path
    kept: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What the page's lines and the command line find in the environment."""
        names = ("project_id", "write_key", "read_key", "master_key", "data_dir")
        shell = {"P": f"{self.url}/3.0/projects/{self.project_id}", "R": self.read_key, "M": self.master_key}
        own = {PREFIX + name.upper(): str(getattr(self, name)) for name in names}
        plain = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        return plain | shell | self.kept | own


def load(place: Place) -> None:
    """Load the example events as the page says, and wait until they can be asked about."""
    for collection, options in FILES.items():
        file = EVENTS / f"{collection}.ndjson"
        command = [sys.executable, "-m", "headwater.cli", "load", str(file), "--collection", collection, *options]
        subprocess.run(command, env=place.environment, check=True, capture_output=True)  # noqa: S603 - our own
        expected = len({*file.read_text().splitlines()})
        deadline = time.monotonic() + VISIBLE_SECONDS
        while by_curl(Question("", "", "count", {"event_collection": collection}), place) != expected:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{expected} {collection} were sent, and are not in answers.")
            time.sleep(0.2)


def by_curl(example: Example, place: Place) -> Any:
    """The answer to the example's curl line, in the form in which it is recorded."""
    line = f"{example.curl()} -sS -w '\n%{{http_code}}'"
    done = subprocess.run(  # noqa: S602 - a line of the page, which is a shell's
        line, shell=True, env=place.environment, check=True, capture_output=True, text=True
    )
    text, _, status = done.stdout.rpartition("\n")
    if isinstance(example, Question):
        if status != "200":
            raise ValueError(f"{example.name}: {status} {text}")
        answer = json.loads(text)
        return answer if example.analysis == "funnel" else answer["result"]
    return _recorded(example, int(status), text, place)


def _recorded(request: Request, status: int, text: str, place: Place) -> dict[str, Any]:
    """Of an answer what is the same each time, and the names of the rest."""
    if not text or not text.startswith("{"):
        return {"status": status, "text": text.replace("\r\n", "\n")}
    answer = json.loads(text.replace(place.project_id, "PROJECT_ID"))
    if not {*request.shows} <= answer.keys():
        raise ValueError(f"{request.name}: {status} {text}")
    if request.keeps:
        place.kept["K"] = answer[request.keeps]
    return {
        "status": status,
        "shown": {name: answer[name] for name in request.shows},
        "more": [name for name in answer if name not in request.shows],
    }


def answers(place: Place, examples: Iterator[Example]) -> dict[str, Any]:
    """The recorded form of every answer, by the examples' names."""
    return {example.name: by_curl(example, place) for example in examples}
