"""What a client can do with what it is told, and what it says when something is missing."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import headwater
from headwater.client.errors import ConnectError
from headwater.client.writer import BatchingWriter

PROJECT = "a" * 24


def test_with_nothing_to_connect_to_the_error_names_what_is_missing_and_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConnectError) as raised:
        headwater.connect(data_dir=tmp_path)
    message = str(raised.value)
    for part in ("url=...", "project_id=...", "write_key=...", "HEADWATER_WRITE_KEY", "headwater up", str(tmp_path)):
        assert part in message


def test_a_key_that_is_missing_is_missed_by_the_calls_that_need_it() -> None:
    with headwater.connect("http://127.0.0.1:9", PROJECT, read_key="r") as hw:
        with pytest.raises(ConnectError, match="write_key"):
            hw.add_event("visits", {})
        assert (hw.accepted, hw.failed, hw.pending) == (0, 0, 0)
    with (
        headwater.connect("http://127.0.0.1:9", PROJECT, write_key="w") as hw,
        pytest.raises(ConnectError, match="read_key"),
    ):
        hw.count("visits")


def test_a_parameter_that_an_analysis_does_not_have_is_refused() -> None:
    with headwater.connect("http://127.0.0.1:9", PROJECT, read_key="r") as hw:
        with pytest.raises(TypeError, match="timefram"):
            hw.count("visits", timefram="this_day")
        with pytest.raises(TypeError, match="interval"):
            hw.extraction("visits", interval="daily")


def test_importing_headwater_loads_next_to_nothing() -> None:
    script = "import sys, headwater; print([m for m in ('httpx', 'orjson', 'pydantic', 'clickhouse_connect') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_packages_names() -> None:
    assert headwater.__version__.count(".") == 2
    assert headwater.Result.__name__ == "Result"
    assert {"connect", "Result", "__version__"} <= set(dir(headwater))
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = headwater.nothing_like_it


def test_clickhouse_stands_in_for_queries_and_nothing_else(tmp_path: Path) -> None:
    with headwater.connect(clickhouse="http://127.0.0.1:1", project_id=PROJECT, data_dir=tmp_path) as hw:
        for call in (hw.collections, hw.trend, lambda: hw.schema("a"), lambda: hw.latest("a")):
            with pytest.raises(ConnectError, match="url and read_key"):
                call()
        for delete in (
            lambda: hw.delete_collection("a"),
            lambda: hw.delete_property("a", "b"),
            lambda: hw.delete_events("a", timeframe="today"),
        ):
            with pytest.raises(ConnectError, match="url and master_key"):
                delete()


def test_a_deletion_of_everything_is_asked_for_by_its_name(tmp_path: Path) -> None:
    with headwater.connect("http://127.0.0.1:1", PROJECT, master_key="m", data_dir=tmp_path) as hw:
        with pytest.raises(ValueError, match="delete_collection"):
            hw.delete_events("a", filters=[])
        with pytest.raises(TypeError, match="parameter filter"):
            hw.delete_events("a", filter=[{}])  # type: ignore[call-arg]  # what a user may misspell


def test_a_forked_child_of_a_kafka_client_is_told_to_connect_again(tmp_path: Path) -> None:
    script = f"""
import os, headwater
hw = headwater.connect(transport="kafka", kafka="127.0.0.1:9", project_id="{PROJECT}", data_dir={str(tmp_path)!r})
if not os.fork():
    try:
        hw.add_event("visits", {{}})
    except RuntimeError as error:
        print(error, hw.pending, flush=True)
    hw.flush()
    hw.close()
    os._exit(0)
assert os.wait()[1] == 0
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.endswith("connect again after a fork 0\n")


@pytest.mark.parametrize("connect", [headwater.connect, headwater.connect_async])
def test_what_kafka_needs_is_named(connect: Callable[..., object], tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match=r"kafka=\.\.\."):
        connect(project_id=PROJECT, transport="kafka", data_dir=tmp_path / "none")
    with pytest.raises(ValueError, match="spool"):
        connect(project_id=PROJECT, transport="kafka", kafka="127.0.0.1:9", spool=tmp_path)


def test_a_spool_keeps_the_order_of_events_unless_told_otherwise(tmp_path: Path) -> None:
    def threads(**options: Any) -> int:
        with headwater.connect("http://127.0.0.1:1", PROJECT, write_key="w", **options) as hw:
            writer = hw._writer
            assert isinstance(writer, BatchingWriter)
            return writer._threads

    assert threads() == 2
    assert threads(spool=tmp_path / "a") == 1
    assert threads(spool=tmp_path / "b", senders=3) == 3


async def test_the_asynchronous_client_takes_the_same_options_for_sending() -> None:
    async with headwater.connect_async(
        "http://127.0.0.1:1", PROJECT, write_key="w", batch_events=7, linger=2.0, senders=5, queue_bytes=9
    ) as hw:
        writer = hw._writer
        assert isinstance(writer, BatchingWriter)
        assert (writer._threads, writer._batch_events, writer._linger) == (5, 7, 2.0)


@pytest.mark.parametrize(
    "wrong",
    [{"transport": "pigeon"}, {"batch_events": 0}, {"batch_events": 5_001}, {"senders": 0}, {"when_full": "drop"}],
)
@pytest.mark.parametrize("connect", [headwater.connect, headwater.connect_async])
def test_options_that_say_nothing_are_named(connect: Callable[..., object], wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        connect("http://127.0.0.1:1", PROJECT, write_key="w", **wrong)
