"""The data folder of the embedded engine: whose version it has, and that one server at a time uses it."""

import fcntl
import json
import os
from pathlib import Path
from typing import IO

from headwater.atomic_file import replace_file

LAYOUT = 1
"""The layout of the folder: raised when a change makes older folders unreadable."""

_PATTERN = frozenset("?*{}")


class FolderError(Exception):
    """The folder cannot be used; the message says why and what to do."""


def check_path(folder: Path) -> None:
    """Raises FolderError for a path that the engine cannot work with. Looks at its text only."""
    if found := sorted(_PATTERN.intersection(str(folder))):
        raise FolderError(f"{folder} holds {found[0]!r}, which the engine takes for a pattern; use another folder")


def lock(folder: Path) -> IO[str]:
    """Take the folder for this process until the file returned is closed; the kernel lets go of it when the process dies.

    Raises FolderError while another process has it, and for a path that the engine cannot work with.
    """
    check_path(folder)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = (folder / "lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise FolderError(
            f"{folder} is in use by another embedded engine (pid {holder}); stop that one first"
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def check_version(folder: Path, engine: str) -> None:
    """Check that this engine can read the folder, and write down its version. Call with the lock held, before the engine opens.

    A folder of an older engine is taken over, as ClickHouse does on an upgrade. Raises FolderError for a folder of a newer
    engine or another layout, and for one that holds data but no version.
    """
    path = folder / "version.json"
    if path.exists():
        try:
            found = json.loads(path.read_text())
            layout, version = int(found["layout"]), str(found["engine"])
            newer = _numbers(version) > _numbers(engine)
        except (ValueError, KeyError, TypeError):
            raise FolderError(f"{path} is not readable as the version of a data folder; use another folder") from None
        if layout != LAYOUT:
            raise FolderError(
                f"{folder} has layout {layout}, this Headwater needs {LAYOUT}; use another folder or Headwater"
            )
        if newer:
            raise FolderError(
                f"{folder} was written by engine {version}, newer than this one ({engine}); "
                "install that chdb again or use another folder"
            )
        if version == engine:
            return
    elif (folder / "engine").exists():
        raise FolderError(f"{folder} holds data but no version.json, so its version is unknown; use another folder")
    replace_file(path, json.dumps({"layout": LAYOUT, "engine": engine}).encode() + b"\n")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
