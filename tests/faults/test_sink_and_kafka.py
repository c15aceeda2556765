"""Kafka hangs, is killed, or is not there yet: the sink says that it is not ready, waits, and goes on by itself."""

import secrets
import signal
import threading
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import httpx
import orjson
import pytest
from pydantic import SecretStr

from headwater.settings import Settings, load_settings
from sinks.datums import Collection
from tests.broker import Broker
from tests.local_http import HTTP
from tests.processing import PORTS
from tests.sinking import Tables, encoded, new_collection, produce, running_sink, start_sink
from tests.waiting import wait_until

LIMIT = 60.0
NOTICED_SECONDS = 5.0


@pytest.fixture
def settings(broker: Broker, clickhouse: str, tmp_path: Path) -> Settings:
    port = PORTS.claim(21323)
    return load_settings(
        data_dir=tmp_path,
        secret=SecretStr(secrets.token_hex(32)),
        kafka=broker.bootstrap,
        clickhouse=clickhouse,
        collection_partitions=2,
        sink_flush_seconds=0.1,
        health_port=port,
    )


def probe(settings: Settings, name: str) -> int:
    """The answer of a probe; 0 for none."""
    try:
        return HTTP.get(f"http://127.0.0.1:{settings.health_port}/{name}", timeout=LIMIT).status_code
    except httpx.TransportError:
        return 0


def has(tables: Tables, collection: Collection, count: int) -> bool:
    return tables.count(collection) == count


def test_what_is_new_when_a_sink_that_lost_its_session_comes_back_is_stored(
    broker: Broker, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka gives a member by name its old assignment again, and the sink has known the new topic since before: nothing changes any more."""
    old, new = new_collection(), new_collection()
    goes_on = threading.Event()
    goes_on.set()
    with running_sink(settings) as sink, closing(Tables(settings)) as tables:
        check = sink._membership.check
        # As the sink's own thread has them: a consumer answers one caller at a time, and another would starve.
        members: list[str] = [""]

        def turn() -> None:
            goes_on.wait(LIMIT)
            check()
            members.append(sink._consumer.memberid())

        monkeypatch.setattr(sink._membership, "check", turn)
        produce(settings, old, [encoded(old, {"n": 1})])
        wait_until(partial(has, tables, old, 1), LIMIT)
        member = wait_until(lambda: members[-1], LIMIT)
        goes_on.clear()  # it joins again only when it has seen that its partitions are lost
        broker.kill()
        wait_until(lambda: not sink._consumer.memberid(), LIMIT)
        broker.start()
        produce(settings, new, [encoded(new, {"n": 1})])
        goes_on.set()
        wait_until(lambda: members[-1] not in (None, "", member), LIMIT)
        wait_until(partial(has, tables, new, 1), LIMIT)
        produce(settings, old, [encoded(old, {"n": 2})])
        wait_until(partial(has, tables, old, 2), LIMIT)


def test_a_sink_without_kafka_is_not_ready_until_it_is_back(broker: Broker, settings: Settings, tmp_path: Path) -> None:
    collection, log = new_collection(), tmp_path / "sink.log"
    broker.kill()
    process = start_sink(settings, log)
    try:
        wait_until(lambda: probe(settings, "livez") == 200, LIMIT)
        assert probe(settings, "readyz") == 503
        wait_until(lambda: "Kafka cannot be used yet" in log.read_text(), LIMIT)
        broker.start()
        wait_until(lambda: probe(settings, "readyz") == 200, LIMIT)
        with closing(Tables(settings)) as tables:
            hangs = (partial(broker.signal, signal.SIGSTOP), partial(broker.signal, signal.SIGCONT))
            for number, (fault, mend) in enumerate([hangs, (broker.kill, broker.start)]):
                fault()
                gone = time.monotonic()
                wait_until(lambda: probe(settings, "readyz") == 503, LIMIT)
                assert time.monotonic() - gone < NOTICED_SECONDS
                assert probe(settings, "livez") == 200
                mend()
                wait_until(lambda: probe(settings, "readyz") == 200, LIMIT)
                produce(settings, collection, [encoded(collection, {"n": number})])
                wait_until(partial(has, tables, collection, number + 1), LIMIT)
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    said = log.read_text()
    lines = [orjson.loads(line) for line in said.splitlines() if "cannot be used yet" in line]
    reasons = [line["error"] for line in lines]
    assert reasons
    assert len(reasons) == len(set(reasons)), "a line for each reason: a Kafka that starts has another than none"
    assert said.count("Kafka can be used") == 1
    assert "Traceback" not in said
