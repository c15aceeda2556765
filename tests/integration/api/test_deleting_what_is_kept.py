"""What was computed before a deletion does not outlive it: kept results, datasets, files; in every replica, and after restarts."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from clickhouse_connect import get_client

from headwater.settings import Settings
from tests.asking import Api, error_of, running_api
from tests.querying import event, store
from tests.sinking import deletion_writer, running_sink
from tests.waiting import wait_until

NOW = time.time_ns() // 1_000_000
FILTER = {"property_name": "shop", "operator": "eq", "property_value": "north"}
USERS = {"analysis_type": "select_unique", "event_collection": "sales", "target_property": "user"}
STEPS = [{"event_collection": name, "actor_property": "user", "with_actors": True} for name in ("other", "sales")]
QUERIES: dict[str, dict[str, Any]] = {
    "users": USERS,
    "funnel": {"analysis_type": "funnel", "steps": orjson.dumps(STEPS).decode()},
    "others": USERS | {"event_collection": "other"},
}
DATASET = {
    "query": USERS | {"timeframe": "this_2_years", "interval": "yearly"},
    "index_by": "shop",
    "display_name": "By shop",
}


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    """Users u0 to u3 in two collections, and of both all that is kept."""
    async with running_api(settings) as running:
        for name in ("sales", "other"):
            events = [event({"user": f"u{n}", "shop": "north"}, NOW - n) for n in range(4)]
            store(settings.clickhouse, running.project.id, name, events)
        for name, query in QUERIES.items():
            body = {"query": query, "refresh_rate": 86_400}
            await asked(running, "PUT", f"/queries/saved/{name}", json=body)
        await asked(running, "PUT", "/datasets/shops", json=DATASET)
        yield running


async def asked(api: Api, method: str, path: str, key: str | None = None, **options: Any) -> Any:
    headers = {"Authorization": key or api.project.master_key}
    answer = await api.http.request(method, api.root + path, headers=headers, timeout=60, **options)
    assert answer.status_code in (200, 201, 204), answer.text
    return answer.json() if answer.content else None


async def filtered_key(api: Api) -> str:
    options = {"queries": {"filters": [FILTER]}}
    body = {"name": "k", "permitted": ["queries", "saved_queries", "cached_queries"], "options": options}
    key: str = (await asked(api, "POST", "/keys", json=body))["key"]
    return key


async def kept(api: Api, filtered: str) -> list[set[str]]:
    """The users that each kept answer shows."""
    north = {"index_by": "north", "timeframe": "this_2_years"}
    return [
        set((await asked(api, "GET", "/queries/saved/users/result"))["result"]),
        set((await asked(api, "GET", "/queries/saved/users/result", filtered))["result"]),
        set((await asked(api, "GET", "/queries/saved/funnel/result"))["result"]["actors"][1]),
        {
            user
            for one in (await asked(api, "GET", "/datasets/shops/results", params=north))["result"]
            for user in one["value"]
        },
    ]


async def file_of(api: Api, collection: str) -> str:
    """An extraction that is written, and where its file is."""
    body = {"event_collection": collection, "email": "a@b"}
    path = f"/extractions/{(await asked(api, 'POST', '/queries/extraction', json=body))['extraction']['id']}"
    await until(lambda: asked(api, "GET", path), lambda about: about["status"] == "done")
    return f"{path}/file"


async def until(ask: Callable[[], Any], holds: Callable[[Any], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds(found := await ask()):
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.05)


def rows(api: Api, deletions: str) -> int:
    """How many rows of results the tables hold, made after so many deletions."""
    with get_client(dsn=api.settings.clickhouse, autogenerate_session_id=False) as client:
        where = f"project_id = '{api.project.id}' AND deletions {deletions}"
        return sum(
            int(client.query(f"SELECT count() FROM headwater.{table} WHERE {where}").result_rows[0][0])
            for table in ("saved_results", "dataset_results")
        )


async def all_rows(api: Api) -> list[int]:
    """The rows made before a deletion and after it. The event loop goes on: the API that refreshes them runs in it."""
    return [await asyncio.to_thread(rows, api, deletions) for deletions in ("= 0", "= 1")]


async def files_left(settings: Settings) -> list[Path]:
    """The files of extractions."""
    return list(settings.data_dir.glob("extractions/*/*/*"))


async def test_a_deletion_ends_what_was_kept_in_all_replicas(api: Api) -> None:
    every = {"u0", "u1", "u2", "u3"}
    filtered = await filtered_key(api)
    async with running_api(api.settings, api.project) as other:
        with running_sink(api.settings):
            await until(lambda: asked(api, "GET", "/datasets/shops"), lambda one: one["status"] == "OK")
            assert await kept(api, filtered) == await kept(other, filtered) == [every] * 4
            unread = (await asked(api, "GET", "/queries/saved/others/result"))["run_information"]
            files = [(api, await file_of(api, "sales")), (other, await file_of(api, "sales"))]
            untouched = await file_of(api, "other")
            of_user = [{"property_name": "user", "operator": "eq", "property_value": "u1"}]
            await asked(api, "DELETE", "/events/sales", params={"filters": orjson.dumps(of_user).decode()})
            assert await kept(api, filtered) == [every - {"u1"}] * 4
            await until(lambda: kept(other, filtered), lambda found: found == [every - {"u1"}] * 4)
            for replica, file in files:
                headers = {"Authorization": replica.project.master_key}
                answer = await replica.http.get(replica.root + file, headers=headers)
                assert "deleted" in error_of(answer, 404, "ResourceNotFoundError")
            assert len(list(api.settings.data_dir.glob("extractions/*/*/*.gz"))) == 1
            again = await api.http.get(api.root + untouched, headers={"Authorization": api.project.master_key})
            assert len(orjson.loads(gzip.decompress(again.content))["result"]) == 4
            # Of what no deletion concerns the result stays; of all else none is left in the tables.
            assert (await asked(api, "GET", "/queries/saved/others/result"))["run_information"] == unread
            await until(lambda: all_rows(api), lambda found: found[0] == 1 and found[1] > 3)


async def test_a_deletion_that_was_done_while_the_api_was_away(settings: Settings, api: Api) -> None:
    filtered = await filtered_key(api)
    before = await kept(api, filtered)
    file = await file_of(api, "sales")
    # Nothing here is told: this API's processes know only what they read.
    with running_sink(settings), deletion_writer(settings) as writer:
        deletion = writer.delete(api.project.id, "sales", property_name="user")

        def done() -> bool:
            newest = writer.plane.deletions.get(deletion.id)
            return newest is not None and newest.done_at is not None

        await asyncio.to_thread(wait_until, done, 30)
    async with running_api(settings, api.project) as restarted:
        assert before == [{"u0", "u1", "u2", "u3"}] * 4
        assert await kept(restarted, filtered) == [set()] * 4
        answer = await restarted.http.get(restarted.root + file, headers={"Authorization": api.project.master_key})
        error_of(answer, 404, "ResourceNotFoundError")
    await until(lambda: files_left(settings), lambda left: not left)
