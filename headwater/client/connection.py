"""`headwater.connect()` and `connect_async()`: clients of one project."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from headwater.client.async_client import AsyncClient
from headwater.client.client import Client, Transport
from headwater.client.context import Context
from headwater.client.errors import ConnectError
from headwater.client.http import AsyncHttpTransport, HttpTransport
from headwater.client.producing import RETRY_SECONDS, Producing, Way
from headwater.client.target import Target, find_target
from headwater.client.writer import OnError, WhenFull
from headwater.settings import Settings, load_settings

QUEUE_BYTES = 64_000_000
BATCH_EVENTS = 1_000
LINGER_SECONDS = 0.1
SPOOL_BYTES = 1_000_000_000


def connect(
    url: str | None = None,
    project_id: str | None = None,
    *,
    write_key: str | None = None,
    read_key: str | None = None,
    master_key: str | None = None,
    transport: Way = "http",
    kafka: str | None = None,
    clickhouse: str | None = None,
    data_dir: str | Path | None = None,
    settings: Settings | None = None,
    context: Mapping[str, Any] | None = None,
    on_error: OnError | None = None,
    when_full: WhenFull = "block",
    queue_bytes: int = QUEUE_BYTES,
    batch_events: int = BATCH_EVENTS,
    linger: float = LINGER_SECONDS,
    senders: int | None = None,
    retry_seconds: float = RETRY_SECONDS,
    spool: str | Path | None = None,
    spool_bytes: int = SPOOL_BYTES,
    backfill: bool = False,
) -> Client:
    """A client of one project.

        hw = headwater.connect()                                                  # the local stack, or HEADWATER_* settings
        hw = headwater.connect("https://events.example.com", project_id, write_key=key)
        hw = headwater.connect(transport="kafka", kafka="broker:9092", project_id=project_id)
        hw = headwater.connect(clickhouse="http://user:password@host:8123", project_id=project_id)

    What is not given comes from the `HEADWATER_*` variables (or `settings`, in their place), and what is not there from the
    local stack that runs in `data_dir`. The master key stands in for a key that is missing.

    `transport="kafka"` writes events straight to Kafka (extra `kafka`); `clickhouse` asks ClickHouse directly, with the
    answers that HTTP gives; what collections there are, and deletions, are asked over HTTP all the same.

    context: properties that every event gets which does not have them itself; objects are merged. `Client.context` adds more
    for a request or a task.
    on_error: called with a FailedEvent for each event that was not accepted: in a background thread, over Kafka also in one that waits in
    `flush` or `close`, or for room.
    when_full: what `add_event` does while `queue_bytes` of events wait: `block` or `raise`.
    batch_events, linger: a request goes out with this many events (at most 5,000), or after this many seconds.
    senders: requests in flight at once, 2 where not given; 1 keeps the order of events, and is what a spool has where not given. For HTTP.
    retry_seconds: how long an event is tried again before it is given up.
    spool: a folder in which events are kept, in place of memory, until they are answered, so that they survive the end of this
    process and a collector that is away, however long: an event that no Headwater answers is not given up (a proxy's page is no answer), and `close` (which waits 10 s
    where it is told no time) leaves it there. The next client with the same folder sends what is left first, with the
    ids and times that it had. An event is safe from the end of the process, by SIGKILL too, when `add_event` returns, and from
    a loss of power a second later. One process at a time; a forked child gets ConnectError from `add_event` while its parent
    lives and needs a client and a folder of its own. For HTTP.
    spool_bytes: how much the spool may take; when it is full the oldest events stay and `when_full` holds for new ones.
    backfill: the events are history: they are processed when no live event waits, so that those stay as fresh as they are.

    Raises ConnectError when there is nothing that this client could do: the message says what is missing. What only some
    calls need (a write key, a read key) those calls miss, by the same error; and where another client has the spool, or it holds
    another project's events. OSError where the spool cannot be read or made. Reads files, the whole spool among them, and settings;
    opens no connection but to Kafka, and starts to send what the spool has.
    """
    producing = Producing(
        transport=transport,
        when_full=when_full,
        on_error=on_error,
        queue_bytes=queue_bytes,
        batch_events=batch_events,
        linger=linger,
        senders=senders,
        retry_seconds=retry_seconds,
        spool=spool,
        spool_bytes=spool_bytes,
        backfill=backfill,
    )
    own = Context(context)
    base = settings or load_settings()
    target = find_target(
        base,
        Target(
            url=url,
            project_id=project_id,
            write_key=write_key or master_key,
            read_key=read_key or master_key,
            kafka=kafka,
            data_dir=Path(data_dir) if data_dir is not None else base.data_dir,
            master_key=master_key,
        ),
        local=clickhouse is None,
    )
    writer = producing.writer(target, base)
    http = target.missing("url", "project_id", "read_key") or HttpTransport(
        str(target.url), str(target.project_id), str(target.read_key)
    )
    master = target.missing("url", "project_id", "master_key") or HttpTransport(
        str(target.url), str(target.project_id), str(target.master_key)
    )
    direct = clickhouse_transport(clickhouse, target) if clickhouse else http
    if isinstance(writer, ConnectError) and isinstance(direct, ConnectError):
        raise writer
    return Client(writer, direct, http, master, context=own)


def connect_async(
    url: str | None = None,
    project_id: str | None = None,
    *,
    write_key: str | None = None,
    read_key: str | None = None,
    master_key: str | None = None,
    transport: Way = "http",
    kafka: str | None = None,
    data_dir: str | Path | None = None,
    settings: Settings | None = None,
    context: Mapping[str, Any] | None = None,
    on_error: OnError | None = None,
    when_full: WhenFull = "block",
    queue_bytes: int = QUEUE_BYTES,
    batch_events: int = BATCH_EVENTS,
    linger: float = LINGER_SECONDS,
    senders: int | None = None,
    retry_seconds: float = RETRY_SECONDS,
    spool: str | Path | None = None,
    spool_bytes: int = SPOOL_BYTES,
    backfill: bool = False,
) -> AsyncClient:
    """A client of one project for asyncio, with all methods of `connect`'s.

        async with headwater.connect_async() as hw:
            print((await hw.count("purchases")).value)

    The arguments are as in `connect`, whose `clickhouse` this has not: questions go over HTTP. `when_full="block"` lets other tasks run while
    `add_event` waits. With a `spool`, this call reads it and `add_event` writes to a file, for some microseconds. Not to be
    awaited itself: it waits for no connection. Raises ConnectError as `connect` does.
    """
    producing = Producing(
        transport=transport,
        when_full=when_full,
        on_error=on_error,
        queue_bytes=queue_bytes,
        batch_events=batch_events,
        linger=linger,
        senders=senders,
        retry_seconds=retry_seconds,
        spool=spool,
        spool_bytes=spool_bytes,
        backfill=backfill,
    )
    own = Context(context)
    base = settings or load_settings()
    folder = Path(data_dir) if data_dir is not None else base.data_dir
    keys = write_key or master_key, read_key or master_key
    target = find_target(base, Target(url, project_id, *keys, kafka, folder, master_key))
    # Not the thread waits for room, but the task.
    writer = replace(producing, when_full="raise").writer(target, base)
    http = target.missing("url", "project_id", "read_key") or AsyncHttpTransport(
        str(target.url), str(target.project_id), str(target.read_key)
    )
    master = target.missing("url", "project_id", "master_key") or AsyncHttpTransport(
        str(target.url), str(target.project_id), str(target.master_key)
    )
    if isinstance(writer, ConnectError) and isinstance(http, ConnectError):
        raise writer
    return AsyncClient(writer, http, master, wait_for_room=when_full == "block", context=own)


def clickhouse_transport(url: str, target: Target) -> Transport | ConnectError:
    """A transport that asks ClickHouse itself; the error where the project is not known."""
    missing = target.missing("project_id")
    if missing:
        return missing
    from headwater.query.clickhouse import ClickHouseTransport

    return ClickHouseTransport(url, str(target.project_id))
