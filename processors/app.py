"""The front door of the processors: `run(settings)`.

One Faust worker per process, with one agent of concurrency 1: blocks of a partition are processed in order. More speed
comes from more processes, up to one per partition of the raw topic.
"""

import asyncio
import gc
import os
import signal
import ssl
import threading
import time
from typing import Any

import structlog
from confluent_kafka.admin import AdminClient
from faust.auth import Credentials, SASLCredentials, SSLCredentials

from headwater.codec import codec
from headwater.control import ControlPlane
from headwater.dead_letters.limit import STOPPED_SECONDS, say_limit_reached
from headwater.health import serve_health
from headwater.kafka import client_config, has_topic
from headwater.logs import configure_logs
from headwater.settings import Settings
from headwater.stopping import Deadline, end_undone
from headwater.topics import raw_topic
from processors.backfill import Backfill
from processors.backfill_reader import BackfillReader
from processors.blocks import BlockApp
from processors.enrich import Enricher
from processors.output import Output
from processors.pipeline import Pipeline
from processors.routing import Routes
from processors.table import PromptTables, StateTable
from processors.window import Window
from processors.worker import Worker

CONTROL_SECONDS = 60.0
FAUST_SECONDS = 7.0  # what Faust has to stop
THREADS_SECONDS = 1.0  # and then our threads
GC_THRESHOLD = 100_000  # objects made and not yet gone, between two looks for cycles among them
FETCHED_RECORDS = 8_000  # decoded at a time: the rest waits compressed
REACHED_SECONDS = 1.0  # how long a probe waits for Kafka
CRASHED = 70  # exit code: the supervisor starts us again

log = structlog.get_logger("headwater.processors")


def run(settings: Settings) -> None:
    """Process the raw topic until SIGTERM or SIGINT.

    Blocks. Raises SystemExit with a code other than 0 when the worker crashed; what it was doing is continued by whoever
    gets its partitions. The same where it could not settle all that it had processed when it was told to stop: the process
    then ends with `headwater.stopping.UNDONE`. Raises SettingsError, ControlError, KafkaException when it cannot start.
    """
    configure_logs(settings, "processor")
    signal.signal(signal.SIGTERM, _leave)  # until the worker runs, there is nothing to finish
    (settings.data_dir / settings.worker_name).mkdir(parents=True, exist_ok=True)
    control = ControlPlane(settings)
    control.start(CONTROL_SECONDS)
    try:
        crashed = asyncio.run(_serve(settings, control))
    finally:
        control.stop()
    if crashed:
        raise SystemExit(CRASHED)


def _leave(_number: int, _frame: object) -> None:
    os._exit(0)  # an exception would be lost where the signal comes while Python clears an object away


async def _serve(settings: Settings, control: ControlPlane) -> bool:
    """Run the worker; whether it crashed."""
    app = _faust_app(settings)
    output = Output(settings)
    routes = Routes(settings, control, codec("event").header)
    history, window = BackfillReader(settings), Window(0)
    pipeline = Pipeline(settings, routes, Enricher(settings), output)
    worker = Worker(
        settings,
        app,
        StateTable.declared(app, settings),
        routes,
        pipeline,
        output,
        history,
        window,
    )
    backfill = Backfill(settings, worker, history, window)
    app.owner = worker
    raw = app.topic(app.raw_topic, key_type=bytes, value_type=bytes, value_serializer="raw")

    @app.agent(raw, name="processor")
    async def process(stream: Any) -> None:
        async for event in stream.events():
            await worker.process(event.message.partition, event.message.value)
            await asyncio.sleep(0)

    stopping = asyncio.Event()
    deadline = Deadline(lambda: {"unsettled_offsets": worker.unsettled})
    loop = asyncio.get_running_loop()

    def stop() -> None:
        deadline.begin()
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    health = None
    if settings.health_port is not None:
        admin, topic = AdminClient(client_config(settings)), app.raw_topic

        def unready() -> list[str]:
            kafka = [] if has_topic(admin, topic, REACHED_SECONDS) else [f"Kafka does not answer for topic {topic}"]
            return kafka + worker.problems() + pipeline.limit.problems

        health = serve_health(settings.host, settings.health_port, unready, worker.dead)
    told = loop.create_task(stopping.wait())
    starting = loop.create_task(app.start())
    await asyncio.wait({told, starting}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        if worker.unsettled:
            end_undone(reason="told to stop while starting", unsettled_offsets=worker.unsettled)
        log.info("processor stops", while_starting=True)
        os._exit(0)  # Faust's start cannot be called off
    starting.result()
    # A block is thousands of objects that live for milliseconds and hold no cycles: looking through them, and through all
    # that stays, again and again takes a third of the time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 50)
    crashed = loop.create_task(app.wait_until_stopped())
    watching = loop.create_task(worker.watch())
    work = {watching, *(loop.create_task(each) for each in (worker.settle_forever(), backfill.run()))}
    limited = loop.create_task(worker.limit_reached.wait())
    await asyncio.wait({told, limited, crashed, *work}, return_when=asyncio.FIRST_COMPLETED)
    failed = limited.done() or crashed.done() or any(each.done() for each in work)
    if limited.done():
        say_limit_reached("processor", pipeline.limit.reached)
    else:
        log.error("processor crashed", error=str(app.crash_reason)) if failed else log.info("processor stops")
    for each in work - {watching}:
        each.cancel()
    unsettled = await worker.release()
    stopped = loop.create_task(app.stop())
    done, _ = await asyncio.wait({stopped}, timeout=FAUST_SECONDS)
    if limited.done():  # its partitions are others' by now
        await asyncio.wait({told}, timeout=STOPPED_SECONDS)
    watching.cancel()
    if unsettled and not failed:
        # Threads that wait for Kafka would hold up the end.
        end_undone(reason="Kafka did not take it in time", unsettled_offsets=unsettled)
    worker.close()
    if not done or await _hangs():
        # Faust can hang on its own threads, ours on Kafka; all that counts is settled, and the group learns of us by our silence.
        log.warning("threads did not end in time", faust=not done)
        os._exit(CRASHED if failed else 0)
    output.close()
    if health is not None:
        health.shutdown()
    return failed


async def _hangs() -> bool:
    """Whether a thread of the worker's does not end, which would hold up the end of the process."""
    until = time.monotonic() + THREADS_SECONDS
    while any(thread.name.startswith("processor_") for thread in threading.enumerate()):
        if time.monotonic() > until:
            return True
        await asyncio.sleep(0.02)
    return False


def _faust_app(settings: Settings) -> BlockApp:
    return BlockApp(
        f"{settings.topic_prefix}.processors",
        raw_topic=raw_topic(settings),
        broker=[f"kafka://{server.strip()}" for server in settings.kafka.split(",")],
        broker_credentials=_credentials(settings),
        broker_session_timeout=10.0,
        broker_heartbeat_interval=3.0,
        broker_rebalance_timeout=30.0,
        broker_max_poll_records=FETCHED_RECORDS,
        consumer_auto_offset_reset="earliest",
        datadir=str(settings.data_dir / settings.worker_name),
        store="rocksdb://",
        TableManager=PromptTables,
        recovery_consistency_check=False,  # the table's recovery is ours
        stream_buffer_maxsize=4,  # in blocks
        stream_recovery_delay=0.0,
        stream_wait_empty=False,
        topic_disable_leader=True,
        topic_partitions=settings.raw_partitions,
        topic_replication_factor=settings.replication_factor or 1,
        web_enabled=False,
    )


def _credentials(settings: Settings) -> Credentials | None:
    """Faust's form of how to talk to Kafka."""
    protocol = settings.kafka_security_protocol
    context = None
    if protocol.endswith("SSL"):
        context = ssl.create_default_context(cafile=_path(settings.kafka_ssl_ca_file))
        if settings.kafka_ssl_certificate_file is not None:
            context.load_cert_chain(settings.kafka_ssl_certificate_file, _path(settings.kafka_ssl_key_file))
    if protocol.startswith("SASL"):
        password = settings.kafka_sasl_password
        return SASLCredentials(
            username=settings.kafka_sasl_username,
            password=None if password is None else password.get_secret_value(),
            ssl_context=context,
            mechanism=settings.kafka_sasl_mechanism,
        )
    return None if context is None else SSLCredentials(context)


def _path(path: Any) -> str | None:
    return None if path is None else str(path)
