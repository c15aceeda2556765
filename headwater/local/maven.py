"""Jars from Maven repositories, verified against SHA-256 checksums that this repository records, cached per user.

A lock file names every jar, so nothing is resolved at run time and nothing that the lock does not name is ever loaded.
"""

import fcntl
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
import tenacity
from jgo.maven import MavenContext, PythonResolver
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

DOWNLOADS_AT_ONCE = 8
ATTEMPTS = 3
TIMEOUT_SECONDS = 30
_LINE = re.compile(r"(?P<sha256>[0-9a-f]{64}) +(?P<size>\d+) +(?P<coordinates>[^:\s]+:[^:\s]+:[^:\s]+)")


class MavenError(Exception):
    """Jars could not be had as recorded; the message says which, why and the way out."""


@dataclass(frozen=True)
class Jar:
    """One jar of a lock file."""

    coordinates: str  # group:artifact:version
    sha256: str
    size: int  # bytes

    @property
    def file_name(self) -> str:
        """The jar's name in the cache; artifact and version are unique within a lock."""
        _, artifact, version = self.coordinates.split(":")
        return f"{artifact}-{version}.jar"


def cache_folder() -> Path:
    """Where this user's downloads are kept: under XDG_CACHE_HOME, or ~/.cache where that is not set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headwater"


def read_lock(path: Path) -> tuple[Jar, ...]:
    """The jars of a lock file: lines of SHA-256, bytes and coordinates; lines that start with `#` are comments.

    Raises MavenError for any other line.
    """
    jars = []
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            match = _LINE.fullmatch(line)
            if match is None:
                raise MavenError(f"{path}: not a line of SHA-256, bytes and coordinates: {line!r}")
            jars.append(Jar(match["coordinates"], match["sha256"], int(match["size"])))
    return tuple(jars)


def fetch(jars: Sequence[Jar], folder: Path, title: str) -> list[Path]:
    """The paths of all jars in `folder`, in order, downloaded where missing or damaged, every one verified.

    Blocks; shows a progress bar named `title` on stderr while it downloads. Safe to call from several processes at once:
    one downloads, the others wait for it. Raises MavenError when a jar cannot be downloaded or differs from its record.
    """
    with locked(folder):
        missing = [jar for jar in jars if not _verified(folder / jar.file_name, jar)]
        if missing:
            _download(missing, folder, title)
    return [folder / jar.file_name for jar in jars]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process. The kernel lets go of it when the process ends, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _verified(path: Path, jar: Jar) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
    except FileNotFoundError:
        return False


def _download(jars: Sequence[Jar], folder: Path, title: str) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with (
        Progress(*columns, console=Console(stderr=True)) as progress,
        tempfile.TemporaryDirectory(dir=folder) as incoming,
        ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool,
    ):
        task = progress.add_task(title, total=sum(jar.size for jar in jars))

        def download(jar: Jar) -> None:
            _download_one(jar, folder, Path(incoming), lambda count: progress.advance(task, count))

        downloads = [pool.submit(download, jar) for jar in jars]
        try:
            for done in downloads:
                done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _download_one(jar: Jar, folder: Path, incoming: Path, advance: Callable[[int], object]) -> None:
    """Download to a folder of its own, verify, then move into place: the cache never holds half a jar."""

    @tenacity.retry(
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_exponential_jitter(multiplier=0.5),
        retry=tenacity.retry_if_exception_type((requests.RequestException, RuntimeError)),
        reraise=True,
    )
    def attempt() -> Path:
        counted = 0

        @contextmanager
        def counting(_name: str, _size: int) -> Iterator[Callable[[int], None]]:
            def update(count: int) -> None:
                nonlocal counted
                counted += count
                advance(count)

            yield update

        try:
            return _resolve(jar, Path(tempfile.mkdtemp(dir=incoming)), counting)
        except BaseException:
            advance(-counted)
            raise

    try:
        path = attempt()
    except (requests.RequestException, RuntimeError) as error:  # jgo raises RuntimeError for what no repository has
        raise MavenError(
            f"{jar.coordinates} could not be downloaded ({type(error).__name__}). Is the network up?"
        ) from error
    if not _verified(path, jar):
        raise MavenError(
            f"{jar.coordinates} is not what was recorded: its SHA-256 is not {jar.sha256}. "
            "Nothing of it is used; look for a proxy that changes downloads."
        )
    path.replace(folder / jar.file_name)


def _resolve(
    jar: Jar, repository: Path, progress: Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
) -> Path:
    resolver = PythonResolver(progress_callback=progress)
    context = MavenContext(resolver=resolver, repo_cache=repository, timeout=TIMEOUT_SECONDS)
    return Path(context.create_dependency(jar.coordinates).artifact.resolve())
