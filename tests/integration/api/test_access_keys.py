"""Access keys over HTTP: made, shown, changed, revoked and deleted by the master key; what they permit and what they hide."""

from typing import Any

import pytest

from headwater.control import ControlPlane
from tests.asking import Api, error_of

OPTIONS: dict[str, Any] = {
    "writes": {"autofill": {"customer": {"id": 4}}},
    "queries": {"filters": [{"property_name": "customer.id", "operator": "eq", "property_value": 4}]},
    "saved_queries": {"allowed": ["a"], "blocked": ["b"], "filters": []},
    "cached_queries": {"allowed": ["a"]},
    "datasets": {"operations": ["read"], "allowed": {"d": {"index_by": {"customer.id": [4]}}, "e": {}}},
}


pytestmark = pytest.mark.asyncio(loop_scope="module")


def master(api: Api) -> dict[str, str]:
    return {"Authorization": api.project.master_key}


async def made(api: Api, **members: Any) -> dict[str, Any]:
    """A key as the API shows it after making it."""
    answer = await api.http.post(f"{api.root}/keys", json={"name": "k"} | members, headers=master(api))
    assert answer.status_code == 201, answer.text
    key: dict[str, Any] = answer.json()
    return key


async def test_the_life_of_a_key(api: Api) -> None:
    key = await made(api, name="board", permitted=["queries", "writes"], options=OPTIONS)
    assert len(key["key"]) == 64
    assert key["key"] == key["key"].upper()
    assert key == {
        "key": key["key"],
        "name": "board",
        "is_active": True,
        "permitted": ["writes", "queries"],
        "project_id": api.project.id,
        "options": OPTIONS,
    }
    one = f"{api.root}/keys/{key['key']}"
    count = f"{api.root}/queries/count?event_collection=x&api_key={key['key']}"
    assert (await api.http.get(one, headers=master(api))).json() == key
    assert (await api.http.get(count)).status_code == 200

    revoked = await api.http.post(f"{one}/revoke", headers=master(api))
    assert (revoked.status_code, revoked.json()) == (200, key | {"is_active": False})
    error_of(await api.http.get(count), 401, "InvalidApiKeyError")
    assert (await api.http.post(f"{one}/unrevoke", headers=master(api))).json() == key
    assert (await api.http.get(count)).status_code == 200

    replaced = await api.http.post(one, json={"name": "other", "permitted": ["schema"]}, headers=master(api))
    unset = dict.fromkeys(OPTIONS)
    assert replaced.json() == key | {"name": "other", "permitted": ["schema"], "options": unset}
    error_of(await api.http.get(count), 403, "InvalidApiKeyError")

    deleted = await api.http.delete(one, headers=master(api))
    assert (deleted.status_code, deleted.content) == (204, b"")
    for answer in (
        await api.http.get(one, headers=master(api)),
        await api.http.delete(one, headers=master(api)),
        await api.http.post(f"{one}/unrevoke", headers=master(api)),
        await api.http.post(one, json={"name": "back"}, headers=master(api)),
    ):
        error_of(answer, 404, "ResourceNotFoundError")
    assert (await api.http.get(f"{api.root}/keys", headers=master(api))).json() == []
    error_of(await api.http.get(count), 401, "InvalidApiKeyError")


async def test_what_was_written_survives_a_restart_and_a_deleted_key_stays_known(api: Api) -> None:
    kept = await made(api, permitted=["queries"], options={"queries": OPTIONS["queries"]})
    gone = await made(api, permitted=["queries"])
    await api.http.delete(f"{api.root}/keys/{gone['key']}", headers=master(api))
    with ControlPlane(api.settings).running() as plane:
        key, deleted = plane.key(kept["key"]), plane.key(gone["key"])
        assert key is not None
        assert key.grant.filters == OPTIONS["queries"]["filters"]
        assert deleted is not None
        assert (deleted.active, deleted.deleted, deleted.version) == (False, True, 2)


async def test_keys_are_listed_in_pages_and_by_name(api: Api) -> None:
    names = ["a", "b", "c"]
    for name in names:
        await made(api, name=name)

    async def listed(query: str) -> list[str]:
        answer = await api.http.get(f"{api.root}/keys{query}", headers=master(api))
        assert answer.status_code == 200, answer.text
        return [key["name"] for key in answer.json()]

    assert await listed("") == names
    assert await listed("?name=b") == ["b"]
    assert await listed("?per_page=2") == ["a", "b"]
    assert await listed("?per_page=2&page=2") == ["c"]
    assert await listed("?page=2") == []
    for query in ("?page=0", "?per_page=-1", "?page=x"):
        error_of(await api.http.get(f"{api.root}/keys{query}", headers=master(api)), 400, "InvalidAccessKeyError")


async def test_only_the_master_key_manages_keys(api: Api) -> None:
    powerful = await made(api, permitted=["writes", "queries", "saved_queries", "cached_queries", "datasets", "schema"])
    one = f"{api.root}/keys/{powerful['key']}"
    routes = [
        ("GET", f"{api.root}/keys"),
        ("POST", f"{api.root}/keys"),
        ("GET", one),
        ("POST", one),
        ("DELETE", one),
        ("POST", f"{one}/revoke"),
        ("POST", f"{one}/unrevoke"),
    ]
    for method, url in routes:
        for key in (powerful["key"], api.project.read_key, api.project.write_key):
            answer = await api.http.request(method, url, headers={"Authorization": key})
            error_of(answer, 403, "AdminOnlyEndpointError")
        error_of(await api.http.request(method, url), 401, "InvalidApiKeyError")
        other = url.replace(api.project.id, "0" * 24)
        error_of(await api.http.request(method, other, headers=master(api)), 404, "ResourceNotFoundError")
    error_of(await api.http.get(f"{api.root}/keys/{'0' * 64}", headers=master(api)), 404, "ResourceNotFoundError")
    # The project's own keys are none of these: nobody is to replace or delete the master key by accident.
    own = f"{api.root}/keys/{api.project.master_key}"
    error_of(await api.http.delete(own, headers=master(api)), 404, "ResourceNotFoundError")


BAD_KEYS: list[tuple[dict[str, Any], str]] = [
    ({"name": None}, "name"),
    ({"name": 5}, "name"),
    ({"name": " "}, "name"),
    ({"name": "x" * 257}, "256"),
    ({"is_active": "yes"}, "is_active"),
    ({"permitted": "queries"}, "permitted"),
    ({"permitted": ["everything"]}, "everything"),
    ({"permitted": ["master"]}, "master"),
    ({"options": []}, "options"),
    ({"options": {"query": {}}}, "query"),
    ({"options": {"queries": {"filter": []}}}, "options.queries"),
    ({"options": {"queries": {"filters": {}}}}, "options.queries.filters"),
    ({"options": {"queries": {"filters": [{"property_name": "a", "operator": "like"}]}}}, "like"),
    ({"options": {"saved_queries": {"allowed": "a"}}}, "options.saved_queries.allowed"),
    ({"options": {"saved_queries": {"filters": {"a": 1}}}}, "options.saved_queries.filters.a"),
    ({"options": {"datasets": {"operations": ["delete"]}}}, "delete"),
    ({"options": {"datasets": {"allowed": {"d": {"index": {}}}}}}, "options.datasets.allowed.d"),
    ({"options": {"datasets": {"allowed": {"d": {"index_by": {"a": [[]]}}}}}}, "index_by.a"),
    ({"options": {"writes": {"autofill": []}}}, "options.writes.autofill"),
    ({"options": {"writes": {"autofill": {"a.b": 1}}}}, "a.b"),
    ({"options": {"writes": {"autofill": {"keen": {"secret": 1}}}}}, "keen"),
]


async def test_what_no_key_can_be(api: Api) -> None:
    for members, part in BAD_KEYS:
        answer = await api.http.post(f"{api.root}/keys", json={"name": "k"} | members, headers=master(api))
        assert part in error_of(answer, 400, "InvalidAccessKeyError"), members


async def test_a_key_permits_what_it_says_and_nothing_else(api: Api) -> None:
    count, live = f"{api.root}/queries/count?event_collection=x", f"{api.root}/live"
    for permitted, status in (([], 403), (["writes"], 403), (["queries"], 200)):
        key = {"Authorization": (await made(api, permitted=permitted))["key"]}
        assert (await api.http.get(count, headers=key)).status_code == status
        assert (await api.http.get(live, headers=key)).status_code == status
    filtered = await made(api, permitted=["queries"], options={"queries": OPTIONS["queries"]})
    error_of(await api.http.get(live, headers={"Authorization": filtered["key"]}), 403, "InvalidApiKeyError")
