"""Times of loaded events, and the checkpoint."""

from pathlib import Path
from typing import Any

import pytest

from headwater.load.checkpoint import Checkpoint, checkpoint_path, read_checkpoint
from headwater.load.loader import as_time


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("2026-01-31", "2026-01-31"),
        (1769860800, "2026-01-31T12:00:00+00:00"),
        (1769860800.25, "2026-01-31T12:00:00.250000+00:00"),
        (1769860800250, "2026-01-31T12:00:00.250000+00:00"),
        (0, "1970-01-01T00:00:00+00:00"),
        (-86400, "1969-12-31T00:00:00+00:00"),
    ],
)
def test_times_are_text_or_seconds_or_milliseconds(value: Any, time: str) -> None:
    assert as_time(value, "when") == time


@pytest.mark.parametrize("value", [None, "", True, [], {}, 1e300, float("nan")])
def test_what_is_no_time_is_named(value: Any) -> None:
    with pytest.raises(ValueError, match="'when'"):
        as_time(value, "when")


def test_a_checkpoint_is_read_back(tmp_path: Path) -> None:
    path = checkpoint_path(tmp_path, "identity", "project", "visits")
    assert read_checkpoint(path, "2026-01-31") == Checkpoint("2026-01-31")
    checkpoint = Checkpoint("2026-01-31", lines=20_000, accepted=19_999, rejected=1)
    checkpoint.save(path)
    assert read_checkpoint(path, "2027-01-01") == checkpoint
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_each_way_of_loading_a_file_has_a_checkpoint_of_its_own(tmp_path: Path) -> None:
    paths = {
        checkpoint_path(tmp_path, *what)
        for what in (("i", "p", "c"), ("j", "p", "c"), ("i", "q", "c"), ("i", "p", "cc"))
    }
    assert len(paths) == 4
