"""A Kafka that wants TLS, and a password or a client's certificate: events pass through every client that we use."""

import datetime
import ipaddress
import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import structlog
from confluent_kafka import KafkaException
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from headwater import topics
from headwater.doctor import Deployment, examine
from headwater.kafka import create_topics, new_topic
from headwater.local.child import Child
from headwater.local.kafka import KafkaNode
from headwater.local.kafka_files import fetch_kafka
from headwater.local.ports import Ports
from headwater.settings import Settings, load_settings
from tests.backends import kafka_answers
from tests.processing import RawTopic, new_project, processor, raw_record, read_events, wait_processed
from tests.waiting import wait_until

START_LIMIT = 60.0
EVENTS = 500
USER, PASSWORD = "headwater", "a,b=c;d"


def certificate(folder: Path, name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None) -> Any:
    """A certificate and key, written as <name>.crt, <name>.key and both as <name>.pem."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(issuer[1] if issuer else key, hashes.SHA256())
    )
    text = made.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for suffix, content in (("crt", text), ("key", secret), ("pem", secret + text)):
        (folder / f"{name}.{suffix}").write_bytes(content)
    return made, key


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """The folder with the certificates, and the addresses of a Kafka by protocol."""
    folder = tmp_path_factory.mktemp("secured")
    authority = certificate(folder, "ca", None)
    certificate(folder, "broker", authority)
    certificate(folder, "client", authority)
    with closing(Ports()) as ports:
        plain, controller, sasl, ssl = (ports.claim(21492) for _ in range(4))
        node = KafkaNode(folder / "kafka", folder / "kafka.log", plain, controller)
        jars = fetch_kafka()
        node.prepare(jars)
        addresses = {"SASL_SSL": f"127.0.0.1:{sasl}", "SSL": f"127.0.0.1:{ssl}"}
        more = ",".join(f"{protocol}://{address}" for protocol, address in addresses.items())
        login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        properties = {
            "listeners": f"PLAINTEXT://{node.bootstrap},CONTROLLER://127.0.0.1:{controller},{more}",
            "advertised.listeners": f"PLAINTEXT://{node.bootstrap},{more}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(folder / "broker.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(folder / "ca.crt"),
            "listener.name.ssl.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": f'{login} user_{USER}="{PASSWORD}";',
        }
        file = folder / "kafka" / "server.properties"
        kept = [line for line in file.read_text().splitlines() if line.split("=", 1)[0] not in properties]
        file.write_text("\n".join([*kept, *(f"{name}={value}" for name, value in properties.items())]) + "\n")
        child = Child(node.command(), node.environment(jars), folder / "kafka.out")
        try:
            wait_until(lambda: kafka_answers(node.bootstrap), START_LIMIT)
            yield folder, addresses
        finally:
            child.kill()


@pytest.mark.parametrize("protocol", ["SASL_SSL", "SSL"])
def test_events_pass(secured: tuple[Path, dict[str, str]], tmp_path: Path, protocol: str) -> None:
    folder, addresses = secured
    given: dict[str, Any] = (
        {"kafka_sasl_mechanism": "PLAIN", "kafka_sasl_username": USER, "kafka_sasl_password": SecretStr(PASSWORD)}
        if protocol == "SASL_SSL"
        else {
            "kafka_ssl_certificate_file": folder / "client.crt",
            "kafka_ssl_key_file": folder / "client.key",
        }
    )
    settings: Settings = load_settings(
        data_dir=tmp_path,
        secret=SecretStr(secrets.token_hex(32)),
        topic_prefix=f"secured-{protocol.lower().replace('_', '-')}",
        kafka=addresses[protocol],
        kafka_security_protocol=protocol,
        kafka_ssl_ca_file=folder / "ca.crt",
        raw_partitions=2,
        collection_partitions=1,
        **given,
    )
    project_id = new_project(settings)
    raw = RawTopic(settings)
    for number in range(EVENTS):
        raw.send(raw_record(project_id, "visits", properties=f'{{"n":{number}}}'), b"%d" % number)
    raw.flush()
    with processor(settings):
        state = wait_processed(settings, EVENTS)
    assert state.events(project_id, "visits") == EVENTS
    assert len(read_events(settings, project_id, "visits")) == EVENTS
    checks = {check.name: check for check in examine(Deployment(settings))}
    assert checks["Kafka"].said.startswith(f"{addresses[protocol]} answers")
    for name in ("topics", "schemas", "clock of Kafka", "lag of processors"):
        assert checks[name].outcome == "ok", checks[name]


def test_a_wrong_password_is_said(secured: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    folder, addresses = secured
    settings = load_settings(
        data_dir=tmp_path,
        kafka=addresses["SASL_SSL"],
        kafka_security_protocol="SASL_SSL",
        kafka_ssl_ca_file=folder / "ca.crt",
        kafka_sasl_mechanism="PLAIN",
        kafka_sasl_username=USER,
        kafka_sasl_password=SecretStr("wrong"),
    )
    doctor = next(check for check in examine(Deployment(settings)) if check.name == "Kafka")
    assert doctor.outcome == "failed"
    assert "TLS and SASL" in (doctor.remedy or "")
    with structlog.testing.capture_logs() as lines, pytest.raises(KafkaException):
        create_topics(settings, [new_topic(settings, "any", topics.CONTROL)], 3.0)
    assert "Authentication failed" in lines[0]["error"]
    assert "wrong" not in str(lines)
