"""Whether Kafka answers, how many brokers there are, and its clock."""

from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from headwater.doctor.check import Check, failed, ok
from headwater.doctor.machines import Clock, now
from headwater.kafka import client_config, create_topics, durable_producer_config, new_topic
from headwater.offsets import reason
from headwater.settings import Settings
from headwater.topics import DOCTOR, doctor_topic

REACH_SECONDS = 3.0
ANSWER_SECONDS = 5.0


class Cluster(NamedTuple):
    """A Kafka that answers: its id, its brokers, and every topic with how many partitions it has."""

    id: str
    brokers: int
    partitions: dict[str, int]


def look(settings: Settings) -> Cluster:
    """Ask Kafka. Blocks for REACH_SECONDS at most; raises KafkaException."""
    admin = AdminClient(client_config(settings) | {"log_level": 0, "error_cb": lambda _: None})
    known = admin.list_topics(timeout=REACH_SECONDS)
    partitions = {name: len(topic.partitions) for name, topic in known.topics.items()}
    return Cluster(known.cluster_id or "unknown", len(known.brokers), partitions)


def judge(settings: Settings, cluster: Cluster, local_version: str | None) -> Check:
    """That it answers. Kafka tells clients no version: only our own is known."""
    brokers = "1 broker" if cluster.brokers == 1 else f"{cluster.brokers} brokers"
    version = f", version {local_version}" if local_version else ""
    return ok(
        "Kafka", f"{settings.kafka} answers{version}: cluster {cluster.id}, {brokers}, {len(cluster.partitions)} topics"
    )


def unreachable(settings: Settings, error: KafkaException) -> Check:
    """That it does not answer, and what may be wrong."""
    remedy = (
        f"see that Kafka runs at {settings.kafka} (HEADWATER_KAFKA), and the HEADWATER_KAFKA_ settings of TLS and SASL"
    )
    return failed("Kafka", f"{settings.kafka} does not answer: {reason(error)}", remedy)


def read_clock(settings: Settings) -> Clock:
    """Kafka's clock, from a record that it stamps itself: it takes new topics and records, too. Blocks; raises KafkaException."""
    topic = doctor_topic(settings)
    create_topics(settings, [new_topic(settings, topic, DOCTOR)], ANSWER_SECONDS)
    answers: list[KafkaError | float] = []

    def delivered(error: KafkaError | None, record: Message) -> None:
        answers.append(record.timestamp()[1] / 1000 if error is None else error)

    options = {"linger.ms": 0, "message.timeout.ms": int(ANSWER_SECONDS * 1000), "log_level": 0}
    producer = Producer(durable_producer_config(settings) | options)
    before = now()
    producer.produce(topic, b"", on_delivery=delivered)
    producer.flush(ANSWER_SECONDS)
    after = now()
    if not answers:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
    (answer,) = answers
    if isinstance(answer, KafkaError):
        raise KafkaException(answer)
    return Clock("Kafka", answer, before, after)
