"""The sink's front door."""

import ctypes
import logging
import signal
import sys
import threading

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from headwater.control import ControlPlane, ControlWriter, DeletionWriter
from headwater.dead_letters.limit import STOPPED_SECONDS, LimitReachedError, say_limit_reached
from headwater.health import serve_health
from headwater.kafka import client_config, has_topic, wait_for_base_topics
from headwater.logs import configure_logs
from headwater.membership import StrandedError
from headwater.settings import Settings
from headwater.stopping import Deadline, end_stranded, end_undone
from headwater.topics import dead_letters_topic
from sinks.clickhouse import ClickHouse
from sinks.consumer import Sink, was_fenced
from sinks.deletions import Deleter, DeletionKeeper
from sinks.lag import watch_lag
from sinks.store import Store

log = structlog.get_logger("headwater.sink")

M_MMAP_THRESHOLD = -3  # glibc's malloc.h
LARGE_BYTES = 512 * 1024
KAFKA_SECONDS = 1.0
FENCED_HINT = "another sink has this HEADWATER_WORKER_NAME, and each needs its own"


def run(settings: Settings) -> None:
    """Run a sink until SIGTERM or SIGINT; then it stores and commits what it can in a few seconds, and this returns.

    Where something is left, the process ends with `headwater.stopping.UNDONE` and a line that says what; it is read again. To be called in the main thread. Raises SettingsError without a secret. Exits with 1, and a line in the log, when Kafka
    tells this member to go, or it has lost its group while others find it. Where Kafka is away it waits, not ready.
    """
    settings.required_secret()
    configure_logs(settings, "sink")
    logging.getLogger("clickhouse_connect").setLevel(logging.ERROR)  # each try to reach a server that is away is a line
    _give_back_large_blocks()
    stop = threading.Event()
    left: dict[str, object] = {}
    deadline = Deadline(left.copy)

    def tell(*_: object) -> None:
        deadline.begin()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, tell)
    clickhouse = ClickHouse(settings.clickhouse)
    try:
        _serve(settings, clickhouse, stop, left)
    except KafkaException as error:
        reason: KafkaError = error.args[0]
        log.error("sink.ended_by_kafka", error=reason.str(), **({"hint": FENCED_HINT} if was_fenced(reason) else {}))
        raise SystemExit(1) from None
    finally:
        clickhouse.close()


def _serve(settings: Settings, clickhouse: ClickHouse, stop: threading.Event, left: dict[str, object]) -> None:
    """Work until `stop` is set; `left` then says what is not done, for as long as that is so."""
    plane = ControlPlane(settings)
    writer = DeletionWriter(settings, ControlWriter(settings, plane=plane))
    store = Store(settings, clickhouse, DeletionKeeper(writer, clickhouse))
    sink = Sink(settings, store)
    deleter = Deleter(writer, clickhouse, lambda: sink.leads)
    admin = AdminClient(client_config(settings))

    def unready() -> list[str]:
        """What keeps events from flowing: from one that is a member of the group, between two neighbours that answer."""
        topic = dead_letters_topic(settings)
        found = [*plane.problems(), *sink.problems(), *store.limit.problems]
        if not has_topic(admin, topic, KAFKA_SECONDS):
            found.append(f"Kafka does not answer for topic {topic}")
        if not clickhouse.answers():
            found.append("ClickHouse does not answer")
        return found

    health = None
    if settings.health_port is not None:
        health = serve_health(settings.host, settings.health_port, unready, sink.dead)
    try:
        if wait_for_base_topics(settings, stop):
            with plane.running():
                threading.Thread(target=deleter.run, args=(stop,), name="deleter", daemon=True).start()
                threading.Thread(target=watch_lag, args=(settings, sink, stop), name="lag", daemon=True).start()
                sink.run(stop, left)
                if left:
                    end_undone(**left)
    except StrandedError as error:
        end_stranded(str(error))
    except LimitReachedError as error:
        say_limit_reached("sink", str(error))
        stop.wait(STOPPED_SECONDS)
        raise SystemExit(1) from None
    finally:
        if health is not None:
            health.shutdown()


def _give_back_large_blocks() -> None:
    """Have glibc map large blocks apart, so that they go back to the system when they are freed.

    It does so for blocks beyond a threshold which grows with every such block that is freed; with containers of 16 MB
    that leaves a sink at 320 MB after a load, and at 210 MB with a threshold that stays.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none, and none of this behaviour
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
