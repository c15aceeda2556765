"""Where a client goes: arguments, then settings, then the local stack."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from headwater.client.target import Target, complete
from headwater.local.state import State
from headwater.settings import Settings

PROJECT, OTHER = "a" * 24, "b" * 24
NOTHING = Target(None, None, None, None, None, Path("data"))
STACK = State(
    supervisor_pid=1,
    supervisor_created=0.0,
    url="http://127.0.0.1:7000",
    kafka="127.0.0.1:19092",
    clickhouse="http://u:p@127.0.0.1:18123",
    secret="s" * 32,
    project_id=PROJECT,
    write_key="stack-write",
    read_key="stack-read",
)


def test_the_local_stack_gives_everything() -> None:
    found = complete(NOTHING, Settings(), STACK)
    assert found == Target(STACK.url, PROJECT, "stack-write", "stack-read", STACK.kafka, Path("data"))


def test_the_stacks_keys_are_for_its_own_project_only() -> None:
    found = complete(replace(NOTHING, project_id=OTHER), Settings(), STACK)
    assert (found.url, found.write_key, found.read_key) == (STACK.url, None, None)


@pytest.mark.parametrize("settings", [Settings(url="http://other:7000"), Settings(kafka="other:9092")])
def test_an_address_in_the_settings_leaves_the_stack_out(settings: Settings) -> None:
    found = complete(NOTHING, settings, STACK)
    assert (found.url, found.kafka) == (settings.url, "other:9092" if settings.url is None else None)
    assert (found.project_id, found.write_key) == (None, None)


def test_arguments_come_before_settings_and_the_master_key_stands_in() -> None:
    settings = Settings(
        url="http://settings:7000/", project_id=OTHER, read_key=SecretStr("r"), master_key=SecretStr("m")
    )
    found = complete(replace(NOTHING, project_id=PROJECT), settings, None)
    assert found == Target("http://settings:7000", PROJECT, "m", "r", None, Path("data"), "m")
