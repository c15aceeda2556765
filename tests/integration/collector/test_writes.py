"""Keen's writing routes on a real collector, with the raw topic read back."""

import base64
import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from headwater.control import ControlWriter, Project
from headwater.identity import event_id
from headwater.topics import backfill_topic
from tests.collecting import Collector, raw_records

AWKWARD: dict[str, Any] = {
    "date-like": "2026-01-31",
    "number-like": "007.50",
    "emoji": "\N{GRINNING FACE} \u00e4\u0000\u2028",
    "largest": 2**63 - 1,
    "smallest": -(2**63),
    "float": 0.1,
    "nested": {"list": [1, [2, [3, {"a": None}]], {}], "empty": {}},
    "a`b": "x'; DROP TABLE events --",
    "x'; DROP TABLE": True,
    "\N{GRINNING FACE}": "${not.ours}",
    "p" * 255: "q" * 20_000,
}


@pytest.fixture
def http(collector: Collector) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{collector.url}/3.0/projects/{collector.project.id}", timeout=15) as client:
        yield client


@pytest.fixture
def project(collector: Collector) -> Project:
    return collector.project


def stored(collector: Collector, collection: str) -> list[dict[str, Any]]:
    """The raw records of a collection."""
    return [
        record for record in raw_records(collector.settings, collector.project.id) if record["collection"] == collection
    ]


def test_lines_arrive_as_they_were_sent_with_the_ids_and_times_of_their_fields(
    collector: Collector, http: httpx.Client, project: Project
) -> None:
    events: list[Any] = [{"n": n, "at": 1_769_860_800 + n} | AWKWARD for n in range(250)]
    texts = [json.dumps(event, ensure_ascii=n % 2 == 0) for n, event in enumerate(events)]
    texts[7:7] = ["", "{oops}", "[]", '{"n": 1.5, "at": 0}']
    for content in (body := "\r\n".join(texts).encode(), gzip.compress(body)):  # sent again, they are the same events
        headers = {"Authorization": project.write_key, "Content-Type": "application/x-ndjson"}
        if content is not body:
            headers["Content-Encoding"] = "gzip"
        answer = http.post("/events/lines?id_field=n&timestamp_field=at", content=content, headers=headers)
        assert answer.status_code == 200
        results = answer.json()["lines"]
        assert [n for n, result in enumerate(results) if not result["success"]] == [7, 8, 9]
        assert results[7]["error"]["description"].startswith("The line is not JSON")
        assert len(results) == 253
    records = stored(collector, "lines")
    assert len(records) == 500
    by_id = {record["id"]: record for record in records}
    assert len(by_id) == 250
    for event in events:
        record = by_id[event_id(project.id, str(event["n"]))]
        assert json.loads(record["properties"]) == event
        assert record["timestamp"] == event["at"] * 1000
        assert (record["id_given"], record["time_given"]) == (True, True)


def test_one_event_arrives_as_it_was_sent(collector: Collector, http: httpx.Client, project: Project) -> None:
    answer = http.post("/events/single", json=AWKWARD, headers={"Authorization": project.write_key})
    assert (answer.status_code, answer.json()) == (201, {"created": True})
    assert answer.headers["access-control-allow-origin"] == "*"
    [record] = stored(collector, "single")
    assert json.loads(record["properties"]) == AWKWARD
    assert record["project_id"] == project.id
    assert record["timestamp"] == record["received_at"]
    assert (record["ip"], record["user_agent"], record["addons"]) == (None, None, None)


def test_a_retry_is_the_same_event(collector: Collector, http: httpx.Client, project: Project) -> None:
    event = {"a": 1, "keen": {"uniqueness_token": "order 7", "timestamp": "2026-01-31T12:00:00.123+01:00"}}
    for key in (project.write_key, project.master_key):
        assert http.post("/events/retried", json=event, params={"api_key": key}).status_code == 201
    records = stored(collector, "retried")
    assert {(r["id"], r["timestamp"], r["properties"]) for r in records} == {
        (event_id(project.id, "order 7"), 1_769_857_200_123, '{"a":1}')
    }
    assert len(records) == 2


@pytest.mark.parametrize("collection", ["User posts.new", "a/b", "x'; DROP TABLE", "a`b", "100%"])
def test_names_of_collections_survive_the_path(
    collector: Collector, http: httpx.Client, project: Project, collection: str
) -> None:
    path = "/" + "".join(f"%{byte:02X}" for byte in collection.encode())
    assert http.post(f"/events{path}", json={}, headers={"Authorization": project.write_key}).status_code == 201
    assert len(stored(collector, collection)) == 1


def test_a_slash_may_stand_in_the_path_as_it_is(collector: Collector, http: httpx.Client, project: Project) -> None:
    """The Python client does not encode it."""
    assert http.post("/events/c d/e", json={}, headers={"Authorization": project.write_key}).status_code == 201
    assert len(stored(collector, "c d/e")) == 1


def test_a_beacon(collector: Collector, http: httpx.Client, project: Project) -> None:
    answer = http.post(
        f"/events/beacon?api_key={project.write_key}&&",
        content=b'{"page": "/"}',
        headers={"Content-Type": "text/plain;charset=UTF-8"},
    )
    assert answer.status_code == 201
    assert len(stored(collector, "beacon")) == 1


def test_the_sender_of_placeholders(collector: Collector, http: httpx.Client, project: Project) -> None:
    headers = {
        "Authorization": project.write_key,
        "User-Agent": "Browser/1.0",
        "X-Forwarded-For": "6.6.6.6, 2001:db8::7",
    }
    event = {"ip": "${keen.ip}", "ua": "${keen.user_agent}"}
    assert http.post("/events/sender", json=event, headers=headers).status_code == 201
    [record] = stored(collector, "sender")
    assert (record["ip"], record["user_agent"]) == ("2001:db8::7", "Browser/1.0")
    assert json.loads(record["properties"]) == event


def test_a_batch_answers_for_each_event_in_order(collector: Collector, http: httpx.Client, project: Project) -> None:
    batch = {
        "batch a": [{"n": 1}, {"x.y": 2}, {"n": 3}, [], {"keen": {"timestamp": "no"}}, {"keen": 1}, {"keen": {"z": 1}}],
        "_bad": [{"n": 4}],
        "batch b": [{"n": 5}, {"n": 2**63}, {"a": "x" * 900_000}],
        "batch c": [],
    }
    answer = http.post("/events", json=batch, headers={"Authorization": project.write_key})
    assert answer.status_code == 200
    results = answer.json()
    assert list(results) == list(batch)
    named = {
        name: [result.get("error", {}).get("name") for result in collection] for name, collection in results.items()
    }
    assert named == {
        "batch a": [None, "InvalidPropertyNameError", None, "InvalidEventError", "InvalidPropertyValueError",
                    "NamespaceTypeError", "InvalidKeenNamespaceProperty"],
        "_bad": ["InvalidCollectionNameError"],
        "batch b": [None, "InvalidPropertyValueError", "InvalidPropertyValueError"],
        "batch c": [],
    }  # fmt: skip
    for collection in results.values():
        for result in collection:
            assert result == {"success": True} or (result["success"] is False and result["error"]["description"])
    kept = [json.loads(r["properties"])["n"] for name in batch for r in stored(collector, name)]
    assert sorted(kept) == [1, 3, 5]


@pytest.mark.parametrize(
    ("broken", "name"),
    [
        (b'{"n": NaN}', "InvalidPropertyValueError"),
        (b'{"n": "\xff\xfe"}', "InvalidPropertyValueError"),
        (b'{"n": "\\udc00"}', "InvalidPropertyValueError"),
        (b'{"n": tru}', "InvalidEventError"),
        (b'{"n": ' + b"[" * 3_000 + b"]" * 3_000 + b"}", "InvalidPropertyValueError"),
        (b'{"n": ' + b"9" * 400 + b"}", "InvalidPropertyValueError"),
    ],
)
def test_what_is_no_json_fails_alone(
    collector: Collector, http: httpx.Client, project: Project, broken: bytes, name: str
) -> None:
    before = len(stored(collector, "around"))
    body = b'{"around": [{"n": 1}, ' + broken + b', {"n": "\\"]}"}], "broken": [' + broken + b"]}"
    answer = http.post("/events", content=body, headers={"Authorization": project.write_key})
    assert answer.status_code == 200, answer.text
    results = answer.json()
    assert [result["success"] for result in results["around"]] == [True, False, True]
    assert results["around"][1] == results["broken"][0]
    assert results["broken"][0]["error"]["name"] == name
    if name != "InvalidEventError" and b"[[" not in broken:
        assert "'n'" in results["broken"][0]["error"]["description"]
    assert len(stored(collector, "around")) == before + 2


def test_a_thousand_events_at_once(collector: Collector, http: httpx.Client, project: Project) -> None:
    events = [{"n": n} for n in range(1_000)]
    answer = http.post("/events", json={"thousand": events}, headers={"Authorization": project.write_key})
    assert answer.json() == {"thousand": [{"success": True}] * 1_000}
    records = stored(collector, "thousand")
    assert sorted(json.loads(r["properties"])["n"] for r in records) == list(range(1_000))
    assert len({r["id"] for r in records}) == 1_000


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)]
)
def test_compressed_bodies(
    collector: Collector, http: httpx.Client, project: Project, encoding: str, compress: Any
) -> None:
    headers = {"Authorization": project.write_key, "Content-Encoding": encoding}
    assert http.post(f"/events/{encoding}", content=compress(b'{"a": 1}'), headers=headers).status_code == 201
    assert len(stored(collector, encoding)) == 1


def get(http: httpx.Client, collection: str, data: bytes, key: str, **more: str) -> httpx.Response:
    """A write by GET."""
    return http.get(f"/events/{collection}", params={"api_key": key, "data": base64.b64encode(data).decode(), **more})


def test_writes_by_get(collector: Collector, http: httpx.Client, project: Project) -> None:
    image = get(http, "image", b'{"a": "\xf0\x9f\x98\x80 \xed\xa0\xbd\xed\xb8\x80?>"}', project.write_key)
    assert (image.status_code, image.headers["content-type"]) == (200, "image/gif")
    assert image.content.startswith(b"GIF89a\x01\x00\x01\x00")
    assert json.loads(stored(collector, "image")[0]["properties"]) == {"a": "\N{GRINNING FACE} \N{GRINNING FACE}?>"}

    script = get(http, "script", b'{"a": 1}', project.write_key, jsonp="keen.callbacks.c1", c="clv1", modified="1")
    assert script.text.endswith('keen.callbacks.c1({"created":true});')
    assert script.headers["content-type"].startswith("application/javascript")
    refused = get(http, "script", b'{"a.b": 1}', project.write_key, jsonp="f")
    assert '"error_code":"InvalidPropertyNameError"' in refused.text

    redirect = get(http, "redirect", b'{"a": 1}', project.write_key, redirect="https://example.org/x?y=1")
    assert (redirect.status_code, redirect.headers["location"]) == (302, "https://example.org/x?y=1")
    assert [len(stored(collector, name)) for name in ("script", "redirect")] == [1, 1]


def test_a_head_writes_nothing(collector: Collector, http: httpx.Client, project: Project) -> None:
    data = base64.b64encode(b"{}").decode()
    http.head("/events/head", params={"api_key": project.write_key, "data": data})
    assert stored(collector, "head") == []


@pytest.mark.parametrize("more", [{"jsonp": "alert(1)//"}, {"jsonp": ""}, {"redirect": "javascript:alert(1)"}])
def test_writes_by_get_inject_nothing(http: httpx.Client, project: Project, more: dict[str, str]) -> None:
    answer = get(http, "inject", b"{}", project.write_key, **more)
    assert "alert" not in answer.text
    assert answer.status_code == 400 or more == {"jsonp": ""}


def test_a_preflight(http: httpx.Client) -> None:
    headers = {
        "Origin": "https://shop.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,headwater-backfill",
    }
    answer = http.options("/events/c", headers=headers)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    allowed = answer.headers["access-control-allow-headers"]
    assert all(name in allowed for name in ("authorization", "content-type", "keen-sdk", "headwater-backfill"))
    assert "POST" in answer.headers["access-control-allow-methods"]


def test_history_goes_to_a_topic_of_its_own(collector: Collector, http: httpx.Client, project: Project) -> None:
    headers = {"Authorization": project.write_key}
    history = headers | {"Headwater-Backfill": "true"}
    assert http.post("/events/old", json={"n": 1}, headers=history).status_code == 201
    batch = http.post("/events", json={"old": [{"n": 2}, {"a.b": 1}]}, headers=history)
    assert [each["success"] for each in batch.json()["old"]] == [True, False]
    assert http.post("/events/old", json={"n": 3}, headers=headers | {"Headwater-Backfill": "false"}).status_code == 201
    wrong = http.post("/events", json={"old": [{"n": 4}]}, headers=headers | {"Headwater-Backfill": "yes"})
    assert (wrong.status_code, wrong.json()["error_code"]) == (400, "InvalidHeaderError")
    assert "Headwater-Backfill is 'yes'" in wrong.json()["message"]
    old = raw_records(collector.settings, project.id, backfill_topic(collector.settings))
    assert sorted(record["properties"] for record in old) == ['{"n":1}', '{"n":2}']
    assert [record["properties"] for record in stored(collector, "old")] == ['{"n":3}']


def refusals(project: Project) -> Iterator[tuple[str, bytes, dict[str, str], int, str]]:
    """Path below the project's events, body, headers, and the answer's status and name."""
    write = {"Authorization": project.write_key}
    gzipped = write | {"Content-Encoding": "gzip"}
    yield "/c", b"{}", {"Authorization": "0" * 64}, 401, "InvalidApiKeyError"
    yield "/c", b"{}", {"Authorization": "Bearer x"}, 401, "InvalidApiKeyError"
    yield "/c", b"{}", {}, 401, "InvalidApiKeyError"
    yield "/c", b"{}", {"Authorization": project.read_key}, 403, "InvalidApiKeyError"
    yield "", b"{}", {"Authorization": project.read_key}, 403, "InvalidApiKeyError"
    yield "/c", b"", write, 400, "InvalidEventError"
    yield "/c", b'{"a": 1', write, 400, "InvalidEventError"
    yield "/c", b"[1]", write, 400, "InvalidEventError"
    yield "/c", b'{"a": {"b": NaN}}', write, 400, "InvalidPropertyValueError"
    yield "/c", b'{"a": "\xff"}', write, 400, "InvalidPropertyValueError"
    yield "/c", b'{"a": 9223372036854775808}', write, 400, "InvalidPropertyValueError"
    yield "/c", b'{"a": -18446744073709551616}', write, 400, "InvalidPropertyValueError"
    yield "/c", b'{"a":' * 101 + b"1" + b"}" * 101, write, 400, "InvalidPropertyValueError"
    yield "/c", b'{"a":' * 5000 + b"1" + b"}" * 5000, write, 400, "InvalidPropertyValueError"
    yield "/c", b'{"a.b": 1}', write, 400, "InvalidPropertyNameError"
    yield "/c", b'{"$a": 1}', write, 400, "InvalidPropertyNameError"
    yield "/c", b'{"a": {" ": 1}}', write, 400, "InvalidPropertyNameError"
    yield "/c", b'{"%s": 1}' % (b"p" * 256), write, 400, "InvalidPropertyNameError"
    yield "/c", b'{"keen": {"a": 1}}', write, 400, "InvalidKeenNamespaceProperty"
    yield "/c", b'{"keen": "a"}', write, 400, "NamespaceTypeError"
    yield "/c", b'{"keen": {"timestamp": "1066-10-14"}}', write, 400, "InvalidPropertyValueError"
    yield "/_c", b"{}", write, 400, "InvalidCollectionNameError"
    yield "/%C3%A4", b"{}", write, 400, "InvalidCollectionNameError"
    yield "/%FF", b"{}", write, 400, "InvalidCollectionNameError"
    yield "/" + "c" * 65, b"{}", write, 400, "InvalidCollectionNameError"
    yield "/", b"{}", write, 400, "InvalidCollectionNameError"
    yield "/c", b'{"a": "%s"}' % (b"x" * 900_000), write, 413, "InvalidPropertyValueError"
    yield "/c", b" " * 10_000_001, write, 413, "InvalidBatchError"
    yield "/c", gzip.compress(b" " * 10_000_001), gzipped, 413, "InvalidBatchError"
    yield "/c", b"{}", gzipped, 400, "InvalidEventError"
    yield "/c", b"{}", write | {"Content-Encoding": "br"}, 415, "InvalidEventError"
    yield "", b"[]", write, 400, "InvalidBatchError"
    yield "", b'{"c": {"a": 1}}', write, 400, "InvalidBatchError"
    yield "", b'{"c": [{]}', write, 400, "InvalidBatchError"
    yield "", b"NaN", write, 400, "InvalidBatchError"


def test_bad_input_is_refused_by_name(collector: Collector, http: httpx.Client, project: Project) -> None:
    before = len(raw_records(collector.settings, collector.project.id))
    for path, body, headers, status, name in refusals(project):
        answer = http.post(f"/events{path}", content=body, headers=headers)
        assert (answer.status_code, answer.json()["error_code"]) == (status, name), (path, body[:60], answer.text)
        assert set(answer.json()) == {"message", "error_code"}
        assert answer.json()["message"]
        assert answer.headers["access-control-allow-origin"] == "*"
        for secret in (project.master_key, project.write_key, project.read_key, "Traceback"):
            assert secret not in answer.text
    assert len(raw_records(collector.settings, collector.project.id)) == before


def test_unknown_projects_come_before_keys(collector: Collector) -> None:
    for project_id in ("0" * 24, "x"):
        answer = httpx.post(f"{collector.url}/3.0/projects/{project_id}/events/c", json={})
        assert (answer.status_code, answer.json()["error_code"]) == (404, "ResourceNotFoundError")


def test_unknown_routes_and_methods_answer_in_the_same_form(collector: Collector, http: httpx.Client) -> None:
    answers = [httpx.get(f"{collector.url}/nothing"), http.delete("/events/c"), http.put("/events")]
    assert [answer.status_code for answer in answers] == [404, 405, 405]
    for answer in answers:
        assert set(answer.json()) == {"message", "error_code"}


def test_a_chunked_body_without_a_length_is_limited_too(http: httpx.Client, project: Project) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(200):
            yield b" " * 65_536

    answer = http.post("/events/c", content=chunks(), headers={"Authorization": project.write_key})
    assert answer.status_code == 413


def test_metrics_count_what_happened(collector: Collector, http: httpx.Client, project: Project) -> None:
    http.post("/events", json={"counted": [{}, {}, {"a.b": 1}]}, headers={"Authorization": project.write_key})
    text = httpx.get(f"{collector.url}/metrics").text
    accepted = next(line for line in text.splitlines() if line.startswith("headwater_collector_events_accepted_total "))
    assert float(accepted.split()[1]) >= 2
    assert 'headwater_collector_events_rejected_total{error="InvalidPropertyNameError"}' in text
    assert project.write_key not in text


def test_a_key_fills_in_its_own_values(collector: Collector, http: httpx.Client, project: Project) -> None:
    autofill = {"customer": {"id": 4}, "keen": {"addons": []}, "till": "3"}
    with ControlWriter(collector.settings) as writer:
        key = writer.create_access_key(project.id, "till 3", ("writes",), {"writes": {"autofill": autofill}})
        reader = writer.create_access_key(project.id, "board", ("queries",), {})
    headers = {"Authorization": key.key}
    forged = {"customer": {"id": 5, "name": "x"}, "till": {"no": 1}, "keen": {"timestamp": "2026-01-31T12:00:00Z"}}
    data = base64.b64encode(json.dumps(forged).encode()).decode()
    assert http.post("/events/filled", json=forged, headers=headers).status_code == 201
    assert http.get("/events/filled", params={"data": data, "api_key": key.key}).status_code == 200
    batch = {"filled": [forged, [], {}]}
    assert [one["success"] for one in http.post("/events", json=batch, headers=headers).json()["filled"]] == [
        True,
        False,
        True,
    ]
    broken = b'{"filled": [{"a": 1}, {"a": nope}]}'
    assert http.post("/events", content=broken, headers=headers).status_code == 200
    filled = [json.loads(record["properties"]) for record in stored(collector, "filled")]
    assert sorted(filled, key=str) == sorted(
        [
            *({"customer": {"id": 4, "name": "x"}, "till": "3"} for _ in range(3)),
            {"customer": {"id": 4}, "till": "3"},
            {"a": 1, "customer": {"id": 4}, "till": "3"},
        ],
        key=str,
    )
    refused = http.post("/events/filled", json={}, headers={"Authorization": reader.key})
    assert (refused.status_code, refused.json()["error_code"]) == (403, "InvalidApiKeyError")


def test_large_bodies_are_answered_as_small_ones(collector: Collector, http: httpx.Client, project: Project) -> None:
    key = {"Authorization": project.write_key}
    few = [{"n": 1}, {"$a": 1}, {"keen": 1}, {"text": "x" * 3_000}]
    expected = http.post("/events", json={"some": few}, headers=key).json()["some"]
    many = http.post("/events", json={"large": few * 700, "_bad": few}, headers=key)
    assert many.status_code == 200
    assert many.json()["large"] == expected * 700
    assert [result["error"]["name"] for result in many.json()["_bad"]] == ["InvalidCollectionNameError"] * 4
    broken = json.dumps({"broken": few * 100}).replace('{"keen": 1}', "{oops}").encode()
    answers = [result["success"] for result in http.post("/events", content=broken, headers=key).json()["broken"]]
    assert answers == [True, False, False, True] * 100
    assert http.post("/events/large", json={"text": "y" * 50_000}, headers=key).status_code == 201
    refused = http.post("/events/large", json={f"${n}": 1 for n in range(5_000)}, headers=key)
    assert (refused.status_code, refused.json()["error_code"]) == (400, "InvalidPropertyNameError")
    assert [len(stored(collector, name)) for name in ("large", "broken")] == [1_401, 200]


def test_a_project_sends_no_more_than_it_may(collector: Collector) -> None:
    limited = collector.writer.create_project("limited")
    changes: dict[str, str | None] = {"limits.events_per_second": "2"}
    collector.writer.change_settings(limited.id, changes)
    url, key = f"{collector.url}/3.0/projects/{limited.id}/events/c", {"Authorization": limited.write_key}
    with httpx.Client(headers=key) as quick:  # quicker than the bucket fills again, on a busy machine too
        answers = [quick.post(url, json={"n": n}) for n in range(15)]
    refused = next(one for one in answers if one.status_code != 201)
    assert (refused.status_code, refused.json()["error_code"]) == (429, "TooManyEventsError")
    assert int(refused.headers["retry-after"]) >= 1
    stored = raw_records(collector.settings, limited.id)
    assert len(stored) == sum(one.status_code == 201 for one in answers) >= 10
    other = collector.project
    free = httpx.post(
        f"{collector.url}/3.0/projects/{other.id}/events/c", json={"n": 1}, headers={"Authorization": other.write_key}
    )
    assert free.status_code == 201
