"""How services reach Kafka: client configuration from the settings, and topics created with their own."""

import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec  # the package offers it without saying so to type checkers
from confluent_kafka.cimpl import NewTopic

from headwater import metrics, topics
from headwater.settings import Settings

HOUR_MS = 3_600_000
BROKER_DEFAULT = -1
WRITABLE_POLL_SECONDS = 0.01
REACH_SECONDS = 2.0
RETRY_SECONDS = 1.0
RENEW_SECONDS = 3.0
REFUSALS = (KafkaError._AUTHENTICATION, KafkaError._SSL)
SAID_SECONDS = 30.0
RECONNECT_MS = 1_000  # the longest pause between two tries to reach a broker: by default ten seconds, so long one is not missed that is back
STATISTICS_SECONDS = 10

log = structlog.get_logger("headwater.kafka")


def client_config(settings: Settings) -> dict[str, Any]:
    """What every librdkafka client needs: where Kafka is, TLS and SASL."""
    config: dict[str, Any] = {
        "bootstrap.servers": settings.kafka,
        "security.protocol": settings.kafka_security_protocol,
        # What goes wrong is raised or reported to callbacks; librdkafka would also print it, once a second and unstructured.
        "log_level": 2,
        "error_cb": note_error,
        "reconnect.backoff.max.ms": RECONNECT_MS,
    }
    if settings.kafka_security_protocol.startswith("SASL"):
        config["sasl.mechanism"] = settings.kafka_sasl_mechanism
        if settings.kafka_sasl_username:
            config["sasl.username"] = settings.kafka_sasl_username
        if settings.kafka_sasl_password:
            config["sasl.password"] = settings.kafka_sasl_password.get_secret_value()
    files = {
        "ssl.ca.location": settings.kafka_ssl_ca_file,
        "ssl.certificate.location": settings.kafka_ssl_certificate_file,
        "ssl.key.location": settings.kafka_ssl_key_file,
    }
    return config | {name: str(path) for name, path in files.items() if path is not None}


# Of a producer with transactions: another of its name has begun since.
FENCED = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})


def is_fatal(error: KafkaError) -> bool:
    """Whether the client that says this is of no more use. Of what came before its call it says so by its code alone."""
    return error.fatal() or error.code() == KafkaError._FATAL


def admin_client(settings: Settings) -> AdminClient:
    """A client that asks and creates. It logs nothing: what goes wrong is raised."""
    return AdminClient(client_config(settings) | {"log_level": 0})


_said_at: dict[str, float] = {}


def note_error(error: KafkaError) -> None:
    """Count an error of a client, and log that Kafka refuses us, or that we cannot trust it: no retry mends that, and all else
    reports time-outs only."""
    metrics.kafka_errors.labels(error.name()).inc()
    reason, now = error.str(), time.monotonic()
    if error.code() in REFUSALS and now - _said_at.get(reason, -SAID_SECONDS) >= SAID_SECONDS:
        _said_at[reason] = now
        log.error("Kafka's connection is refused: see the HEADWATER_KAFKA_ settings of TLS and SASL", error=reason)


def partition_reader_config(settings: Settings, topic: str) -> dict[str, Any]:
    """A consumer that is assigned its partitions by hand, reads what is committed and hears of each partition's end."""
    return client_config(settings) | {
        "group.id": f"{topic}.reader",  # librdkafka wants one; it is never joined, and nothing is committed
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 50,  # an end is told when the broker has waited for more: by default half a second
    }


def assign(consumer: Consumer, places: Iterable[TopicPartition], timeout: float = REACH_SECONDS) -> None:
    """Assign partitions by hand, with the offsets to read from. Blocks up to `timeout` seconds for each topic; raises KafkaException.

    Kafka is asked for their leaders first: a consumer that knows none when it is assigned waits half a second until it looks again.
    """
    wanted = list(places)
    for topic in {place.topic for place in wanted}:
        consumer.list_topics(topic, timeout)
    consumer.assign(wanted)


def what_comes(consumer: Consumer, most: int, seconds: float) -> list[Message]:
    """What a consumer has, errors and partitions' ends among it; blocks so many seconds while it has nothing.

    `consume` alone waits until it has `most`, or its time is over.
    """
    first = consumer.poll(seconds)
    return [] if first is None else [first, *consumer.consume(most - 1, 0)]


def durable_producer_config(settings: Settings) -> dict[str, Any]:
    """A producer that acknowledges only what all in-sync replicas have, in order, without duplicates of its own."""
    return client_config(settings) | {
        "acks": "all",
        "enable.idempotence": True,
        "message.max.bytes": settings.topic_max_message_bytes + topics.MIB,
        "compression.type": "lz4",
        "linger.ms": 5,
    }


def counting_retries(producer: str) -> dict[str, Any]:
    """What a producer's configuration needs for its retries to be counted, as those of `producer`.

    It has to be polled every few seconds, also while there is nothing to produce: what it tells is queued until then.
    """
    counter = metrics.kafka_retries.labels(producer)
    told = 0

    def tell(statistics: str) -> None:
        nonlocal told
        retries = sum(broker["txretries"] for broker in orjson.loads(statistics)["brokers"].values())
        counter.inc(max(0, retries - told))
        told = retries

    return {"statistics.interval.ms": STATISTICS_SECONDS * 1000, "stats_cb": tell}


def new_topic(settings: Settings, name: str, kind: topics.Topic) -> NewTopic:
    """A topic of a kind, as the settings want it."""
    partitions, retention_hours = {
        topics.RAW: (settings.raw_partitions, settings.raw_retention_hours),
        topics.BACKFILL: (settings.raw_partitions, settings.backfill_retention_hours),
        topics.EVENTS: (settings.collection_partitions, settings.events_retention_hours),
        topics.DEAD_LETTERS: (1, settings.dead_letter_retention_hours),
        topics.CONTROL: (1, None),
        topics.STATE: (settings.raw_partitions, None),
        topics.DOCTOR: (1, 1),
    }[kind]
    largest = settings.topic_max_message_bytes + (topics.MIB if kind is topics.DEAD_LETTERS else 0)
    config = {"cleanup.policy": kind.cleanup, "max.message.bytes": str(largest)}
    if retention_hours is not None:
        config["retention.ms"] = str(retention_hours * HOUR_MS)
    if kind is topics.DOCTOR:
        config["message.timestamp.type"] = "LogAppendTime"
    if settings.min_insync_replicas is not None:
        config["min.insync.replicas"] = str(settings.min_insync_replicas)
    return NewTopic(name, partitions, settings.replication_factor or BROKER_DEFAULT, config=config)


def create_topics(settings: Settings, new: Iterable[NewTopic], timeout: float = 30.0) -> set[str]:
    """Create topics and return the names of those that did not exist before. All of them take records then.

    Blocks up to `timeout` seconds, twice. Raises KafkaException, and nothing else, when Kafka refuses one or gives no answer.
    """
    wanted = list(new)
    if not wanted:
        return set()
    created = set()
    admin = admin_client(settings)
    for name, future in admin.create_topics(wanted, operation_timeout=timeout, request_timeout=timeout).items():
        try:
            future.result()  # the client itself fails it when `timeout` is over
            created.add(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                admin.poll(0)  # lets `note_error` say why it was a time-out
                raise
    wait_until_writable(settings, [topic.topic for topic in wanted], timeout)
    return created


def wait_until_writable(settings: Settings, names: Sequence[str], timeout: float = 30.0) -> None:
    """Block until each partition of these topics has its log at its leader. Raises KafkaException after `timeout` seconds.

    To be called before the first record for a topic that may be new. Kafka answers a creation, and shows the topic in its
    metadata, before the leaders have made the logs. An idempotent producer with several requests in flight can lose a record
    to that: the first is refused and waits for its retry, a later one finds the log, which has no state of this producer
    and so takes any sequence number, and librdkafka takes its success for the first one's too.
    """
    deadline = time.monotonic() + timeout
    wanted = set(names)
    renewed_at = float("-inf")
    while wanted:
        if time.monotonic() - renewed_at > RENEW_SECONDS:  # one that was told of no leader may be told so for ever
            admin, renewed_at = admin_client(settings), time.monotonic()
        known = admin.list_topics(timeout=timeout).topics
        partitions = [
            TopicPartition(name, number) for name in wanted if name in known for number in known[name].partitions
        ]
        unready = {name for name in wanted if name not in known or not known[name].partitions}
        failure: KafkaException | None = None
        asked = dict.fromkeys(partitions, OffsetSpec.for_timestamp(0))
        for partition, future in admin.list_offsets(asked, request_timeout=timeout).items() if asked else ():
            try:
                future.result()
            except KafkaException as error:
                unready.add(partition.topic)
                failure = error
        if unready and time.monotonic() > deadline:
            raise failure or KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
        if unready:
            time.sleep(WRITABLE_POLL_SECONDS)
        wanted = unready


def create_base_topics(settings: Settings) -> set[str]:
    """Create the raw, backfill, dead-letter, control and state topics where they do not exist.

    Blocks up to a minute, half of that where Kafka cannot be reached; raises KafkaException.
    """
    return create_topics(
        settings,
        [
            new_topic(settings, topics.raw_topic(settings), topics.RAW),
            new_topic(settings, topics.backfill_topic(settings), topics.BACKFILL),
            new_topic(settings, topics.dead_letters_topic(settings), topics.DEAD_LETTERS),
            new_topic(settings, topics.control_topic(settings), topics.CONTROL),
            new_topic(settings, topics.state_topic(settings), topics.STATE),
        ],
    )


def wait_for_base_topics(settings: Settings, stopping: threading.Event) -> bool:
    """Block until Kafka can be reached and has the base topics, made here where they are missing; False when told to stop.

    A line in the log says why it is waited for, one for each reason, and one that it is over.
    """
    admin = admin_client(settings)
    said: set[str] = set()
    while not stopping.is_set():
        try:
            admin.list_topics(timeout=REACH_SECONDS)  # quick where Kafka cannot be reached
            create_base_topics(settings)
        except KafkaException as error:
            reason = error.args[0].str()
            if reason not in said:
                log.warning("Kafka cannot be used yet; trying until it can", kafka=settings.kafka, error=reason)
                said.add(reason)
            stopping.wait(RETRY_SECONDS)
        else:
            if said:
                log.info("Kafka can be used", kafka=settings.kafka)
            return True
    return False


def sink_group(settings: Settings) -> str:
    """The consumer group of the sinks: what it has committed is stored in ClickHouse."""
    return f"{settings.topic_prefix}.sink"


def intake_group(settings: Settings) -> str:
    """The consumer group of the collectors: what it has committed of producers' own topics is in the raw topic."""
    return f"{settings.topic_prefix}.intake"


def has_topic(client: AdminClient | Consumer | Producer, topic: str, timeout: float) -> bool:
    """Whether Kafka answers within `timeout` seconds that it has the topic. Blocks so long; safe beside the client's own work."""
    try:
        return client.list_topics(topic, timeout=timeout).topics[topic].error is None
    except KafkaException:
        return False
