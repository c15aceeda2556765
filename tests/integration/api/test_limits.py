"""What a query may take over real connections: who leaves ends it, and one key has only so many at once."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from clickhouse_connect import get_client

from headwater.control import ControlWriter
from headwater.settings import Settings
from tests.integration.api.serving import Served, served
from tests.local_http import HTTP
from tests.querying import event, store, store_many
from tests.waiting import wait_until

START = 1_704_067_200_000
ROWS = 1_000_000


@pytest.fixture(scope="module")
def api(module_settings: Settings) -> Iterator[Served]:
    own = module_settings.model_copy(update={"query_max_concurrent_per_key": 2})
    with served(own, own.data_dir) as running:
        store(own.clickhouse, running.project.id, "slow", [event({"text": "x", "n": 0}, START - 1)])
        store_many(own.clickhouse, running.project.id, "slow", START, ROWS)
        yield running


def slow_question(analysis: str, texts: int) -> dict[str, Any]:
    """Takes the engine a second or more for each hundred texts, in small steps."""
    filters = [{"property_name": "text", "operator": "contains", "property_value": f"y{n}"} for n in range(texts)]
    either = [{"operator": "or", "operands": filters}]
    if analysis == "funnel":
        return {"steps": [{"event_collection": "slow", "actor_property": "n", "filters": either}]}
    return {"event_collection": "slow", "filters": either}


def running(api: Served) -> int:
    """How many statements over the slow collection the engine works on."""
    with get_client(dsn=api.settings.clickhouse, autogenerate_session_id=False) as engine:
        found = engine.query(
            "SELECT count() FROM system.processes WHERE position(query, concat('headwater_', {id:String})) > 0",
            {"id": api.project.id},
        )
        return int(found.result_rows[0][0])


@pytest.mark.parametrize("analysis", ["count", "funnel", "extraction"])
def test_who_leaves_ends_the_query(api: Served, analysis: str) -> None:
    with api.client(timeout=httpx.Timeout(30, read=2)) as http, pytest.raises(httpx.ReadTimeout):
        http.post(f"/queries/{analysis}", json=slow_question(analysis, 1_000))
    metrics = f"http://127.0.0.1:{api.settings.port}/metrics"
    cancelled = f'headwater_api_queries_total{{analysis="{analysis}",status="499"}} 1.0'
    wait_until(lambda: cancelled in HTTP.get(metrics).text, 8)  # long before it would be through
    assert running(api) == 0
    with api.client() as http:  # and the place is free again
        fine = http.post("/queries/count", json={"event_collection": "slow"})
        assert fine.json() == {"result": ROWS + 1}


def test_a_key_has_so_many_queries_at_once(api: Served) -> None:
    with ControlWriter(api.settings) as writer:
        other = writer.create_key(api.project.id, "read", "other").key
    quick = {"event_collection": "slow"}

    def ask_slowly() -> None:
        with api.client() as http:
            assert http.post("/queries/count", json=slow_question("count", 400)).json() == {"result": 0}

    with ThreadPoolExecutor(2) as threads, api.client() as http, api.client(other) as stranger:
        waiting = [threads.submit(ask_slowly) for _ in range(2)]
        wait_until(lambda: running(api) == 2, 5)
        refused = http.post("/queries/count", json=quick)
        assert (refused.status_code, refused.json()["error_code"]) == (429, "TooManyQueriesError")
        assert refused.headers["retry-after"]
        assert stranger.post("/queries/count", json=quick).json() == {"result": ROWS + 1}
        for each in waiting:
            each.result()
        wait_until(lambda: http.post("/queries/count", json=quick).status_code == 200, 10)


def test_a_client_that_stops_reading_an_extraction(api: Served) -> None:
    """Its connection and its place are given back."""
    big = [event({"text": "x" * 10_000}, START + n) for n in range(5_000)]
    store(api.settings.clickhouse, api.project.id, "big", big)
    question = {"event_collection": "big", "content_type": "ndjson"}
    for _ in range(3):
        with api.client() as http, http.stream("POST", "/queries/extraction", json=question) as answer:
            assert next(answer.iter_bytes())
    with api.client() as http:
        started = time.monotonic()
        wait_until(lambda: http.post("/queries/count", json={"event_collection": "big"}).status_code == 200, 10)
        assert time.monotonic() - started < 10
