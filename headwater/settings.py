"""Every setting of every service: declared once, typed, read from `HEADWATER_*` environment variables.

docs/settings.md is generated from this class (`scripts/docs`).
"""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "HEADWATER_"


class SettingsError(Exception):
    """A setting is unknown, blank, missing or of the wrong form; the message names it."""


class Settings(BaseSettings):
    """The settings of one deployment. Services take an instance; nothing reads the environment elsewhere."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    # Where state lives
    data_dir: Path = Field(
        Path(".headwater"),
        description="Folder of all local state: embedded Kafka and ClickHouse, tables of processors, logs.",
    )
    secret: SecretStr | None = Field(
        None,
        description="The deployment's secret, 32 characters or more. Keys are stored encrypted under it; services do not start without it.",
    )

    # Kafka
    kafka: str = Field(
        "127.0.0.1:19092",
        min_length=1,
        description="Bootstrap servers of Kafka: host:port, several separated by commas.",
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How to talk to Kafka."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="SASL mechanism, where the protocol has SASL."
    )
    kafka_sasl_username: str | None = Field(None, description="SASL user name.")
    kafka_sasl_password: SecretStr | None = Field(None, description="SASL password.")
    kafka_ssl_ca_file: Path | None = Field(
        None, description="PEM file of the certificate authorities to trust; the system's where not given."
    )
    kafka_ssl_certificate_file: Path | None = Field(
        None, description="PEM file of the client's certificate, for mutual TLS."
    )
    kafka_ssl_key_file: Path | None = Field(None, description="PEM file of the client certificate's private key.")

    # Topics
    topic_prefix: str = Field(
        "headwater",
        pattern=r"^[a-z0-9-]{1,40}$",
        description="First part of every topic's name, so that deployments can share a Kafka cluster.",
    )
    raw_partitions: int = Field(
        12,
        ge=1,
        le=1000,
        description="Partitions of the raw topic. Fixed at creation: the processors' tables are partitioned like it.",
    )
    collection_partitions: int = Field(
        4, ge=1, le=100, description="Partitions of a collection's topic, when it is created."
    )
    replication_factor: int | None = Field(
        None, ge=1, description="Replicas of each topic; the broker's default where not given."
    )
    min_insync_replicas: int | None = Field(
        None,
        ge=1,
        description="Replicas that must have a record before it counts as written; the broker's default where not given.",
    )
    raw_retention_hours: int = Field(168, ge=1, description="How long Kafka keeps raw records.")
    backfill_retention_hours: int = Field(
        720,
        ge=1,
        description="How long Kafka keeps records of the backfill topic: longer than the longest load of history takes to be processed.",
    )
    events_retention_hours: int = Field(168, ge=1, description="How long Kafka keeps the records of collection topics.")
    dead_letter_retention_hours: int = Field(720, ge=1, description="How long Kafka keeps dead letters.")
    dead_letter_max_ratio: float = Field(
        0.5,
        gt=0,
        le=1,
        description="A processor or sink stops where more than this share of the last thousand records fails by a fault of its own, as when an add-on is broken; 1: it never does.",
    )
    dead_letter_max_run: int = Field(
        1_000,
        ge=0,
        description="The same for so many records in a row, with none that comes through; 0: it never does.",
    )
    topic_max_message_bytes: int = Field(
        4 * 1024 * 1024,
        ge=1_000_000,
        description="Largest record of the raw and collection topics; dead letters may be 1 MiB larger.",
    )

    # ClickHouse
    clickhouse: str = Field(
        "http://default@127.0.0.1:18123",
        min_length=1,
        description="URL of ClickHouse's HTTP interface with user and password.",
    )

    # HTTP
    host: str = Field("127.0.0.1", min_length=1, description="Address that the HTTP services listen on.")
    port: int = Field(7000, ge=0, le=65535, description="Port that the HTTP services listen on.")
    trusted_proxies: int = Field(
        0,
        ge=0,
        le=10,
        description="Proxies in front of the collector: how many entries at the end of X-Forwarded-For to trust. 0: the header is ignored.",
    )
    event_max_bytes: int = Field(900_000, ge=1_000, description="Largest event that the collector accepts.")
    body_max_bytes: int = Field(
        10_000_000, ge=1_000, description="Largest request body that the collector accepts, after decompression."
    )
    scoped_keys: bool = Field(
        True,
        description="Whether Keen's legacy scoped keys are taken. They carry no proof of who made them (no MAC): the holder of one can change parts of it at will. Set it to false where no client has any.",
    )
    event_max_depth: int = Field(100, ge=2, le=500, description="Deepest nesting of an event.")
    ack_timeout_seconds: float = Field(
        10.0, gt=0, description="How long the collector waits for Kafka to acknowledge before it answers 503."
    )

    # Processors
    geoip_database: Path | None = Field(
        None,
        description="Any MMDB file for the ip_to_geo add-on, reloaded when it changes; the GeoLite2 City database of 2019 where not given.",
    )
    max_collections: int = Field(
        1_000, ge=1, description="Collections that a project may have; events for more go to the dead letters."
    )
    max_paths: int = Field(
        1_000, ge=1, description="Property paths that the catalogue keeps for a collection; more are counted only."
    )
    id_window_hours: float = Field(
        24.0,
        gt=0,
        le=720,
        description="How long a processor keeps the ids of events to drop what is sent again with another time (ids.window of a project says of which events),",
    )
    id_window_max_ids: int = Field(
        1_000_000,
        ge=1,
        description="and how many of each partition of the raw topic: the oldest go first. They are on disk, and in the state topic with 16 bytes each.",
    )
    settle_seconds: float = Field(
        0.5,
        gt=0,
        le=10,
        description="How often a processor makes its work durable: flushes output, writes its tables, commits.",
    )

    # Sink
    sink_flush_records: int = Field(
        50_000, ge=1, description="A collection's batch is inserted when it has this many records,"
    )
    sink_flush_bytes: int = Field(16_000_000, ge=1, description="or this many bytes,")
    sink_flush_seconds: float = Field(
        1.0,
        gt=0,
        description="or comes so long after the one before, whichever is first; sooner where inserts are quick.",
    )

    # Queries
    query_max_seconds: float = Field(300.0, gt=0, description="Longest that a query may run; then the answer is 504.")
    query_max_memory_bytes: int = Field(
        2_000_000_000, ge=10_000_000, description="Most memory that one query may take in ClickHouse."
    )
    query_max_groups: int = Field(1_000_000, ge=1, description="Most groups that an answer may have.")
    query_max_concurrent_per_key: int = Field(
        24, ge=1, description="Most queries that one key may have under way at once; more are answered 429."
    )
    extraction_max_events: int = Field(100_000, ge=1, description="Most events that one extraction returns as JSON.")
    extraction_max_streamed_events: int = Field(
        10_000_000, ge=1, description="Most events that one extraction returns as CSV or NDJSON, or writes to a file."
    )
    extraction_keep_days: float = Field(
        30.0, gt=0, description="How long the files of extractions are kept in the data directory."
    )

    # Workers
    worker_name: str = Field(
        "worker",
        pattern=r"^[a-z0-9-]{1,60}$",
        description="Name of this worker among its siblings, such as processor-2; its state lives in a folder of this name.",
    )
    health_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port on which a worker serves /livez, /readyz and /metrics; none where not given.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least severe log lines that are written."
    )
    log_format: Literal["json", "console"] = Field("json", description="Log lines as JSON, or coloured for people.")

    # Client
    url: str | None = Field(None, description="Client: where the HTTP API is, such as http://127.0.0.1:7000.")
    project_id: str | None = Field(None, pattern=r"^[0-9a-f]{24}$", description="Client: the project.")
    write_key: SecretStr | None = Field(None, description="Client: key for writing events.")
    read_key: SecretStr | None = Field(None, description="Client: key for queries.")
    master_key: SecretStr | None = Field(None, description="Client: key that may do anything in the project.")

    def required_secret(self) -> str:
        """The deployment's secret. Raises SettingsError where it is missing or too short."""
        if self.secret is None:
            raise SettingsError(
                f"{PREFIX}SECRET is not set: a deployment does not start without its secret (32 characters or more)."
            )
        secret = self.secret.get_secret_value()
        if len(secret) < 32:
            raise SettingsError(f"{PREFIX}SECRET has {len(secret)} characters: it must have 32 or more.")
        return secret


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment, with `overrides` by field name on top.

    Raises SettingsError for a `HEADWATER_*` variable that is unknown or blank, or a value of the wrong form.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for name, value in sorted(os.environ.items()):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            raise SettingsError(f"{name} is not a setting of Headwater. Known settings are in docs/settings.md.")
        if name.upper() in known and not value.strip():
            raise SettingsError(f"{name} is blank: give it a value or remove it.")
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        problems = "; ".join(f"{PREFIX}{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
        raise SettingsError(problems) from None
