"""Small files that are replaced in one step and outlive the machine: whoever reads one finds the old or the new content, whole."""

import os
from pathlib import Path


def replace_file(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write the file, in a folder that there is. Blocks until the disk has it; raises OSError.

    Two at once may each find the other's content in its place, but never half of one.
    """
    fresh = path.with_name(f"{path.name}.new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # its new entry
        finally:
            os.close(folder)
