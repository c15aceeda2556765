"""Whether ClickHouse answers, its version, its clock and its disks."""

from typing import NamedTuple
from urllib.parse import urlsplit

from headwater.doctor.check import Check, failed
from headwater.doctor.machines import Clock, Disk, now
from headwater.query.statements import Limits, Statements, connect

ANSWER_SECONDS = 5.0


class Server(NamedTuple):
    """A ClickHouse that answers."""

    version: str
    clock: Clock
    disks: list[Disk]


def look(url: str) -> Server:
    """Ask ClickHouse. Blocks; raises QueryError."""
    limits = Limits(seconds=ANSWER_SECONDS)
    client = connect(url, limits)
    try:
        statements = Statements(client, limits)
        before = now()
        ((version, instant),) = list(statements.rows("SELECT version(), toUnixTimestamp64Milli(now64(3))", {}))
        after = now()
        found = statements.rows("SELECT name, free_space, total_space FROM system.disks ORDER BY name", {})
        disks = [Disk(f"ClickHouse ({name})", int(free), int(total)) for name, free, total in found]
    finally:
        client.close()
    # Remote disks say that they have no end.
    return Server(
        version, Clock("ClickHouse", instant / 1000, before, after), [one for one in disks if one.total < 1 << 62]
    )


def unreachable(url: str, why: str) -> Check:
    """That it does not answer; without the password that the URL has."""
    parts = urlsplit(url)
    where = f"{parts.hostname}:{parts.port}" if parts.port else f"{parts.hostname}"
    return failed(
        "ClickHouse",
        f"{where} does not answer: {why}",
        "see that it runs there, and user and password in HEADWATER_CLICKHOUSE",
    )
