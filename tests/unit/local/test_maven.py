"""The cache of verified jars, against a Maven repository on this machine."""

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from jgo.maven import _core

from headwater.local import maven
from headwater.local.maven import Jar, MavenError, fetch, read_lock

CONTENT = {"org.example:one:1.0": b"first jar" * 1000, "org.example:two:2.0": b"second jar" * 1000}
JARS = [Jar(name, hashlib.sha256(data).hexdigest(), len(data)) for name, data in CONTENT.items()]


class Repository(SimpleHTTPRequestHandler):
    """Serves files and notes which were asked for."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's signature
        """Nothing."""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The jars that were asked of a repository on loopback that has them."""
    for jar in JARS:
        group, artifact, version = jar.coordinates.split(":")
        folder = tmp_path / "repository" / group.replace(".", "/") / artifact / version
        folder.mkdir(parents=True)
        (folder / jar.file_name).write_bytes(CONTENT[jar.coordinates])
    handler = type("Handler", (Repository,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(tmp_path / "repository")))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(_core, "DEFAULT_REMOTE_REPOS", {"here": f"http://127.0.0.1:{server.server_port}"})
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield handler.asked
    server.shutdown()
    thread.join()
    server.server_close()


def jars_asked(asked: list[str]) -> list[str]:
    return sorted(path.rpartition("/")[2] for path in asked if path.endswith(".jar"))


def test_jars_are_downloaded_once(tmp_path: Path, asked: list[str]) -> None:
    paths = fetch(JARS, tmp_path / "cache", "Example")
    assert [path.read_bytes() for path in paths] == list(CONTENT.values())
    assert jars_asked(asked) == ["one-1.0.jar", "two-2.0.jar"]
    assert fetch(JARS, tmp_path / "cache", "Example") == paths
    assert len(jars_asked(asked)) == 2
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["one-1.0.jar", "two-2.0.jar"]


def test_a_damaged_jar_is_replaced(tmp_path: Path, asked: list[str]) -> None:
    one, _ = fetch(JARS, tmp_path / "cache", "Example")
    one.write_bytes(b"damaged")
    fetch(JARS, tmp_path / "cache", "Example")
    assert one.read_bytes() == CONTENT["org.example:one:1.0"]
    assert jars_asked(asked) == ["one-1.0.jar", "one-1.0.jar", "two-2.0.jar"]


@pytest.mark.usefixtures("asked")
def test_a_jar_that_is_not_as_recorded_never_reaches_the_cache(tmp_path: Path) -> None:
    forged = Jar("org.example:two:2.0", "0" * 64, 10)
    with pytest.raises(MavenError, match=r"org\.example:two:2\.0 is not what was recorded"):
        fetch([JARS[0], forged], tmp_path / "cache", "Example")
    assert not (tmp_path / "cache" / "two-2.0.jar").exists()


def test_without_a_network_the_message_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, "DEFAULT_REMOTE_REPOS", {"nowhere": "http://127.0.0.1:9"})
    monkeypatch.setattr(maven, "ATTEMPTS", 1)
    with pytest.raises(MavenError, match=r"org\.example:one:1\.0 could not be downloaded.*network"):
        fetch(JARS[:1], tmp_path / "cache", "Example")


def test_several_at_once_download_once(tmp_path: Path, asked: list[str]) -> None:
    threads = [threading.Thread(target=fetch, args=(JARS, tmp_path / "cache", "Example")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert jars_asked(asked) == ["one-1.0.jar", "two-2.0.jar"]


def test_the_lock_of_kafka_is_whole() -> None:
    jars = read_lock(Path(maven.__file__).with_name("kafka.lock"))
    assert "org.apache.kafka:kafka_2.13:4.3.1" in [jar.coordinates for jar in jars]
    assert len({jar.file_name for jar in jars}) == len(jars) == 46


def test_a_broken_line_of_a_lock_is_shown(tmp_path: Path) -> None:
    (tmp_path / "x.lock").write_text("# fine\nabc org.example:one:1.0\n")
    with pytest.raises(MavenError, match=r"x\.lock: .*'abc org"):
        read_lock(tmp_path / "x.lock")
