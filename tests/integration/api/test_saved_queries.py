"""Saved queries over HTTP: kept, renamed, deleted; answered now, or by the last result that one replica makes at its rate."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient

from api.queries import Queries, Reply
from headwater.control import ControlPlane, ControlWriter
from headwater.control.records import Record
from headwater.kafka import client_config
from headwater.saved.definition import SavedQuery, saved_record
from headwater.settings import Settings
from headwater.topics import control_topic
from tests.asking import Api, error_of, running_api
from tests.querying import event, store

START = 1_704_067_200_000  # 2024-01-01
COUNT = {"analysis_type": "count", "event_collection": "sales", "timeframe": None}
FILTER = {"property_name": "account", "operator": "eq", "property_value": 4}


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with running_api(settings) as running:
        sell(running, 3)
        yield running


def sell(api: Api, count: int) -> None:
    store(
        api.settings.clickhouse,
        api.project.id,
        "sales",
        [event({"account": 3 + i % 2, "user": f"u{i}"}, START + i) for i in range(count)],
    )


def master(api: Api) -> dict[str, str]:
    return {"Authorization": api.project.master_key}


async def put(api: Api, name: str, status: int = 201, **body: Any) -> dict[str, Any]:
    answer = await api.http.put(f"{api.root}/queries/saved/{name}", json=body, headers=master(api))
    assert answer.status_code == status, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def result(api: Api, name: str, key: str | None = None) -> Any:
    headers = {"Authorization": key or api.project.read_key}
    answer = await api.http.get(f"{api.root}/queries/saved/{name}/result", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


async def key_with(api: Api, *permitted: str, **options: Any) -> str:
    answer = await api.http.post(
        f"{api.root}/keys", json={"name": "k", "permitted": permitted, "options": options}, headers=master(api)
    )
    assert answer.status_code == 201, answer.text
    key: str = answer.json()["key"]
    return key


async def until(condition: Any, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is really asked of ClickHouse on behalf of saved queries, while it is counted."""
    asked: list[str] = []
    answer = Queries.answer

    async def counted(
        self: Queries, project_id: str, analysis: str, parameters: dict[str, Any], *, background: bool = False
    ) -> Reply:
        asked.append(analysis)
        return await answer(self, project_id, analysis, parameters, background=background)

    monkeypatch.setattr(Queries, "answer", counted)
    return asked


async def test_the_life_of_a_saved_query(api: Api) -> None:
    one = f"{api.root}/queries/saved/sold"
    assert (await api.http.get(f"{api.root}/queries/saved", headers=master(api))).json() == []
    made = await put(api, "sold", query=COUNT, refresh_rate=0, metadata={"display_name": "Sold"})
    assert made["query_name"] == "sold"
    assert (made["query"], made["refresh_rate"], made["metadata"]) == (COUNT, 0, {"display_name": "Sold"})
    assert made["urls"]["cached_query_results_url"] == f"{one}/result"
    assert (await api.http.get(one, headers=master(api))).json() == made
    answer = (await api.http.get(f"{one}/result?api_key={api.project.read_key}&")).json()
    assert answer.pop("result") == 3
    assert answer.pop("run_information")["last_run_status"] == 200
    assert answer.items() <= made.items()

    changed = await put(api, "sold", 200, query=COUNT | {"filters": [FILTER]}, refresh_rate=0)
    assert changed["metadata"] == {}
    assert changed["created_date"] == made["created_date"]
    assert changed["last_modified_date"] > made["last_modified_date"]
    assert await result(api, "sold") == 1

    renamed = await put(api, "sold", 200, query=COUNT, refresh_rate=0, query_name="sales")
    assert renamed["query_name"] == "sales"
    error_of(await api.http.get(one, headers=master(api)), 404, "ResourceNotFoundError")
    listed = (await api.http.get(f"{api.root}/queries/saved", headers=master(api))).json()
    assert [saved["query_name"] for saved in listed] == ["sales"]
    await put(api, "other", query=COUNT)
    answer = await api.http.put(
        f"{api.root}/queries/saved/other", json={"query": COUNT, "query_name": "sales"}, headers=master(api)
    )
    error_of(answer, 409, "ResourceAlreadyExistsError")

    assert (await api.http.delete(f"{api.root}/queries/saved/sales", headers=master(api))).status_code == 204
    for answer in (
        await api.http.delete(f"{api.root}/queries/saved/sales", headers=master(api)),
        await api.http.get(f"{api.root}/queries/saved/sales", headers=master(api)),
        await api.http.get(f"{api.root}/queries/saved/sales/result", headers=master(api)),
    ):
        error_of(answer, 404, "ResourceNotFoundError")
    assert (await put(api, "sales", query=COUNT))["query_name"] == "sales"


async def test_every_analysis_has_its_result_in_keens_form(api: Api) -> None:
    step = {"event_collection": "sales", "actor_property": "user"}
    year = {"start": "2024-01-01T00:00:00Z", "end": "2025-01-01T00:00:00Z"}
    series = [{"value": 3, "timeframe": {"start": "2024-01-01T00:00:00.000Z", "end": "2025-01-01T00:00:00.000Z"}}]
    events = [{"user": f"u{i}"} for i in range(3)]
    for name, query, expected in (
        ("series", COUNT | {"interval": "yearly", "timeframe": year}, series),
        ("groups", COUNT | {"group_by": "account"}, [{"account": 3, "result": 2}, {"account": 4, "result": 1}]),
        (
            "events",
            COUNT | {"analysis_type": "extraction", "property_names": "user", "content_type": "text/csv"},
            events,
        ),
    ):
        await put(api, name, query=query, refresh_rate=14400)
        for _ in range(2):
            assert await result(api, name) == expected
    await put(api, "funnel", query={"analysis_type": "funnel", "steps": [step]}, refresh_rate=14400)
    for _ in range(2):
        funnel = await result(api, "funnel")
        assert funnel["result"] == [3]
        assert funnel["steps"][0]["event_collection"] == "sales"


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "query"),
    ({"query": []}, "query"),
    ({"query": {"event_collection": "sales"}}, "analysis_type"),
    ({"query": {"analysis_type": "sum", "event_collection": "sales"}}, "target_property"),
    ({"query": COUNT, "refresh_rate": -1}, "refresh_rate"),
    ({"query": COUNT, "refresh_rate": "daily"}, "refresh_rate"),
    ({"query": COUNT, "refresh_rate": 172_801}, "refresh_rate"),
    ({"query": COUNT, "metadata": []}, "metadata"),
    ({"query": COUNT, "query_name": "a b"}, "query_name"),
]


async def test_what_cannot_be_saved(api: Api) -> None:
    for body, part in BAD:
        answer = await api.http.put(f"{api.root}/queries/saved/x", json=body, headers=master(api))
        assert answer.status_code == 400, body
        assert part in answer.json()["message"]
    answer = await api.http.put(f"{api.root}/queries/saved/a%20b", json={"query": COUNT}, headers=master(api))
    error_of(answer, 400, "SavedQueryDefinitionError")


async def test_a_cached_result_stays_until_it_is_due_and_waiters_share_a_run(api: Api, runs: list[str]) -> None:
    await put(api, "cached", query=COUNT, refresh_rate=14400)
    assert await asyncio.gather(*(result(api, "cached") for _ in range(20))) == [3] * 20
    sell(api, 5)
    assert await result(api, "cached") == 3
    assert runs == ["count"]
    took = f"{api.root}/queries/saved/cached/result?include_metadata=true"
    assert (await api.http.get(took, headers=master(api))).json()["execution_metadata"]["events_scanned"] == 0
    await put(api, "cached", 200, query=COUNT, refresh_rate=0)
    assert await result(api, "cached") == 8
    assert (await api.http.get(took, headers=master(api))).json()["execution_metadata"]["events_scanned"] == 8
    await put(api, "cached", 200, query=COUNT, refresh_rate=14400)
    assert await result(api, "cached") == 8


async def test_replicas_share_the_first_run_too(api: Api, runs: list[str]) -> None:
    async with running_api(api.settings, api.project) as other:
        admin, group = AdminClient(client_config(api.settings)), f"{control_topic(api.settings)}.refresher"

        async def both_have_joined() -> bool:
            try:
                found = admin.describe_consumer_groups([group])[group].result(10)
            except KafkaException:  # its coordinator is being looked up
                return False
            return found.state == ConsumerGroupState.STABLE and len(found.members) == 2

        await until(both_have_joined)
        for name in ("first", "second"):
            runs.clear()
            await put(api, name, query=COUNT, refresh_rate=14400)
            asked = [result(one, name) for one in (api, other) for _ in range(5)]
            assert await asyncio.gather(*asked) == [3] * 10
            assert runs == ["count"]


async def test_waiters_take_one_place_of_their_key_and_refreshes_none(settings: Settings) -> None:
    async with running_api(settings.model_copy(update={"query_max_concurrent_per_key": 1})) as api:
        sell(api, 3)
        await put(api, "now", query=COUNT)
        answer = Queries.answer
        begun, go_on, refreshed = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def held(self: Queries, *given: Any, background: bool = False) -> Reply:
            """What keys ask for waits for the word."""
            if background:
                reply = await answer(self, *given, background=True)
                refreshed.set()
                return reply
            begun.set()
            await go_on.wait()
            return await answer(self, *given)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Queries, "answer", held)
            waiting = [asyncio.create_task(result(api, "now")) for _ in range(5)]
            await begun.wait()
            url, question = f"{api.root}/queries/count", {"event_collection": "sales"}
            refused = await api.http.post(url, json=question, headers={"Authorization": api.project.read_key})
            error_of(refused, 429, "TooManyQueriesError")
            assert (await api.http.post(url, json=question, headers=master(api))).json() == {"result": 3}
            await put(api, "often", query=COUNT, refresh_rate=14400)
            await asyncio.wait_for(refreshed.wait(), 30)
            go_on.set()
            assert await asyncio.gather(*waiting) == [3] * 5
        assert await api.ask("count", event_collection="sales") == 3


async def test_one_replica_refreshes_and_all_answer_after_a_restart(api: Api, runs: list[str]) -> None:
    saved = SavedQuery(api.project.id, "often", 1, COUNT, 2, None, 0, 0)

    def records(now: int) -> list[Record]:
        return [saved_record(saved)]

    with ControlWriter(api.settings) as writer:
        writer.write(records)
    async with running_api(api.settings, api.project) as other:

        async def both(count: int) -> bool:
            return [await result(one, "often") for one in (api, other)] == [count] * 2

        await until(lambda: both(3))
        sell(other, 5)
        await until(lambda: both(8))
        before, started = len(runs), time.monotonic()
        await asyncio.sleep(6)
        refreshes = (time.monotonic() - started) / 2
        assert refreshes - 2 <= len(runs) - before <= refreshes + 1
    runs.clear()
    async with running_api(api.settings, api.project) as restarted:
        assert await result(restarted, "often") == 8


async def test_who_may_see_a_saved_query(api: Api) -> None:
    await put(api, "a", query=COUNT, refresh_rate=14400)
    await put(api, "b", query=COUNT)
    every = ("saved_queries", "cached_queries")
    for key, seen in (
        (await key_with(api, *every), {"a": 3, "b": 3}),
        (await key_with(api, "queries", "schema"), {}),
        (await key_with(api, "cached_queries"), {"a": 3}),
        (await key_with(api, *every, saved_queries={"blocked": ["a"]}), {"b": 3}),
        (await key_with(api, "saved_queries", saved_queries={"allowed": ["a"]}), {"a": 3}),
        (await key_with(api, *every, saved_queries={"allowed": []}, cached_queries={"allowed": ["a"]}), {"a": 3}),
        (await key_with(api, *every, queries={"filters": [FILTER]}), {"a": 1, "b": 1}),
        (await key_with(api, *every, saved_queries={"filters": [FILTER]}), {"a": 1, "b": 1}),
        (await key_with(api, *every, saved_queries={"filters": {"a": [FILTER]}}), {"a": 1, "b": 3}),
    ):
        for name in ("a", "b"):
            for _ in range(2):
                answer = await api.http.get(f"{api.root}/queries/saved/{name}/result?filters=[]&api_key={key}")
                if name in seen:
                    assert (answer.status_code, answer.json()["result"]) == (200, seen[name])
                else:
                    error_of(answer, 403, "InvalidApiKeyError")
        for method, path in (("GET", ""), ("GET", "/a"), ("PUT", "/a"), ("DELETE", "/a")):
            answer = await api.http.request(method, f"{api.root}/queries/saved{path}", headers={"Authorization": key})
            error_of(answer, 403, "AdminOnlyEndpointError")
    assert await result(api, "a") == 3  # results under filters are kept apart
    answer = await api.http.get(f"{api.root}/queries/saved/none/result", headers=master(api))
    error_of(answer, 404, "ResourceNotFoundError")


async def test_a_cached_answer_takes_milliseconds(api: Api) -> None:
    await put(api, "cached", query=COUNT, refresh_rate=14400)
    await result(api, "cached")
    times = []
    for _ in range(100):
        started = time.perf_counter()
        assert await result(api, "cached") == 3
        times.append(time.perf_counter() - started)
    assert sorted(times)[50] < 0.01


async def test_definitions_are_records_of_the_control_plane(api: Api) -> None:
    await put(api, "kept", query=COUNT)
    with ControlPlane(api.settings).running() as plane:
        record = plane.record("saved_query", f"{api.project.id}:kept")
        assert record is not None
        assert record["version"] == 1
