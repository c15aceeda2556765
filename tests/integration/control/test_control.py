"""The control plane over a real Kafka: written by one, followed by others."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from pydantic import SecretStr
from typer.testing import CliRunner

from headwater.cli import app
from headwater.codec import codec
from headwater.control import (
    Access,
    AccessError,
    ControlError,
    ControlPlane,
    ControlWriter,
    Key,
    SecretMismatchError,
)
from headwater.kafka import durable_producer_config
from headwater.settings import Settings, SettingsError
from headwater.topics import control_topic
from tests.collecting import environment


@pytest.fixture
def plane(kafka_settings: Settings) -> Iterator[ControlPlane]:
    plane = ControlPlane(kafka_settings)
    plane.start()
    yield plane
    plane.stop()


def test_what_is_written_is_there_when_the_writer_answers(kafka_settings: Settings, plane: ControlPlane) -> None:
    with ControlWriter(kafka_settings) as writer:
        project = writer.create_project("shop")
        assert writer.plane.project(project.id) == project
        assert plane.catch_up()
        assert plane.project(project.id) == project
        assert {key.kind for key in plane.keys(project.id)} == {"master", "write", "read"}

        extra = writer.create_key(project.id, "write", "till 3")
        assert plane.catch_up()
        assert plane.key(extra.key) == extra
        revoked = writer.revoke_key(extra.key)
        assert (revoked.active, revoked.version) == (False, 2)
        assert plane.catch_up()
        assert plane.key(extra.key) == revoked
        assert plane.projects() == [project]


def test_what_cannot_be_written(kafka_settings: Settings) -> None:
    with ControlWriter(kafka_settings) as writer:
        for name in ("", " ", "x" * 257, "a\nb"):
            with pytest.raises(ControlError, match="name"):
                writer.create_project(name)
        with pytest.raises(ControlError, match="no project"):
            writer.create_key("0" * 24, "write", "x")
        with pytest.raises(ControlError, match="no such key"):
            writer.revoke_key("0" * 64)
        assert writer.plane.projects() == []


def test_writers_at_the_same_time_lose_nothing(kafka_settings: Settings, plane: ControlPlane) -> None:
    with ControlWriter(kafka_settings) as first, ControlWriter(kafka_settings) as second:
        project = first.create_project("shop")
        assert second.plane.catch_up()
        key = first.create_key(project.id, "write", "x")
        made: list[Key] = []
        writers = [
            threading.Thread(target=lambda writer=writer: made.append(writer.create_key(project.id, "read", "y")))
            for writer in (first, second)
        ]
        for thread in writers:
            thread.start()
        for thread in writers:
            thread.join()
        second.revoke_key(key.key)
        assert first.revoke_key(key.key).version == 3
    assert plane.catch_up()
    assert {key.key for key in plane.keys(project.id)} >= {key.key for key in made}
    assert len(made) == 2


def test_a_writer_that_is_fenced_between_two_records_writes_all_of_them_anew(
    kafka_settings: Settings, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its second record is told is not flagged as fatal, but has the code."""
    begun: list[Producer] = []
    told: list[KafkaError] = []

    class Fenced(Producer):
        def begin_transaction(self) -> None:  # type: ignore[override]
            super().begin_transaction()
            begun.append(self)
            if begun == [self]:
                with ControlWriter(kafka_settings) as other:
                    other.create_project("other")

        def produce(self, topic: str, **record: Any) -> None:  # type: ignore[override]
            try:
                super().produce(topic, **record)
            except KafkaException as error:
                told.append(error.args[0])
                raise
            if self is begun[0]:
                with suppress(KafkaException):
                    self.flush(10)  # till Kafka has told it of the other

    monkeypatch.setattr("headwater.control.writer.Producer", Fenced)
    with ControlWriter(kafka_settings) as writer:
        project = writer.create_project("mine")
    assert [(error.code(), error.fatal()) for error in told] == [(KafkaError._FATAL, False)]
    assert plane.catch_up()
    assert plane.project(project.id) == project


def test_another_secret_is_named_and_nothing_is_valid(kafka_settings: Settings) -> None:
    with ControlWriter(kafka_settings) as writer:
        project = writer.create_project("shop")
    other = ControlPlane(kafka_settings.model_copy(update={"secret": SecretStr("x" * 32)}))
    with pytest.raises(SecretMismatchError, match="HEADWATER_SECRET"), other.running():
        pytest.fail("a service runs under another secret")
    assert other.key(project.master_key) is None


@pytest.mark.parametrize("secret", [None, SecretStr("short")])
def test_without_a_secret_nothing_starts(kafka_settings: Settings, secret: SecretStr | None) -> None:
    with pytest.raises(SettingsError, match="HEADWATER_SECRET"):
        ControlPlane(kafka_settings.model_copy(update={"secret": secret}))


def test_kafka_away_is_said_in_time(kafka_settings: Settings) -> None:
    plane = ControlPlane(kafka_settings.model_copy(update={"kafka": "127.0.0.1:1"}))
    with pytest.raises(ControlError, match="HEADWATER_KAFKA"):
        plane.start(timeout=0.5)
    assert not plane.catch_up(timeout=0.1)
    plane.stop()


def test_a_service_starts_without_kafka(kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.control.follower.SERVICE_START_SECONDS", 0.2)
    with ControlPlane(kafka_settings.model_copy(update={"kafka": "127.0.0.1:1"})).running() as plane:
        assert not plane.caught_up


def test_records_that_are_not_understood_are_passed_over(kafka_settings: Settings, plane: ControlPlane) -> None:
    producer = Producer(durable_producer_config(kafka_settings))
    later = {"kind": "policy", "id": "p", "version": 1, "written_at": 1, "body": "{}"}
    for key, value in ((b"nonsense", b"\x00"), (b"policy:p", codec("control_record").encode(later)), (b"x:y", None)):
        producer.produce(control_topic(kafka_settings), key=key, value=value)
    assert producer.flush(10) == 0
    with ControlWriter(kafka_settings) as writer:
        project = writer.create_project("shop")
    assert plane.catch_up()
    assert plane.project(project.id) == project
    assert plane.record("policy", "p") == later


async def test_a_fresh_key_is_never_refused(kafka_settings: Settings, plane: ControlPlane) -> None:
    access = Access(plane)
    with ControlWriter(kafka_settings) as writer:
        for number in range(3):
            project = writer.create_project(f"p{number}")
            assert (await access.check(project.id, project.write_key, "writes")).kind == "write"
            assert (await access.check(project.id, project.master_key, "master")).kind == "master"
        refusals = []
        for project_id, key in (
            ("0" * 24, project.write_key),
            (project.id, None),
            (project.id, "0" * 64),
            (writer.plane.projects()[0].id, project.write_key),
            (project.id, project.read_key),
            (project.id, writer.revoke_key(project.write_key).key),
        ):
            with pytest.raises(AccessError) as caught:
                await access.check(project_id, key, "writes")
            refusals.append((caught.value.status, caught.value.name))
        with pytest.raises(AccessError, match="read key") as caught:
            await access.check(project.id, project.read_key, "master")
        assert (caught.value.status, caught.value.name) == (403, "AdminOnlyEndpointError")
    assert refusals == [
        (404, "ResourceNotFoundError"),
        (401, "InvalidApiKeyError"),
        (401, "InvalidApiKeyError"),
        (401, "InvalidApiKeyError"),
        (403, "InvalidApiKeyError"),
        (401, "InvalidApiKeyError"),
    ]


def test_on_the_command_line(kafka_settings: Settings, tmp_path: Path) -> None:
    runner = CliRunner(env=environment(kafka_settings))

    def run(*arguments: str) -> str:
        result = runner.invoke(app, [*arguments, "--data-dir", str(tmp_path)])
        assert result.exit_code == 0, result.output
        return result.stdout

    project = json.loads(run("project", "create", "shop", "--json"))
    assert [len(project[name]) for name in ("id", "master_key", "write_key", "read_key")] == [24, 64, 64, 64]
    assert json.loads(run("project", "list", "--json")) == [{"id": project["id"], "name": "shop"}]
    assert project["write_key"] in run("project", "show", project["id"])
    key = json.loads(run("key", "create", "read", "--name", "board", "--project", project["id"], "--json"))
    assert (key["kind"], key["name"], key["active"]) == ("read", "board", True)
    assert json.loads(run("key", "revoke", key["key"], "--json"))["active"] is False
    keys = json.loads(run("key", "list", "--project", project["id"], "--json"))
    assert {k["key"]: k["active"] for k in keys}[key["key"]] is False
    assert project["read_key"] in run("key", "list", "--project", project["id"])

    changed = json.loads(run("project", "set", project["id"], "segment.ipAddon=yes", "stripe.secret=whsec=1", "--json"))
    assert (changed["settings"]["segment.ipAddon"], changed["settings"]["stripe.secret"]) == (True, "********")
    run("project", "set", project["id"], "segment.ipAddon=")
    shown = run("project", "show", project["id"])
    assert "whsec" not in shown
    assert "segment.ipAddon:                 false" in shown

    for arguments in (
        ["project", "show", "0" * 24],
        ["project", "set", "0" * 24, "segment.ipAddon=yes"],
        ["project", "set", project["id"], "segment.ipAddon=perhaps"],
        ["project", "set", project["id"], "segment.ipAddon"],
        ["project", "set", project["id"]],
        ["key", "revoke", "nope"],
        ["key", "list"],
    ):
        result = runner.invoke(app, [*arguments, "--data-dir", str(tmp_path)])
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr
