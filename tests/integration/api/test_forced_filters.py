"""Nobody gets past the filters of a key: each attempt that we could think of, over HTTP, on real events.

Account 4 has 3 sales and account 5 has 5, which say so in every value; the key may see account 4 only.
"""

import asyncio
import json
import time
from typing import Any

import pytest
from keen import scoped_keys

from headwater.control import ControlWriter
from tests.asking import Api, error_of, running_api
from tests.querying import event, store

START = 1_704_067_200_000  # 2024-01-01
HIDDEN = "of-account-5"
FILTER = {"property_name": "account.id", "operator": "eq", "property_value": 4}
EVERYTHING = {"property_name": "account.id", "operator": "exists", "property_value": True}
OTHER = {"property_name": "account.id", "operator": "eq", "property_value": 5}
EITHER = {"operator": "or", "operands": [EVERYTHING, OTHER]}
SPAN = {"start": "2024-01-01T00:00:00Z", "end": "2024-02-01T00:00:00Z"}
STEP = {"event_collection": "sales", "actor_property": "user"}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def api(api: Api) -> Api:
    for collection in ("sales", "returns"):
        of = {4: "of-account-4", 5: HIDDEN}
        store(
            api.settings.clickhouse,
            api.project.id,
            collection,
            [
                event({"account": {"id": n}, "user": f"{of[n]}-{i}", "price": 10 ** (n - 4)}, START + i)
                for n, count in ((4, 3), (5, 5))
                for i in range(count)
            ],
        )
    return api


async def keys(api: Api) -> dict[str, str]:
    """A key of each kind that can have filters."""
    made = await api.http.post(
        f"{api.root}/keys",
        json={
            "name": "of account 4",
            "permitted": ["queries", "saved_queries", "cached_queries", "datasets", "schema"],
            "options": {"queries": {"filters": [FILTER]}},
        },
        headers={"Authorization": api.project.master_key},
    )
    scoped = scoped_keys.encrypt(api.project.master_key, {"filters": [FILTER], "allowed_operations": ["read"]})
    return {"access": made.json()["key"], "scoped": scoped.decode()}


# What each attempt sends: analysis, parameters of the URL, the body.
COUNTS: list[tuple[dict[str, Any] | str, dict[str, Any] | str | None]] = [
    ({}, {}),
    ({}, {"filters": None}),
    ({}, {"filters": ""}),
    ({}, {"filters": []}),
    ({}, {"filters": "[]"}),
    ({}, {"filters": EITHER}),
    ({}, {"filters": [EITHER]}),
    ({}, {"filters": json.dumps([EITHER])}),
    ({}, {"filters": json.dumps(EITHER)}),
    ({}, {"filters": [EVERYTHING], "Filters": [], "filter": [], "filters[]": []}),
    ({}, {"options": {"queries": {"filters": []}}, "permitted": ["queries"], "is_active": True}),
    ({}, {"timeframe": SPAN, "timezone": "UTC", "interval": None, "group_by": None, "max_age": 600}),
    ({}, '{"event_collection": "sales", "filters": [], "filters": []}'),
    ({"filters": json.dumps([EITHER])}, {"filters": []}),
    ({"filters": json.dumps([EITHER])}, {}),
    ({"filters": "[]"}, None),
    ({"filters": json.dumps(EITHER), "event_collection": "sales"}, None),
    (f"filters=[]&filters={json.dumps([EITHER])}&event_collection=returns&event_collection=sales", None),
    ("filters=[]&filters=&event_collection=sales&filters", None),
    ({"event_collection": "returns"}, {"event_collection": "returns"}),
]


async def test_no_parameter_shows_events_of_others_in_a_count(api: Api) -> None:
    for kind, key in (await keys(api)).items():
        for parameters, body in COUNTS:
            url = f"{api.root}/queries/count?api_key={key}"
            url += f"&{parameters}" if isinstance(parameters, str) else ""
            params = (
                None if isinstance(parameters, str) else {"event_collection": "sales"} | parameters | {"api_key": key}
            )
            if isinstance(body, dict):
                body = {"event_collection": "sales"} | body
            answer = (
                await api.http.get(url, params=params)
                if body is None
                else await api.http.post(
                    url, params=params, content=body if isinstance(body, str) else json.dumps(body)
                )
            )
            assert (answer.status_code, answer.json()) == (200, {"result": 3}), (kind, parameters, body)


ANSWERS: list[tuple[str, dict[str, Any]]] = [
    ("select_unique", {"target_property": "user"}),
    ("select_unique", {"target_property": "user", "filters": [EITHER]}),
    ("select_unique", {"target_property": "account.id", "group_by": ["user"]}),
    ("count", {"group_by": ["user"], "interval": "daily", "timeframe": SPAN}),
    ("count", {"group_by": json.dumps(["user"]), "order_by": {"property_name": "user"}, "limit": 100}),
    ("maximum", {"target_property": "price"}),
    ("extraction", {}),
    ("extraction", {"latest": 100, "property_names": ["user", "account.id"]}),
    ("extraction", {"filters": [OTHER], "property_names": "user"}),
    ("extraction", {"content_type": "text/csv"}),
    ("extraction", {"filters": "", "event_collection": "returns"}),
    ("multi_analysis", {"analyses": {"a": {"analysis_type": "select_unique", "target_property": "user"}}}),
    (
        "multi_analysis",
        {"analyses": {"a": {"analysis_type": "select_unique", "target_property": "user", "filters": []}}},
    ),
    ("funnel", {"steps": [STEP | {"with_actors": True}]}),
    ("funnel", {"steps": json.dumps([STEP | {"with_actors": True, "filters": [EITHER]}])}),
    ("funnel", {"steps": [STEP, STEP | {"event_collection": "returns", "with_actors": True, "filters": []}]}),
    ("funnel", {"steps": [STEP | {"with_actors": True, "filters": json.dumps(EITHER)}], "filters": [EITHER]}),
    ("funnel", {"steps": [STEP, STEP | {"inverted": True, "with_actors": True, "filters": [OTHER]}]}),
    ("retention", {"first_event": STEP, "returning_event": STEP, "timeframe": SPAN}),
    ("COUNT", {}),
    ("Extraction", {}),
    ("extraction ", {}),
    ("extraction/", {}),
    ("saved", {}),
    ("../queries/extraction", {}),
]


async def test_no_analysis_shows_values_of_others(api: Api) -> None:
    for kind, key in (await keys(api)).items():
        shown = 0
        for analysis, parameters in ANSWERS:
            url = f"{api.root}/queries/{analysis}"
            question = {"event_collection": "sales"} | parameters
            texts = {name: one if isinstance(one, str) else json.dumps(one) for name, one in question.items()}
            for answer in (
                await api.http.post(url, json=question, headers={"Authorization": key}),
                await api.http.get(url, params=texts, headers={"Authorization": key}),
            ):
                assert answer.status_code in (200, 307, 400, 403, 404, 405), (kind, analysis, answer.text)
                assert HIDDEN not in answer.text, (kind, analysis, parameters)
                if analysis == "maximum":
                    assert answer.json() == {"result": 1}
                shown += "of-account-4" in answer.text
        assert shown >= 14  # the attempts are real questions, not only refusals


async def test_a_funnels_reply_has_the_steps_as_they_were_asked(api: Api) -> None:
    own = {"property_name": "user", "operator": "exists", "property_value": True}
    question = {"steps": [STEP, STEP | {"filters": [own]}]}
    body = {"query": question | {"analysis_type": "funnel"}, "refresh_rate": 86_400}
    saved = f"{api.root}/queries/saved/steps"
    assert (await api.http.put(saved, json=body, headers={"Authorization": api.project.master_key})).status_code == 201
    for key in (await keys(api)).values():
        headers = {"Authorization": key}
        funnel = (await api.http.post(f"{api.root}/queries/funnel", json=question, headers=headers)).json()
        assert funnel["result"] == [3, 3]
        assert [step["filters"] for step in funnel["steps"]] == [[], [own]]
        assert (await api.http.get(f"{saved}/result", headers=headers)).json()["result"] == funnel


async def test_the_rest_of_the_api_shows_nothing_either(api: Api) -> None:
    for key in (await keys(api)).values():
        for path in (
            "",
            "/live",
            "/keys",
            "/events",
            "/events/sales",
            "/events/sales/properties/user",
            "/queries/saved",
            "/datasets",
        ):
            answer = await api.http.get(f"{api.root}{path}", headers={"Authorization": key})
            assert HIDDEN not in answer.text, path
            if path in ("", "/live", "/keys", "/queries/saved"):
                assert answer.status_code in (403, 404), path


async def test_a_file_from_before_the_filters_is_not_for_the_key_any_more(api: Api) -> None:
    master = {"Authorization": api.project.master_key}
    body = {"name": "k", "permitted": ["queries"], "options": {}}
    key = (await api.http.post(f"{api.root}/keys", json=body, headers=master)).json()["key"]
    own = {"Authorization": key}
    asked = await api.http.post(
        f"{api.root}/queries/extraction", json={"event_collection": "sales", "email": "a@b"}, headers=own
    )
    one = f"{api.root}/extractions/{asked.json()['extraction']['id']}"
    deadline = time.monotonic() + 30
    while (await api.http.get(one, headers=own)).json()["status"] != "done":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    file = f"{one}/file"
    assert (await api.http.get(file, headers=own)).status_code == 200
    restricted = body | {"options": {"queries": {"filters": [FILTER]}}}
    assert (await api.http.post(f"{api.root}/keys/{key}", json=restricted, headers=master)).status_code == 200
    for path in (one, file):
        error_of(await api.http.get(path, headers=own), 403, "InvalidApiKeyError")
    assert (await api.http.get(f"{api.root}/extractions", headers=own)).json() == {"extractions": []}
    assert (await api.http.get(file, headers=master)).status_code == 200
    await api.http.post(f"{api.root}/keys/{key}", json=body | {"permitted": ["schema"]}, headers=master)
    error_of(await api.http.get(file, headers=own), 403, "InvalidApiKeyError")
    await api.http.post(f"{api.root}/keys/{key}", json=body, headers=master)
    assert (await api.http.get(file, headers=own)).status_code == 200
    await api.http.post(f"{api.root}/keys/{key}/revoke", headers=master)
    error_of(await api.http.get(file, headers=own), 401, "InvalidApiKeyError")


async def test_a_deployment_may_refuse_scoped_keys_altogether(api: Api) -> None:
    strict = api.settings.model_copy(update={"scoped_keys": False})
    question = {"event_collection": "sales"}
    statuses = {"access": 200, "scoped": 401}
    async with running_api(strict, api.project) as other:
        for kind, key in (await keys(api)).items():
            headers = {"Authorization": key}
            answer = await other.http.post(f"{api.root}/queries/count", json=question, headers=headers)
            assert answer.status_code == statuses[kind]


async def test_a_scoped_key_writes_only_where_it_may_and_dies_with_its_master_key(api: Api) -> None:
    with ControlWriter(api.settings) as writer:
        master = writer.create_key(api.project.id, "master", "second")
        key = scoped_keys.encrypt(master.key, {"filters": [FILTER], "allowed_operations": ["read"]}).decode()
        for spelled in (key, key.upper()):
            count = f"{api.root}/queries/count?event_collection=sales&api_key={spelled}"
            answer = await api.http.get(count)
            assert (answer.status_code, answer.json()) == (200, {"result": 3})
        other = writer.create_project("other")
        assert (await api.http.get(count.replace(api.project.id, other.id))).status_code == 401
        writer.revoke_key(master.key)
        assert (await api.http.get(f"{count}&x=1")).status_code in (200, 401)  # until this service has read the record
    # A key that was never seen is looked up at the topic's end, so from here on the revocation is known.
    assert (await api.http.get(f"{api.root}/queries/count?api_key=unknown")).status_code == 401
    assert (await api.http.get(count)).status_code == 401
