"""Looking around: the project, its collections and properties, the latest events, the trend."""

from datetime import UTC, datetime

import pytest

from headwater.aggregates import DAY
from tests.asking import Api, error_of
from tests.listing import NOW, counted, get, seen
from tests.querying import event, store

EVERY = {"keen.timestamp": "datetime", "keen.created_at": "datetime", "keen.id": "string"}


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_collections_and_their_schema(api: Api) -> None:
    read = api.project.read_key
    assert await get(api, "/events", read) == (200, [])
    await counted(api, "a b/c", {}, [NOW])
    types = {"price": seen(int, float), "user.id": seen(str), "tags": seen(list), "gone": seen(type(None))}
    await counted(api, "purchases", types | {"mixed": seen(bool, str), "ok": seen(bool)}, [NOW])
    schema = EVERY | {
        "price": "num", "user.id": "string", "tags": "list", "gone": "null", "mixed": "string", "ok": "bool",
    }  # fmt: skip
    purchases = {"name": "purchases", "url": f"{api.root}/events/purchases", "properties": schema}
    odd = {"name": "a b/c", "url": f"{api.root}/events/a%20b%2Fc", "properties": EVERY}
    assert await get(api, "/events", read) == (200, [odd, purchases])
    assert await get(api, "/events", api.project.master_key, include_schema="true") == (200, [odd, purchases])
    assert await get(api, "/events/purchases", read) == (200, purchases)
    for path in ("/events/a%20b%2Fc", "/events/a%20b/c"):
        assert await get(api, path, read) == (200, odd)
    answer = await api.http.get(f"{api.root}/events/none", headers={"Authorization": read})
    assert "none" in error_of(answer, 404, "ResourceNotFoundError")
    answer = await api.http.get(f"{api.root}/events", headers={"Authorization": api.project.write_key})
    error_of(answer, 403, "InvalidApiKeyError")
    assert (await api.http.head(f"{api.root}/events/purchases", headers={"Authorization": read})).status_code == 200


async def test_one_property(api: Api) -> None:
    await counted(api, "purchases", {"user.id": seen(str, int, events=7)}, [NOW])
    status, found = await get(api, "/events/purchases/properties/user.id", api.project.read_key)
    assert (status, found["property_name"], found["type"]) == (200, "user.id", "string")
    assert found["url"] == f"{api.root}/events/purchases/properties/user.id"
    assert (found["types"], found["events"]) == (["string", "num"], 7)
    status, found = await get(api, "/events/purchases/properties/keen.timestamp", api.project.read_key)
    assert (status, found["type"]) == (200, "datetime")
    for path in ("/events/purchases/properties/other", "/events/other/properties/user.id"):
        answer = await api.http.get(api.root + path, headers={"Authorization": api.project.read_key})
        assert "other" in error_of(answer, 404, "ResourceNotFoundError")


async def test_the_project(api: Api) -> None:
    await counted(api, "purchases", {}, [NOW])
    master = api.project.master_key
    status, project = await get(api, "", master)
    assert (status, project["id"], project["name"]) == (200, api.project.id, "test")
    assert project["events"] == [{"name": "purchases", "url": f"{api.root}/events/purchases"}]
    assert api.project.id in project["url"]
    assert (await api.http.get(project["events_url"], params={"api_key": master})).status_code == 200
    assert (await api.http.get(project["queries_url"], params={"api_key": master})).status_code == 200
    listed = await api.http.get("/3.0/projects", headers={"Authorization": master})
    assert listed.json() == [project]
    assert (await api.http.get("/3.0", params={"api_key": master})).json() == {"projects_resource_url": "/3.0/projects"}
    assert (await api.http.get("/")).json()[0]["url"] == "/3.0"
    for path in ("/3.0/projects", "/3.0", api.root):
        answer = await api.http.get(path, headers={"Authorization": api.project.read_key})
        error_of(answer, 403, "AdminOnlyEndpointError")
        error_of(await api.http.get(path, headers={"Authorization": "junk"}), 401, "InvalidApiKeyError")
        error_of(await api.http.get(path), 401, "InvalidApiKeyError")


@pytest.mark.parametrize("apart", [1_000, 600_000, 40 * DAY], ids=["seconds", "minutes", "months"])
async def test_the_last_ten_events(api: Api, apart: int) -> None:
    times = [NOW - n * apart for n in range(15)]
    store(api.settings.clickhouse, api.project.id, "clicks", [event({"n": n}, time) for n, time in enumerate(times)])
    ahead = NOW + 400 * DAY  # of a clock that is wrong
    store(api.settings.clickhouse, api.project.id, "clicks", [event({"n": -1}, ahead)])
    await counted(api, "clicks", {"n": seen(int)}, [*times, ahead])
    status, answer = await get(api, "/latest", api.project.read_key, event_collection="clicks")
    assert (status, [one["n"] for one in answer["result"]]) == (200, list(range(-1, 9)))
    answer = await api.http.get(f"{api.root}/latest", params={"api_key": api.project.read_key})
    error_of(answer, 404, "ResourceNotFoundError")


async def test_the_trend_of_thirty_days(api: Api) -> None:
    one, other = [NOW, NOW, NOW - 29 * DAY, NOW - 30 * DAY], [NOW - DAY]
    await counted(api, "one", {"n": seen(int)}, one)
    await counted(api, "other", {"n": seen(int)}, other)
    trends = [
        (await get(api, "/trend", api.project.read_key, **which))[1]["result"]
        for which in ({"event_collection": "one"}, {"event_collection": "other"}, {})
    ]
    for trend, times in zip(trends, (one, other, [*one, *other]), strict=True):  # also where a day ends meanwhile
        days = [day["timeframe"]["start"][:10] for day in trend]
        assert days == [day_of(parsed(days[-1]) - n * DAY) for n in reversed(range(30))]
        assert days[-1] in (day_of(NOW), day_of(NOW + DAY))
        assert [day["value"] for day in trend] == [sum(day_of(time) == day for time in times) for day in days]


def day_of(time: int) -> str:
    return datetime.fromtimestamp(time / 1000, UTC).date().isoformat()


def parsed(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1000
