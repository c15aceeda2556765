"""`headwater.connect()`: where to send and ask, from the arguments, the settings, or the local stack that runs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from headwater.client.async_client import AsyncClient
from headwater.client.bulk import HttpSend
from headwater.client.client import Client, Transport
from headwater.client.context import Context
from headwater.client.errors import ConnectError, there
from headwater.client.http import AsyncHttpTransport, HttpTransport
from headwater.client.queue import MemoryQueue, Queue
from headwater.client.spool import Spool
from headwater.client.writer import BatchingWriter, OnError, WhenFull, Writer
from headwater.local.state import State, read_state
from headwater.settings import PREFIX, Settings, load_settings

QUEUE_BYTES = 64_000_000
BATCH_EVENTS = 1_000
LINGER_SECONDS = 0.1
SENDERS = 2
RETRY_SECONDS = 300.0
SPOOL_BYTES = 1_000_000_000


@dataclass(frozen=True)
class Target:
    """What is known of a deployment and a project; None where it is neither given nor found."""

    url: str | None
    project_id: str | None
    write_key: str | None
    read_key: str | None
    kafka: str | None
    data_dir: Path
    master_key: str | None = None

    def missing(self, *names: str) -> ConnectError | None:
        """The error that says which of these are not known, and how to give them; None when all are."""
        unknown = [name for name in names if getattr(self, name) is None]
        if not unknown:
            return None
        arguments = ", ".join(f"{name}=..." for name in unknown)
        variables = ", ".join(PREFIX + name.upper() for name in unknown)
        return ConnectError(
            f"{' and '.join(unknown)} not known: give connect({arguments}), set {variables}, "
            f"or start a local stack with `headwater up` (none was found in {self.data_dir})."
        )


def connect(
    url: str | None = None,
    project_id: str | None = None,
    *,
    write_key: str | None = None,
    read_key: str | None = None,
    master_key: str | None = None,
    transport: Literal["http", "kafka"] = "http",
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
    on_error: called in a background thread with a FailedEvent for each event that was not accepted.
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
    opens no connection, but starts to send what the spool has.
    """
    if transport not in ("http", "kafka"):
        raise ValueError(f"transport is {transport!r}: it is 'http' or 'kafka'")
    if spool is not None and transport == "kafka":
        raise ValueError(f"spool is {str(spool)!r}: events go to a spool on their way over HTTP only, not to Kafka")
    _check_sending(batch_events, senders, when_full)
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
    writer: Writer | ConnectError
    if transport == "kafka":
        writer = target.missing("kafka", "project_id") or kafka_writer(
            base,
            target,
            retry_seconds=retry_seconds,
            queue_bytes=queue_bytes,
            when_full=when_full,
            on_error=on_error,
            backfill=backfill,
        )
    else:
        writer = http_writer(
            target,
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
    """A client of one project for asyncio, over HTTP, with all methods of `connect`'s.

        async with headwater.connect_async() as hw:
            print((await hw.count("purchases")).value)

    The arguments are as in `connect`, whose `transport="kafka"` and `clickhouse` this has not, and so is what is found where they are not given; `when_full="block"` lets other tasks
    run while `add_event` waits. With a `spool`, this call reads it and `add_event` writes to a file, for some microseconds. Not to be
    awaited itself: it opens no connection. Raises ConnectError as `connect` does.
    """
    _check_sending(batch_events, senders, when_full)
    own = Context(context)
    base = settings or load_settings()
    folder = Path(data_dir) if data_dir is not None else base.data_dir
    keys = write_key or master_key, read_key or master_key
    target = find_target(base, Target(url, project_id, *keys, None, folder, master_key))
    writer = http_writer(
        target,
        when_full="raise",
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
    transport = target.missing("url", "project_id", "read_key") or AsyncHttpTransport(
        str(target.url), str(target.project_id), str(target.read_key)
    )
    master = target.missing("url", "project_id", "master_key") or AsyncHttpTransport(
        str(target.url), str(target.project_id), str(target.master_key)
    )
    if isinstance(writer, ConnectError) and isinstance(transport, ConnectError):
        raise writer
    return AsyncClient(writer, transport, master, wait_for_room=when_full == "block", context=own)


def _check_sending(batch_events: int, senders: int | None, when_full: WhenFull) -> None:
    """Raises ValueError for arguments that say nothing."""
    if not 1 <= batch_events <= 5_000:
        raise ValueError(f"batch_events is {batch_events}: a request takes 1 to 5,000 events")
    if senders is not None and senders < 1:
        raise ValueError(f"senders is {senders}: it takes at least one")
    if when_full not in ("block", "raise"):
        raise ValueError(f"when_full is {when_full!r}: it is 'block' or 'raise'")


def find_target(settings: Settings, given: Target | None = None, *, local: bool = True) -> Target:
    """What `given`, the settings and (where `local`) the stack that runs in the data directory tell. Reads the stack's state."""
    given = given or Target(None, None, None, None, None, settings.data_dir)
    return complete(given, settings, read_state(given.data_dir) if local else None)


def complete(given: Target, settings: Settings, stack: State | None) -> Target:
    """What is given, then the settings, then the local stack's state: each for what those before leave open.

    Pure. The stack serves only where neither argument nor setting gives an address, and its keys only its own project.
    """
    write_key, read_key, master_key = (
        None if key is None else key.get_secret_value()
        for key in (settings.write_key, settings.read_key, settings.master_key)
    )
    target = Target(
        url=given.url or settings.url,
        project_id=given.project_id or settings.project_id,
        write_key=given.write_key or write_key or master_key,
        read_key=given.read_key or read_key or master_key,
        kafka=given.kafka or (settings.kafka if "kafka" in settings.model_fields_set else None),
        data_dir=given.data_dir,
        master_key=given.master_key or master_key,
    )
    if stack is not None and target.url is None and target.kafka is None:
        own = target.project_id in (None, stack.project_id)
        target = replace(
            target,
            url=stack.url,
            kafka=stack.kafka,
            project_id=target.project_id or stack.project_id,
            write_key=target.write_key or (stack.write_key if own else None),
            read_key=target.read_key or (stack.read_key if own else None),
            master_key=target.master_key or (stack.master_key if own else None),
        )
    return replace(target, url=target.url.rstrip("/") if target.url else None)


def http_writer(
    target: Target,
    *,
    when_full: WhenFull,
    on_error: OnError | None,
    queue_bytes: int,
    batch_events: int,
    linger: float,
    senders: int | None,
    retry_seconds: float,
    spool: str | Path | None,
    spool_bytes: int,
    backfill: bool,
) -> BatchingWriter | ConnectError:
    """A writer to a collector; the error where something that it needs is not known. Raises ConnectError and OSError where
    the spool cannot be had."""

    threads = senders or (SENDERS if spool is None else 1)

    def make_queue() -> Queue:
        return MemoryQueue(queue_bytes) if spool is None else Spool(Path(spool), str(target.project_id), spool_bytes)

    return target.missing("url", "project_id", "write_key") or BatchingWriter(
        lambda: http_send(
            target,
            threads,
            retry_seconds if spool is None else math.inf,
            patient=spool is not None,
            backfill=backfill,
        ),
        make_queue,
        threads=threads,
        batch_events=batch_events,
        linger=linger,
        when_full=when_full,
        on_error=on_error,
    )


def http_send(
    target: Target, connections: int, retry_seconds: float = RETRY_SECONDS, *, patient: bool = False, backfill: bool
) -> HttpSend:
    """What sends requests to a collector, of so many threads at once; `patient` as HttpSend has it. Raises ConnectError where something that it needs is not known."""
    there(target.missing("url", "project_id", "write_key"))
    return HttpSend(
        str(target.url),
        str(target.project_id),
        str(target.write_key),
        connections=connections,
        retry_seconds=retry_seconds,
        patient=patient,
        backfill=backfill,
    )


def kafka_writer(
    settings: Settings,
    target: Target,
    *,
    retry_seconds: float,
    queue_bytes: int,
    when_full: WhenFull,
    on_error: OnError | None,
    backfill: bool,
) -> Writer:
    """A writer to Kafka. Raises ConnectError where the extra is not installed."""
    try:
        from headwater.client.kafka import KafkaWriter
    except ImportError as error:
        raise ConnectError(f"transport='kafka' needs the extra: pip install 'headwater[kafka]' ({error}).") from error
    return KafkaWriter(
        settings.model_copy(update={"kafka": target.kafka}),
        str(target.project_id),
        retry_seconds=retry_seconds,
        queue_bytes=queue_bytes,
        when_full=when_full,
        on_error=on_error,
        backfill=backfill,
    )


def clickhouse_transport(url: str, target: Target) -> Transport | ConnectError:
    """A transport that asks ClickHouse itself; the error where the project is not known."""
    missing = target.missing("project_id")
    if missing:
        return missing
    from headwater.query.clickhouse import ClickHouseTransport

    return ClickHouseTransport(url, str(target.project_id))
