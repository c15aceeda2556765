"""How the settings become Kafka clients and topics."""

import threading
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from headwater import kafka, topics
from headwater.settings import load_settings


def test_plain_text_needs_only_the_address() -> None:
    assert kafka.client_config(load_settings(kafka="k:1,k:2")) == {
        "bootstrap.servers": "k:1,k:2",
        "security.protocol": "PLAINTEXT",
        "log_level": 2,
        "error_cb": kafka.note_error,
        "reconnect.backoff.max.ms": 1_000,
    }


def test_tls_and_sasl_reach_the_client() -> None:
    settings = load_settings(
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="SCRAM-SHA-256",
        kafka_sasl_username="u",
        kafka_sasl_password="p",
        kafka_ssl_ca_file=Path("/ca.pem"),
        kafka_ssl_certificate_file=Path("/cert.pem"),
        kafka_ssl_key_file=Path("/key.pem"),
    )
    assert kafka.client_config(settings) == {
        "bootstrap.servers": settings.kafka,
        "security.protocol": "SASL_SSL",
        "log_level": 2,
        "error_cb": kafka.note_error,
        "reconnect.backoff.max.ms": 1_000,
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": "u",
        "sasl.password": "p",
        "ssl.ca.location": "/ca.pem",
        "ssl.certificate.location": "/cert.pem",
        "ssl.key.location": "/key.pem",
    }


def test_a_producer_waits_for_all_replicas() -> None:
    config = kafka.durable_producer_config(load_settings())
    assert (config["acks"], config["enable.idempotence"]) == ("all", True)


@pytest.mark.parametrize(
    ("kind", "partitions", "cleanup"),
    [
        (topics.RAW, 12, "delete"),
        (topics.EVENTS, 4, "delete"),
        (topics.DEAD_LETTERS, 1, "delete"),
        (topics.CONTROL, 1, "compact"),
    ],
)
def test_topics_are_as_the_settings_say(kind: topics.Topic, partitions: int, cleanup: str) -> None:
    new = kafka.new_topic(load_settings(replication_factor=3, min_insync_replicas=2), "t", kind)
    assert (new.num_partitions, new.replication_factor) == (partitions, 3)
    assert (new.config["cleanup.policy"], new.config["min.insync.replicas"]) == (cleanup, "2")
    assert ("retention.ms" in new.config) == (cleanup == "delete")


def test_dead_letters_may_be_larger_than_what_they_carry() -> None:
    settings = load_settings()
    largest = {
        kind: int(kafka.new_topic(settings, "t", kind).config["max.message.bytes"])
        for kind in (topics.RAW, topics.DEAD_LETTERS)
    }
    assert largest[topics.DEAD_LETTERS] > largest[topics.RAW] == settings.topic_max_message_bytes


def test_without_kafka_the_one_error_is_kafkas() -> None:
    settings = load_settings(kafka="127.0.0.1:1")
    admin = AdminClient(kafka.client_config(settings) | {"log_level": 0})
    for _ in range(5):  # of the two clocks, the client's and the future's, neither may win by chance
        with pytest.raises(KafkaException):
            kafka.create_topics(settings, [kafka.new_topic(settings, "t", topics.RAW)], timeout=0.05)
    assert not kafka.has_topic(admin, "t", 0.05)


def test_waiting_for_kafka_ends_when_told_to() -> None:
    stopping = threading.Event()
    stopper = threading.Timer(0.2, stopping.set)
    stopper.start()
    assert not kafka.wait_for_base_topics(load_settings(kafka="127.0.0.1:1"), stopping)
    stopper.join()
