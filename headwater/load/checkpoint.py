"""How far a file has been loaded: a small file in the data directory, so that an interrupted load goes on where it was."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from headwater.atomic_file import replace_file
from headwater.load.source import FormatError


@dataclass
class Checkpoint:
    """The state of one file's load into one collection.

    Every line up to `lines` is answered. `started_at` (ISO 8601) is the time of events that bring none: fixed when the load
    first starts, so that a line sent again is the same event.
    """

    started_at: str
    lines: int = 0
    accepted: int = 0
    rejected: int = 0
    finished: bool = False

    def save(self, path: Path) -> None:
        """Write it, whole or not at all. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, orjson.dumps(asdict(self)))


def checkpoint_path(data_dir: Path, identity: str, *what: str) -> Path:
    """Where the checkpoint of a load is: one for each file content and each way (project, collection, fields) of loading it."""
    digest = hashlib.sha256("\0".join((identity, *what)).encode()).hexdigest()[:32]
    return data_dir / "loads" / f"{digest}.json"


def read_checkpoint(path: Path, now: str) -> Checkpoint:
    """The checkpoint at `path`, a fresh one that starts `now` where there is none. Raises FormatError for a damaged one."""
    try:
        return Checkpoint(**orjson.loads(path.read_bytes()))
    except FileNotFoundError:
        return Checkpoint(now)
    except (ValueError, TypeError):
        raise FormatError(
            f"{path}, which says how far it was loaded, is damaged; remove that file to load all of it again: "
            "the same events, but those without a time of their own"
        ) from None
