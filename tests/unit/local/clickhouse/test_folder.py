"""The data folder's lock and version."""

import json
from pathlib import Path

import pytest

from headwater.local.clickhouse import folder


def test_one_process_at_a_time(tmp_path: Path) -> None:
    held = folder.lock(tmp_path)
    with pytest.raises(folder.FolderError, match=r"in use by another embedded engine \(pid \d+\)"):
        folder.lock(tmp_path)
    held.close()
    folder.lock(tmp_path).close()


def test_a_path_that_looks_like_a_pattern_is_refused(tmp_path: Path) -> None:
    with pytest.raises(folder.FolderError, match="takes for a pattern"):
        folder.lock(tmp_path / "what?")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_remembers_the_newest_engine_that_wrote_it(tmp_path: Path) -> None:
    for engine in ("26.9.0", "26.9.0", "26.10.0"):
        folder.check_version(tmp_path, engine)
    assert json.loads((tmp_path / "version.json").read_text()) == {"layout": folder.LAYOUT, "engine": "26.10.0"}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"layout": 1, "engine": "26.10.0"}', "written by engine 26.10.0, newer than this one"),
        ('{"layout": 2, "engine": "26.9.0"}', "has layout 2"),
        ('{"layout": 1}', "not readable"),
        ("", "not readable"),
    ],
)
def test_a_folder_of_another_version_is_refused(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "version.json").write_text(content)
    with pytest.raises(folder.FolderError, match=complaint):
        folder.check_version(tmp_path, "26.9.0")
    assert (tmp_path / "version.json").read_text() == content


def test_data_without_a_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "engine").mkdir()
    with pytest.raises(folder.FolderError, match="unknown"):
        folder.check_version(tmp_path, "26.9.0")
