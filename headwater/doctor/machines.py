"""Disks, clocks and versions."""

import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import confluent_kafka

import headwater
from headwater.doctor.check import Check, duration, failed, ok, warning

GIB = 1 << 30
LOW_SHARE, LOW_BYTES = 0.10, 5 * GIB  # of a large disk a tenth is much
FULL_SHARE, FULL_BYTES = 0.02, GIB // 2
APART_SECONDS = 2.0
FAR_APART_SECONDS = 60.0
PACKAGES = ("confluent-kafka", "faust-streaming", "aiokafka", "clickhouse-connect", "fastavro", "granian", "chdb")
LEAST_CLICKHOUSE = (25, 3)  # the JSON type is no experiment from here on


class Disk(NamedTuple):
    """A disk: what is on it, and its bytes."""

    name: str
    free: int
    total: int


class Clock(NamedTuple):
    """A clock that was read between two looks at ours; seconds since 1970."""

    name: str
    read: float
    before: float
    after: float
    precision: float = 0.0

    @property
    def ahead(self) -> float:
        """By how much it is ahead of ours at least; negative where it is behind. 0 where it may be right."""
        earliest, latest = self.read - self.after, self.read + self.precision - self.before
        return earliest if earliest > 0 else min(latest, 0.0)


def data_disk(folder: Path) -> Disk | None:
    """The disk of the data directory; None where there is no such folder here."""
    if not folder.is_dir():
        return None
    usage = shutil.disk_usage(folder)
    return Disk(f"data directory {folder}", usage.free, usage.total)


def judge_disk(disk: Disk) -> Check:
    """Whether there is room."""
    name = f"disk of {disk.name}"
    share = disk.free / disk.total if disk.total else 0.0
    said = f"{disk.free / GIB:,.1f} GiB of {disk.total / GIB:,.1f} GiB free ({share:.0%})"
    if disk.free < FULL_BYTES or (share < FULL_SHARE and disk.free < LOW_BYTES):
        return failed(name, said, "make room now: Kafka and ClickHouse stop when it is full")
    if share < LOW_SHARE and disk.free < LOW_BYTES:
        return warning(name, said, "make room: shorter retention of topics, a larger disk, or old collections deleted")
    return ok(name, said)


def judge_clock(clock: Clock) -> Check:
    """Whether a clock agrees with ours: which events a deletion covers is told by clocks, and windows end by them."""
    name = f"clock of {clock.name}"
    apart = abs(clock.ahead)
    said = (
        f"{duration(apart)} {'ahead of' if clock.ahead > 0 else 'behind'} this machine's"
        if apart
        else "agrees with this machine's"
    )
    if apart > FAR_APART_SECONDS:
        return failed(name, said, "set the clocks by NTP, on both machines")
    if apart > APART_SECONDS:
        return warning(name, said, "set the clocks by NTP, on both machines")
    return ok(name, said)


def here() -> dict[str, str]:
    """The versions of what runs this command."""
    found = {"headwater": headwater.__version__, "python": platform.python_version()}
    found["librdkafka"] = confluent_kafka.libversion()[0]
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def judge_versions(own: Mapping[str, str], services: Mapping[str, tuple[str, str]]) -> list[Check]:
    """The versions here, and whether the services (version and Python of each) are all of one, ours."""
    said = ", ".join(f"{name} {value}" for name, value in own.items())
    found = [ok("versions", said)]
    others = {name: each for name, (each, _) in services.items() if each != own["headwater"]}
    if others:
        told = ", ".join(f"{name} {each}" for name, each in others.items())
        remedy = f"restart them with {own['headwater']}, processors before collectors, or run this command from their version"
        found.append(failed("versions of services", f"{told}; here it is {own['headwater']}", remedy))
    elif services:
        pythons = sorted({python for _, python in services.values()})
        found.append(
            ok("versions of services", f"all {len(services)} run {own['headwater']} on Python {', '.join(pythons)}")
        )
    return found


def judge_clickhouse(told: str) -> Check:
    """Whether ClickHouse's version has what tables need."""
    parts: Sequence[str] = told.split(".")
    if (
        len(parts) >= 2
        and all(part.isdigit() for part in parts[:2])
        and (int(parts[0]), int(parts[1])) < LEAST_CLICKHOUSE
    ):
        least = ".".join(map(str, LEAST_CLICKHOUSE))
        return failed("ClickHouse", f"version {told}: its JSON type is not fit for use", f"install {least} or later")
    return ok("ClickHouse", f"version {told}")


def now() -> float:
    """Our own clock."""
    return time.time()
