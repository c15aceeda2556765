"""How a client's events go out: by HTTP, from memory or a spool, or straight to Kafka."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headwater.client.bulk import HttpSend
from headwater.client.errors import ConnectError, there
from headwater.client.queue import MemoryQueue, Queue
from headwater.client.spool import Spool
from headwater.client.target import Target
from headwater.client.writer import BatchingWriter, OnError, WhenFull, Writer
from headwater.settings import Settings

Way = Literal["http", "kafka"]

SENDERS = 2
RETRY_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class Producing:
    """The arguments of `connect` about events, which says what each means. Raises ValueError for those that say nothing."""

    transport: Way
    when_full: WhenFull
    on_error: OnError | None
    queue_bytes: int
    batch_events: int
    linger: float
    senders: int | None
    retry_seconds: float
    spool: str | Path | None
    spool_bytes: int
    backfill: bool

    def __post_init__(self) -> None:
        if self.transport not in ("http", "kafka"):
            raise ValueError(f"transport is {self.transport!r}: it is 'http' or 'kafka'")
        if self.spool is not None and self.transport == "kafka":
            raise ValueError(
                f"spool is {str(self.spool)!r}: events go to a spool on their way over HTTP only, not to Kafka"
            )
        if not 1 <= self.batch_events <= 5_000:
            raise ValueError(f"batch_events is {self.batch_events}: a request takes 1 to 5,000 events")
        if self.senders is not None and self.senders < 1:
            raise ValueError(f"senders is {self.senders}: it takes at least one")
        if self.when_full not in ("block", "raise"):
            raise ValueError(f"when_full is {self.when_full!r}: it is 'block' or 'raise'")

    def writer(self, target: Target, settings: Settings) -> Writer | ConnectError:
        """What takes events for a project; the error where something that it needs is not known. Raises ConnectError and OSError where
        the spool cannot be had, and ConnectError where the extra for Kafka is not installed."""
        return self._to_kafka(target, settings) if self.transport == "kafka" else self._over_http(target)

    def _over_http(self, target: Target) -> BatchingWriter | ConnectError:
        spool = self.spool
        threads = self.senders or (SENDERS if spool is None else 1)

        def make_queue() -> Queue:
            if spool is None:
                return MemoryQueue(self.queue_bytes)
            return Spool(Path(spool), str(target.project_id), self.spool_bytes)

        return target.missing("url", "project_id", "write_key") or BatchingWriter(
            lambda: http_send(
                target,
                threads,
                self.retry_seconds if spool is None else math.inf,
                patient=spool is not None,
                backfill=self.backfill,
            ),
            make_queue,
            threads=threads,
            batch_events=self.batch_events,
            linger=self.linger,
            when_full=self.when_full,
            on_error=self.on_error,
        )

    def _to_kafka(self, target: Target, settings: Settings) -> Writer | ConnectError:
        missing = target.missing("kafka", "project_id")
        if missing is not None:
            return missing
        try:
            from headwater.client.kafka import KafkaWriter
        except ImportError as error:
            raise ConnectError(
                f"transport='kafka' needs the extra: pip install 'headwater[kafka]' ({error})."
            ) from error
        return KafkaWriter(
            settings.model_copy(update={"kafka": target.kafka}),
            str(target.project_id),
            retry_seconds=self.retry_seconds,
            queue_bytes=self.queue_bytes,
            when_full=self.when_full,
            on_error=self.on_error,
            backfill=self.backfill,
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
