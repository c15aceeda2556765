"""The API over HTTP with a real Kafka and a real engine: routes, keys, arrival forms, errors, live figures."""

import json
import time
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from headwater.aggregates import Aggregates, table_key
from headwater.control import ControlWriter
from headwater.kafka import create_topics, durable_producer_config
from headwater.topics import state_topic
from tests.asking import Api, error_of, running_api
from tests.querying import event, store

DAY = 86_400_000
START = 1_704_067_200_000  # 2024-01-01
PARTITIONS = 3


pytestmark = pytest.mark.asyncio(loop_scope="module")


def purchases(api: Api) -> None:
    store(
        api.settings.clickhouse,
        api.project.id,
        "purchases",
        [event({"price": i, "shop": "ab"[i % 2]}, START + i * DAY) for i in range(10)],
    )


async def test_every_way_to_ask_gives_the_same_answer(api: Api) -> None:
    purchases(api)
    url = f"{api.root}/queries/sum"
    read, master = api.project.read_key, api.project.master_key
    timeframe = {"start": "2024-01-02T00:00:00Z", "end": "2024-01-05T00:00:00Z"}
    question = {"event_collection": "purchases", "target_property": "price", "timeframe": timeframe}
    in_url = question | {"timeframe": json.dumps(timeframe)}
    answers = [
        await api.http.post(url, json=question, headers={"Authorization": read}),
        await api.http.post(url, json=question, headers={"Authorization": master}),
        await api.http.post(
            f"{url}?api_key={read}", content=json.dumps(question), headers={"Content-Type": "text/plain"}
        ),
        await api.http.get(url, params=in_url | {"api_key": read}),
        await api.http.get(url, params=in_url, headers={"Authorization": read}),
        await api.http.get(f"{url}?api_key={read}&&{httpx.QueryParams(in_url)}&"),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()) == (200, {"result": 1 + 2 + 3})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["content-type"] == "application/json"


async def test_what_an_answer_took_is_told_to_who_asks(api: Api) -> None:
    purchases(api)
    question = {"event_collection": "purchases", "target_property": "price", "group_by": "shop"}
    read = {"Authorization": api.project.read_key}
    plain = (await api.http.post(f"{api.root}/queries/sum", json=question, headers=read)).json()
    step = {"event_collection": "purchases", "actor_property": "shop"}
    spring = {"start": "2023-03-01T00:00:00Z", "end": "2023-04-01T00:00:00Z"}
    for answer, scanned, properties in (
        (
            await api.http.post(f"{api.root}/queries/sum", json=question | {"include_metadata": True}, headers=read),
            10,
            2,
        ),
        (
            await api.http.get(f"{api.root}/queries/sum", params=question | {"include_metadata": "true"}, headers=read),
            10,
            2,
        ),
        (
            await api.http.post(
                f"{api.root}/queries/count",
                json={"event_collection": "purchases", "timeframe": spring, "include_metadata": True},
                headers=read,
            ),
            0,
            1,
        ),
        (
            await api.http.post(
                f"{api.root}/queries/funnel", json={"steps": [step, step], "include_metadata": True}, headers=read
            ),
            10,
            1,
        ),
    ):
        took = answer.json()["execution_metadata"]
        assert (took["events_scanned"], took["properties_per_event"]) == (scanned, properties)
        assert took["total_properties_scanned"] == scanned * properties
        assert 0 < took["total_processing_time"] < 60
        assert "/queries/sum" not in str(answer.url) or answer.json()["result"] == plain["result"]
    assert plain.keys() == {"result"}
    wrong = await api.http.post(f"{api.root}/queries/sum", json=question | {"include_metadata": "maybe"}, headers=read)
    assert "include_metadata" in error_of(wrong, 400, "QueryDefinitionError")


async def test_parameters_that_mean_nothing_are_ignored(api: Api) -> None:
    purchases(api)
    result = await api.ask(
        "count",
        event_collection="purchases",
        analysis_type="sum",
        metadata={},
        group_by=None,
        interval=None,
        limit=None,
        order_by=None,
        zero_fill=None,
        target_property="price",
        max_age=60,
    )
    assert result == 10


async def test_sum_beyond_64_bits(api: Api) -> None:
    store(api.settings.clickhouse, api.project.id, "big", [event({"n": 2**63 - 1}, START + i) for i in range(3)])
    assert await api.ask("sum", event_collection="big", target_property="n") == 3 * (2**63 - 1)


async def test_nothing_is_there_yet(api: Api) -> None:
    assert await api.ask("count", event_collection="none") == 0
    assert await api.ask("average", event_collection="none", target_property="x") is None
    assert await api.ask("count", event_collection="none", group_by="x") == []
    assert await api.ask("extraction", event_collection="none") == []


async def test_projects_and_keys(api: Api) -> None:
    url = f"{api.root}/queries/count"
    question = {"event_collection": "purchases"}
    unknown = f"/3.0/projects/{'0' * 24}/queries/count"
    assert error_of(await api.http.get(unknown, headers={"Authorization": "junk"}), 404, "ResourceNotFoundError")
    assert error_of(await api.http.get(url, params=question), 401, "InvalidApiKeyError")
    for key in ("junk", api.project.read_key[:-1], "ü"):
        answer = await api.http.get(url, params=question | {"api_key": key})
        assert key not in error_of(answer, 401, "InvalidApiKeyError")
    answer = await api.http.get(url, params=question, headers={"Authorization": api.project.write_key})
    assert "write key" in error_of(answer, 403, "InvalidApiKeyError")
    assert (await api.http.get(f"{api.root}/live", headers={"Authorization": "junk"})).status_code == 401


async def test_a_key_that_was_just_made_or_revoked(api: Api) -> None:
    with ControlWriter(api.settings) as writer:
        key = writer.create_key(api.project.id, "read", "fresh")
        asked = f"{api.root}/queries/count?event_collection=x&api_key={key.key}"
        assert (await api.http.get(asked)).status_code == 200
        other = writer.create_project("other")
        assert (await api.http.get(asked.replace(api.project.id, other.id))).status_code == 401


NO_QUESTIONS: list[tuple[bytes, int, str, str]] = [
    (b"{", 400, "InvalidBodyError", "JSON"),
    (b"[]", 400, "InvalidBodyError", "object"),
    (b'{"event_collection": NaN}', 400, "InvalidBodyError", "JSON"),
    (b"\xff", 400, "InvalidBodyError", "JSON"),
    (b"", 400, "QueryDefinitionError", "event_collection"),
    (b'{"event_collection": "x", "timeframe": "soon"}', 400, "TimeframeDefinitionError", "soon"),
    (b'{"event_collection": "x", "interval": "daily"}', 400, "TimeframeDefinitionError", "interval"),
    (b" " * 10_000_001, 413, "InvalidBodyError", "10,000,000"),
]


async def test_bodies_that_are_no_question(api: Api) -> None:
    for body, status, name, part in NO_QUESTIONS:
        answer = await api.http.post(
            f"{api.root}/queries/count", content=body, headers={"Authorization": api.project.read_key}
        )
        assert part in error_of(answer, status, name)


async def test_routes_that_are_not_there(api: Api) -> None:
    key = {"Authorization": api.project.read_key}
    error_of(await api.http.get("/3.0/nothing"), 404, "ResourceNotFoundError")
    error_of(await api.http.delete(f"{api.root}/queries/count", headers=key), 405, "MethodNotAllowedError")
    message = error_of(await api.http.get(f"{api.root}/queries/nothing", headers=key), 404, "ResourceNotFoundError")
    assert "count_unique" in message


async def test_analyses_are_listed(api: Api) -> None:
    links = (await api.http.get(f"{api.root}/queries", headers={"Authorization": api.project.read_key})).json()
    assert links["count_url"] == f"{api.root}/queries/count"
    assert links["minimum"] == f"{api.root}/queries/minimum"


async def test_head_and_preflight(api: Api) -> None:
    key = {"Authorization": api.project.read_key}
    answer = await api.http.head(f"{api.root}/queries/count?event_collection=x", headers=key)
    assert answer.status_code == 200
    preflight = await api.http.options(f"{api.root}/queries/count")
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "authorization" in preflight.headers["access-control-allow-headers"]


async def test_limits_of_time_and_clickhouse_away(api: Api) -> None:
    store(api.settings.clickhouse, api.project.id, "t", [event({"n": i}, START + i) for i in range(20_000)])
    question = {"event_collection": "t", "group_by": ["n"], "api_key": api.project.read_key}
    for changes, status, name in (
        ({"query_max_seconds": 0.001}, 504, "QueryTimeoutError"),
        ({"query_max_groups": 1}, 400, "QueryGroupLimitError"),
        ({"clickhouse": "http://default@127.0.0.1:1"}, 503, "ServiceUnavailableError"),
    ):
        async with running_api(api.settings.model_copy(update=changes), api.project) as other:
            answer = await other.http.get(f"{api.root}/queries/count", params=question)
            message = error_of(answer, status, name)
            assert "Traceback" not in message
            assert api.project.read_key not in message


async def test_live_figures_are_merged_over_partitions(api: Api) -> None:
    key = {"Authorization": api.project.read_key}
    assert (await api.http.get(f"{api.root}/live", headers=key)).json() == {"collections": {}}
    topic = state_topic(api.settings)
    create_topics(api.settings, [NewTopic(topic, PARTITIONS, 1)])
    now = time.time_ns() // 1_000_000
    producer = Producer(durable_producer_config(api.settings))
    for partition in range(PARTITIONS):
        counted = Aggregates()
        counted.add([now, now], [now, now], [100, 50], offset=7, now=now)
        counted_key = table_key(partition, "aggregates", api.project.id, "purchases")
        producer.produce(topic, counted.encode(), counted_key, partition=partition)
        producer.produce(topic, b"other", table_key(partition, "watermark"), partition=partition)
    assert producer.flush(10) == 0
    deadline = time.monotonic() + 20
    collections: dict[str, Any] = {}
    while time.monotonic() < deadline and collections.get("purchases", {}).get("events") != 2 * PARTITIONS:
        collections = (await api.http.get(f"{api.root}/live", headers=key)).json()["collections"]
    assert collections["purchases"]["events"] == 2 * PARTITIONS
    assert collections["purchases"]["bytes"] == 150 * PARTITIONS
    assert sum(n for _, n in collections["purchases"]["received"]["minutes"]) == 2 * PARTITIONS
