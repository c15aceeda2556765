"""Deletions over HTTP, done by a sink that runs; what is listed before and after."""

import json
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from headwater.settings import Settings
from tests.asking import Api, error_of, running_api
from tests.listing import NOW, counted, get, seen
from tests.querying import event, store
from tests.sinking import running_sink
from tests.waiting import wait_until_async

SECOND = 1_000


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    with running_sink(settings):
        async with running_api(settings) as running:
            yield running


async def delete(api: Api, path: str, **parameters: str) -> httpx.Response:
    key = {"Authorization": api.project.master_key}
    return await api.http.request("DELETE", api.root + path, params=parameters, headers=key, content=b"{}", timeout=60)


async def clicks(api: Api, name: str = "clicks") -> None:
    events = [event({"n": n, "user": {"id": n % 3}}, NOW - n * SECOND) for n in range(9)]
    store(api.settings.clickhouse, api.project.id, name, events)
    await counted(api, name, {"n": seen(int), "user.id": seen(int)}, [one["timestamp"] for one in events])


async def test_a_collection(api: Api) -> None:
    await clicks(api)
    answer = await delete(api, "/events/clicks")
    assert (answer.status_code, answer.content) == (204, b"")
    copies = json.loads(answer.headers["headwater-copies-in-kafka"])
    assert set(copies) == {
        f"{api.settings.topic_prefix}.{rest}"
        for rest in ("raw", "raw.backfill", "dead-letters", f"events.{api.project.id}.clicks")
    }
    assert await api.ask("count", event_collection="clicks") == 0
    assert await get(api, "/events", api.project.read_key) == (200, [])
    assert (await get(api, "/events/clicks", api.project.read_key))[0] == 404
    assert (await get(api, "/latest", api.project.read_key, event_collection="clicks"))[0] == 404
    (listed,) = (await get(api, "/deletions", api.project.master_key))[1]
    assert (listed["id"], listed["what"]) == (answer.headers["headwater-deletion"], "collection")
    assert listed["done_at"] >= listed["deleted_at"]
    later = time.time_ns() // 1_000_000 + 10
    await counted(api, "clicks", {"n": seen(int), "m": seen(str, last=later)}, [NOW])
    schema = (await get(api, "/events/clicks", api.project.read_key))[1]["properties"]
    assert schema.keys() == {"m", "keen.timestamp", "keen.created_at", "keen.id"}, "n did not come again"


async def test_events_by_filters_and_timeframe(api: Api) -> None:
    await clicks(api)
    of_user = json.dumps([{"property_name": "user.id", "operator": "eq", "property_value": 1}])
    span = json.dumps({"start": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW / 1000 - 5)), "end": "2200-01-01"})
    assert (await delete(api, "/events/clicks", filters=of_user, timeframe=span, timezone="0")).status_code == 204
    left = await api.ask("select_unique", event_collection="clicks", target_property="n")
    assert [n for n in left if n < 5] == [0, 2, 3]
    assert (await delete(api, "/events/clicks", timeframe='"this_1_years"', timezone='"UTC"')).status_code == 204
    assert len((await get(api, "/events", api.project.read_key))[1]) == 1, "only a whole collection leaves the list"
    (one, _) = (await get(api, "/deletions", api.project.master_key))[1]
    assert "filters" not in one


async def test_a_property(api: Api) -> None:
    await clicks(api)
    assert (await delete(api, "/events/clicks/properties/user.id")).status_code == 204
    assert await api.ask("count_unique", event_collection="clicks", target_property="user.id") == 0
    assert await api.ask("count", event_collection="clicks") == 9
    schema = (await get(api, "/events/clicks", api.project.read_key))[1]["properties"]
    assert "user.id" not in schema
    assert schema["n"] == "num"
    assert (await get(api, "/events/clicks/properties/user.id", api.project.read_key))[0] == 404
    await counted(api, "clicks", {"user.id": seen(str, last=time.time_ns() // 1_000_000 + 10)}, [NOW])

    async def came_again() -> bool:
        return (await get(api, "/events/clicks/properties/user.id", api.project.read_key))[0] == 200

    await wait_until_async(came_again)


async def test_a_collection_that_is_named_like_a_property(api: Api) -> None:
    await clicks(api)
    await clicks(api, "clicks/properties/n")
    assert (await delete(api, "/events/clicks/properties/n")).status_code == 204
    assert await api.ask("count", event_collection="clicks/properties/n") == 0
    assert await api.ask("count_unique", event_collection="clicks", target_property="n") == 9


async def test_what_is_refused(api: Api) -> None:
    await clicks(api)
    for key, status, name in (
        (api.project.read_key, 403, "AdminOnlyEndpointError"),
        (api.project.write_key, 403, "AdminOnlyEndpointError"),
        ("junk", 401, "InvalidApiKeyError"),
    ):
        for path in ("/events/clicks", "/events/clicks/properties/n"):
            error_of(await api.http.delete(api.root + path, headers={"Authorization": key}), status, name)
        error_of(await api.http.get(f"{api.root}/deletions", headers={"Authorization": key}), status, name)
    regex = json.dumps([{"property_name": "n", "operator": "regex", "property_value": "(?=x)"}])
    error_of(await delete(api, "/events/clicks", filters=regex), 400, "InvalidPropertyValueError")
    error_of(await delete(api, "/events/clicks", filters="[{}]"), 400, "FilterDefinitionError")
    error_of(await delete(api, "/events/clicks", timeframe="soon"), 400, "TimeframeDefinitionError")
    error_of(await delete(api, "/events/clicks/properties/keen.timestamp"), 400, "InvalidPropertyNameError")
    error_of(await delete(api, "/events/$clicks"), 400, "InvalidCollectionNameError")
    assert "filter'" in error_of(await delete(api, "/events/clicks", filter="[]"), 400, "QueryDefinitionError")
    assert await api.ask("count", event_collection="clicks") == 9
    assert (await get(api, "/deletions", api.project.master_key))[1] == []


async def test_a_deletion_is_kept_while_no_sink_runs(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.deletions.DONE_SECONDS", 0.2)
    async with running_api(settings) as api:
        await clicks(api)
        answer = await delete(api, "/events/clicks")
        assert (answer.status_code, answer.json()["done_at"]) == (200, None)
        assert await api.ask("count", event_collection="clicks") == 9
        with running_sink(settings):
            deadline = time.monotonic() + 30
            while await api.ask("count", event_collection="clicks") and time.monotonic() < deadline:
                pass
        assert await api.ask("count", event_collection="clicks") == 0
