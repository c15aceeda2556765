"""A file that is replaced is the old or the new one, whole, and whose it is nobody else's."""

import stat
import threading
from pathlib import Path

from headwater.atomic_file import replace_file


def test_whoever_reads_finds_one_of_the_contents_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    contents = {bytes([letter]) * size for letter, size in ((97, 10), (98, 100_000))}
    replace_file(path, min(contents))
    ended = threading.Event()

    def write() -> None:
        for _ in range(50):
            for content in contents:
                replace_file(path, content)
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    found = set()
    while not ended.is_set():
        found.add(path.read_bytes())
    writer.join()
    assert found == contents
    assert list(tmp_path.iterdir()) == [path]


def test_a_private_file_is_private_from_its_first_byte(tmp_path: Path) -> None:
    replace_file(tmp_path / "secret", b"x", 0o600)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
