"""The sink's front door."""

import logging
import signal
import threading

from headwater.health import serve_health
from headwater.kafka import create_base_topics
from headwater.logs import configure_logs
from headwater.settings import Settings
from sinks.clickhouse import ClickHouse
from sinks.consumer import Sink
from sinks.store import Store


def run(settings: Settings) -> None:
    """Run a sink until SIGTERM or SIGINT; then it stores and commits what it can in a few seconds, and this returns.

    To be called in the main thread. Raises SettingsError without a secret, and KafkaException when Kafka cannot be
    reached at the start or tells this member to go.
    """
    settings.required_secret()
    configure_logs(settings, "sink")
    logging.getLogger("clickhouse_connect").setLevel(logging.ERROR)  # each try to reach a server that is away is a line
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    create_base_topics(settings)
    clickhouse = ClickHouse(settings.clickhouse)
    sink = Sink(settings, Store(settings, clickhouse))
    health = None
    if settings.health_port is not None:
        health = serve_health(settings.host, settings.health_port, lambda: sink.joined and clickhouse.answers())
    try:
        sink.run(stop)
    finally:
        if health is not None:
            health.shutdown()
        clickhouse.close()
