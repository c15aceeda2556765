"""Datasets over HTTP: made ahead by one replica, read by index and timeframe; the same as asking directly, whoever asks."""

import asyncio
import json
import time
from typing import Any

import pytest

from api.dataset_answers import DatasetAnswers
from api.extraction_files import ExtractionFiles
from api.kept import KeptTables
from api.queries import Queries
from headwater.control import ControlPlane
from headwater.saved.dataset import read_dataset
from tests.asking import Api, error_of, running_api
from tests.querying import event, store

HOUR = 3_600_000
SHOPS: list[Any] = ["north", "south", 4, "4", None]
QUERY = {
    "analysis_type": "sum",
    "event_collection": "sales",
    "target_property": "price",
    "timeframe": "this_10_days",
    "interval": "daily",
}
FILTER = {"property_name": "item", "operator": "eq", "property_value": "pen"}
ONE = {"index_by": "shop", "display_name": "By shop"}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def api(api: Api) -> Api:
    sell(api, range(0, 240, 5))
    return api


def sell(api: Api, hours_ago: Any) -> None:
    now = time.time_ns() // 1_000_000
    events = [
        event(
            {"price": h + 1, "item": ("pen", "book", "lamp")[h % 3], "customer": {"tier": h % 2}}
            | ({} if SHOPS[h % 4 if h % 7 else 4] is None else {"shop": SHOPS[h % 4]}),
            now - h * HOUR,
        )
        for h in hours_ago
    ]
    store(api.settings.clickhouse, api.project.id, "sales", events)


def master(api: Api) -> dict[str, str]:
    return {"Authorization": api.project.master_key}


async def put(api: Api, name: str, **body: Any) -> dict[str, Any]:
    answer = await api.http.put(f"{api.root}/datasets/{name}", json=body, headers=master(api))
    assert answer.status_code == 201, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def results(api: Api, name: str, index_by: Any, timeframe: Any, key: str | None = None) -> Any:
    texts = {"index_by": index_by, "timeframe": timeframe}
    params = {member: one if isinstance(one, str) else json.dumps(one) for member, one in texts.items()}
    answer = await api.http.get(
        f"{api.root}/datasets/{name}/results", params=params, headers={"Authorization": key or api.project.read_key}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


async def made(api: Api, name: str) -> None:
    """Wait until the dataset was refreshed once."""
    deadline = time.monotonic() + 60
    while True:
        shown = (await api.http.get(f"{api.root}/datasets/{name}", headers=master(api))).json()
        if shown["status"] == "OK":
            return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)


def eq(name: str, value: Any) -> dict[str, Any]:
    return {"property_name": name, "operator": "eq", "property_value": value}


async def asked(api: Api, query: dict[str, Any], timeframe: str, *filters: dict[str, Any]) -> list[Any]:
    """The values that the same question gives when it is asked directly."""
    parameters = {name: one for name, one in query.items() if name != "analysis_type"}
    own = query.get("filters", [])
    result = await api.ask(
        query["analysis_type"],
        **parameters | {"timeframe": timeframe, "filters": [*own, *filters], "zero_fill": False},
    )
    return [bucket["value"] for bucket in result]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"timezone": "Asia/Kolkata", "filters": [FILTER]},
        {"group_by": ["item"]},
        {"analysis_type": "average", "interval": "hourly", "timeframe": "this_5_days"},
        {"analysis_type": "select_unique", "target_property": "item"},
        {
            "analysis_type": "multi_analysis",
            "analyses": {
                "n": {"analysis_type": "count"},
                "m": {"analysis_type": "maximum", "target_property": "price"},
            },
        },
    ],
)
async def test_kept_or_asked_the_values_are_the_same(
    api: Api, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    query = QUERY | change
    await put(api, "d", query=query, **ONE)
    expected = {
        shop: await asked(api, query, "previous_3_days", eq("shop", shop)) for shop in ("north", "south", "none")
    }
    for shop, values in expected.items():
        found = await results(api, "d", shop, "previous_3_days")
        assert [bucket["value"] for bucket in found] == values
    await made(api, "d")

    async def refused(*_: Any) -> None:
        raise AssertionError("what is kept is not asked for")

    monkeypatch.setattr(Queries, "answer", refused)
    for shop, values in expected.items():
        found = await results(api, "d", shop, "previous_3_days")
        assert [bucket["value"] for bucket in found] == values


async def test_indexes_of_several_properties_and_of_every_form(api: Api) -> None:
    await put(api, "two", query=QUERY, index_by=["shop", "customer.tier"], display_name="x")
    await put(api, "one", query=QUERY, **ONE)
    await made(api, "two")
    await made(api, "one")
    expected = await asked(api, QUERY, "this_5_days", eq("shop", "south"), eq("customer.tier", 1))
    assert sum(expected) > 0
    for index_by in ({"customer.tier": 1, "shop": "south"}, ["south", 1]):
        found = await results(api, "two", index_by, "this_5_days")
        assert [bucket["value"] for bucket in found] == expected
    number, text = [await asked(api, QUERY, "this_5_days", eq("shop", value)) for value in (4, "4")]
    for given, values in (("4", text), ('"4"', text), ([4], number), ({"shop": 4}, number)):
        assert [bucket["value"] for bucket in await results(api, "one", given, "this_5_days")] == values


async def test_what_was_kept_long_ago_stays_and_the_last_two_days_are_made_anew(api: Api) -> None:
    settings = api.settings
    await put(api, "d", query=QUERY, **ONE)
    await made(api, "d")
    before = await results(api, "d", "north", "this_10_days")
    sell(api, [h for h in range(240) if h % 4 == 0 and h % 7])
    assert await results(api, "d", "north", "this_10_days") == before
    # What the hourly refresh does, an hour later:
    with ControlPlane(settings).running() as plane:
        queries, tables = Queries(settings, ExtractionFiles(settings, plane)), KeptTables(settings)
        dataset = read_dataset(plane.record("dataset", f"{api.project.id}:d"))
    assert dataset is not None
    await DatasetAnswers(queries, tables, plane.deletions).refresh(dataset)
    tables.close()
    queries.close()
    now = await asked(api, QUERY, "this_10_days", eq("shop", "north"))
    async with running_api(settings, api.project) as other:  # this one looks again in an hour
        after = [bucket["value"] for bucket in await results(other, "d", "north", "this_10_days")]
    assert after[-3:] == now[-3:]
    assert after[:-4] == [bucket["value"] for bucket in before][:-4]
    assert after != now


async def test_the_life_of_a_dataset(api: Api) -> None:
    shown = await put(api, "d", query=QUERY, **ONE)
    assert (shown["dataset_name"], shown["display_name"], shown["index_by"]) == ("d", "By shop", ["shop"])
    assert (shown["query"], shown["status"]) == (QUERY, "Created")
    assert shown["last_scheduled_date"] == "1970-01-01T00:00:00.000Z"
    await made(api, "d")
    one = f"{api.root}/datasets/d"
    again = await api.http.put(one, json={"query": QUERY} | ONE, headers=master(api))
    error_of(again, 409, "ResourceAlreadyExistsError")
    await put(api, "c", query=QUERY, **ONE)
    listed = (await api.http.get(f"{api.root}/datasets?limit=1", headers=master(api))).json()
    assert ([one["dataset_name"] for one in listed["datasets"]], listed["count"]) == (["c"], 2)
    following = (await api.http.get(listed["next_page_url"], headers=master(api))).json()
    assert ([one["dataset_name"] for one in following["datasets"]], following["next_page_url"]) == (["d"], None)
    assert (await api.http.delete(one, headers=master(api))).status_code == 204
    for answer in (
        await api.http.delete(one, headers=master(api)),
        await api.http.get(one, headers=master(api)),
        await api.http.get(f"{one}/results?index_by=north&timeframe=this_2_days", headers=master(api)),
    ):
        error_of(answer, 404, "ResourceNotFoundError")
    for query in ("index_by=north", "timeframe=this_2_days", "index_by=&timeframe=this_2_days"):
        answer = await api.http.get(f"{api.root}/datasets/c/results?{query}", headers=master(api))
        error_of(answer, 400, "DatasetDefinitionError")
    bad = await api.http.put(f"{api.root}/datasets/a%20b", json={"query": QUERY} | ONE, headers=master(api))
    error_of(bad, 400, "DatasetDefinitionError")


async def test_who_may_see_a_dataset(api: Api) -> None:
    await put(api, "d", query=QUERY, **ONE)
    await made(api, "d")

    async def key_with(*permitted: str, **options: Any) -> str:
        body = {"name": "k", "permitted": permitted, "options": options}
        answer = await api.http.post(f"{api.root}/keys", json=body, headers=master(api))
        assert answer.status_code == 201, answer.text
        key: str = answer.json()["key"]
        return key

    async def status(key: str, path: str) -> int:
        return (await api.http.get(f"{api.root}/datasets{path}", headers={"Authorization": key})).status_code

    read, other = "/d/results?index_by=north&timeframe=this_2_days", "/d/results?index_by=south&timeframe=this_2_days"
    number = "/d/results?index_by=4&timeframe=this_2_days"
    north = {"allowed": {"d": {"index_by": {"shop": ["north"]}}}}
    for key, expected in (
        (await key_with("datasets"), [200, 200, 200, 200, 200]),
        (await key_with("queries", "saved_queries"), [403, 403, 403, 403, 403]),
        (await key_with("datasets", datasets={"operations": ["read"]}), [403, 403, 200, 200, 200]),
        (await key_with("datasets", datasets={"operations": []}), [403, 403, 403, 403, 403]),
        (await key_with("datasets", datasets={"blocked": ["d"]}), [200, 403, 403, 403, 403]),
        (await key_with("datasets", datasets={"allowed": ["x"]}), [200, 403, 403, 403, 403]),
        (await key_with("datasets", datasets=north), [200, 200, 200, 403, 403]),
        (await key_with("datasets", datasets={"allowed": {"d": {}}}), [200, 200, 200, 200, 200]),
        (await key_with("datasets", datasets={"allowed": {"d": {"index_by": {"x": 1}}}}), [200, 200, 403, 403, 403]),
    ):
        assert [await status(key, path) for path in ("", "/d", read, other, number)] == expected
        for method in ("PUT", "DELETE"):
            answer = await api.http.request(method, f"{api.root}/datasets/d", headers={"Authorization": key})
            error_of(answer, 403, "AdminOnlyEndpointError")
    # Only the number: what looks like the text 4 is not shown to a key that may see 4.
    four = await key_with("datasets", datasets={"allowed": {"d": {"index_by": {"shop": 4}}}})
    expected_values = await asked(api, QUERY, "this_10_days", eq("shop", 4))
    assert [one["value"] for one in await results(api, "d", "4", "this_10_days", four)] == expected_values
    assert await status(four, '/d/results?index_by="4"&timeframe=this_2_days') == 403

    filtered = await key_with("datasets", queries={"filters": [FILTER]})
    found = [one["value"] for one in await results(api, "d", "north", "this_10_days", filtered)]
    assert found == await asked(api, QUERY, "this_10_days", eq("shop", "north"), FILTER)
    assert found != await asked(api, QUERY, "this_10_days", eq("shop", "north"))
