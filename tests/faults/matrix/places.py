"""Where a stack runs: what some faults need of the machine, made before it and taken away after it."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.faults.matrix.stack import FaultError, Options

CLOCK = Path(__file__).with_name("clock.c")
DISK = "256m"
CLOCK_BYTES = 8

Leave = Callable[[], None]


def shared(_folder: Path) -> tuple[Options, Leave]:
    """Nothing special."""
    return Options(), lambda: None


def small_disk(folder: Path) -> tuple[Options, Leave]:
    """Kafka's folder is a small disk of its own, a tmpfs. Raises FaultError where none can be mounted."""
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        raise FaultError(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")

    def leave() -> None:
        subprocess.run(["umount", "--lazy", str(disk)], check=False)

    return Options(kafka_folder=disk / "kafka"), leave


def moved_clock(folder: Path) -> tuple[Options, Leave]:
    """Every service has a wall clock that a file moves. Raises FaultError where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise FaultError("there is no C compiler (cc) here, which makes the library that moves the clock")
    library, file = folder / "clock.so", folder / "clock"
    built = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(CLOCK)],
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        raise FaultError(f"{CLOCK.name} cannot be compiled: {built.stderr[-500:]}")
    file.write_bytes(bytes(CLOCK_BYTES))
    return Options(preload=str(library), environment={"MOVED_CLOCK": str(file)}), lambda: None


def move_clock(options: Options, seconds: int) -> None:
    """The clock of all services goes so many seconds ahead of the machine's, at once. Raises FaultError where it cannot."""
    name = options.environment.get("MOVED_CLOCK")
    if name is None:
        raise FaultError("the stack has no clock of its own")
    with Path(name).open("r+b") as file:
        file.write(seconds.to_bytes(CLOCK_BYTES, "little", signed=True))
        file.flush()
        os.fsync(file.fileno())


PLACES: dict[str, Callable[[Path], tuple[Options, Leave]]] = {
    "shared": shared,
    "small disk": small_disk,
    "moved clock": moved_clock,
}
