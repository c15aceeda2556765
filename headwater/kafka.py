"""How services reach Kafka: client configuration from the settings, and topics created with their own."""

from collections.abc import Iterable
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from headwater import topics
from headwater.settings import Settings

HOUR_MS = 3_600_000
BROKER_DEFAULT = -1


def client_config(settings: Settings) -> dict[str, Any]:
    """What every librdkafka client needs: where Kafka is, TLS and SASL."""
    config: dict[str, Any] = {
        "bootstrap.servers": settings.kafka,
        "security.protocol": settings.kafka_security_protocol,
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


def durable_producer_config(settings: Settings) -> dict[str, Any]:
    """A producer that acknowledges only what all in-sync replicas have, in order, without duplicates of its own."""
    return client_config(settings) | {
        "acks": "all",
        "enable.idempotence": True,
        "message.max.bytes": settings.topic_max_message_bytes + topics.MIB,
        "compression.type": "lz4",
        "linger.ms": 5,
    }


def new_topic(settings: Settings, name: str, kind: topics.Topic) -> NewTopic:
    """A topic of a kind, as the settings want it."""
    partitions, retention_hours = {
        topics.RAW: (settings.raw_partitions, settings.raw_retention_hours),
        topics.EVENTS: (settings.collection_partitions, settings.events_retention_hours),
        topics.DEAD_LETTERS: (1, settings.dead_letter_retention_hours),
        topics.CONTROL: (1, None),
        topics.STATE: (settings.raw_partitions, None),
    }[kind]
    largest = settings.topic_max_message_bytes + (topics.MIB if kind is topics.DEAD_LETTERS else 0)
    config = {"cleanup.policy": kind.cleanup, "max.message.bytes": str(largest)}
    if retention_hours is not None:
        config["retention.ms"] = str(retention_hours * HOUR_MS)
    if settings.min_insync_replicas is not None:
        config["min.insync.replicas"] = str(settings.min_insync_replicas)
    return NewTopic(name, partitions, settings.replication_factor or BROKER_DEFAULT, config=config)


def create_topics(admin: AdminClient, new: Iterable[NewTopic], timeout: float = 30.0) -> set[str]:
    """Create topics and return the names of those that did not exist before.

    Blocks up to `timeout` seconds. Raises KafkaException when Kafka refuses one or cannot be reached.
    """
    wanted = list(new)
    created = set()
    for name, future in (
        admin.create_topics(wanted, operation_timeout=timeout, request_timeout=timeout).items() if wanted else ()
    ):
        try:
            future.result(timeout)
            created.add(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    return created


def create_base_topics(settings: Settings) -> set[str]:
    """Create the raw, dead-letter, control and state topics where they do not exist. Blocks; raises KafkaException."""
    return create_topics(
        AdminClient(client_config(settings)),
        [
            new_topic(settings, topics.raw_topic(settings), topics.RAW),
            new_topic(settings, topics.dead_letters_topic(settings), topics.DEAD_LETTERS),
            new_topic(settings, topics.control_topic(settings), topics.CONTROL),
            new_topic(settings, topics.state_topic(settings), topics.STATE),
        ],
    )
