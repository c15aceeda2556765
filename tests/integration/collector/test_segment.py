"""Segment's paths on a real collector, with the raw topic read back."""

import base64
import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import psutil
import pytest

from headwater.codec import codec
from headwater.control import Project
from headwater.identity import event_id
from headwater.segment_users import IDENTIFY, attachment, user_key
from headwater.topics import raw_topic
from tests.collecting import Collector
from tests.processing import read_topic
from tests.waiting import wait_until

SUCCESS = (200, {"success": True})
TIME, MILLISECONDS = "2026-11-22T15:17:16.903Z", 1_795_360_636_903


@pytest.fixture
def project(collector: Collector) -> Project:
    return collector.writer.create_project("test")


@pytest.fixture
def http(collector: Collector) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=collector.url, timeout=15) as client:
        yield client


def answered(response: httpx.Response) -> tuple[int, Any]:
    return response.status_code, response.json()


def stored(collector: Collector, project: Project) -> dict[str, list[dict[str, Any]]]:
    """The project's raw records by their collections, those that are JSON envelopes too."""
    found: dict[str, list[dict[str, Any]]] = {}
    for _, value, _ in read_topic(collector.settings, raw_topic(collector.settings)):
        record = json.loads(value) if value.startswith(b"{") else codec("raw_event").decode(value)
        if record["project_id"] == project.id:
            found.setdefault(record["collection"], []).append(record)
    return found


def track(event: str, **members: Any) -> dict[str, Any]:
    return {"type": "track", "event": event, "messageId": f"id of {event}", "timestamp": TIME, "userId": "u", **members}


def test_every_path(collector: Collector, http: httpx.Client, project: Project) -> None:
    auth = (project.write_key, "")
    for path in ("track", "t", "track/", "t/"):
        assert answered(http.post(f"/v1/{path}", json=track(f"single {path}"), auth=auth)) == SUCCESS
    for path in ("batch", "import", "b", "batch/", "import/", "b/"):
        assert answered(http.post(f"/v1/{path}", json={"batch": [track(f"batch {path}")]}, auth=auth)) == SUCCESS
    for path in ("page", "p"):
        given = {"messageId": path, "name": path, "anonymousId": "a"}
        assert answered(http.post(f"/v1/{path}", json=given, auth=auth)) == SUCCESS
    for path in ("screen", "s"):
        assert answered(http.post(f"/v1/{path}", json={"messageId": path}, auth=auth)) == SUCCESS
    for path in ("identify", "i", "group", "g", "alias", "a"):
        assert answered(http.post(f"/v1/{path}", json={"userId": "u", "traits": {"a": 1}}, auth=auth)) == SUCCESS
    assert answered(http.post("/v1/m", content=b'{"series":[]}')) == SUCCESS
    found = stored(collector, project)
    assert {name: len(records) for name, records in found.items()} == {
        **{f"single {path}": 1 for path in ("track", "t", "track/", "t/")},
        **{f"batch {path}": 1 for path in ("batch", "import", "b", "batch/", "import/", "b/")},
        "Loaded a Page": 2,
        "Viewed page Page": 1,
        "Viewed p Page": 1,
        "Loaded a Screen": 2,
    }
    [record] = found["single t"]
    assert record["id"] == event_id(project.id, "id of single t")
    assert record["timestamp"] == MILLISECONDS
    assert json.loads(record["properties"]) == {"userId": "u", "traits": {}}


def test_who_may_write(collector: Collector, http: httpx.Client, project: Project) -> None:
    key = project.write_key
    body = {"batch": [track("Sent")]}
    basic = {"Authorization": "Basic " + base64.b64encode(key.encode()).decode()}  # without the colon
    for headers, member in (
        (basic, None),
        ({}, key),
        (basic, "0" * 64),
        ({"Authorization": "Basic " + base64.b64encode(b"nobody:").decode()}, key),
        ({"Authorization": "Bearer token"}, key),
        ({"Authorization": "Basic ?"}, key),
    ):
        content = body if member is None else {**body, "writeKey": member}
        assert answered(http.post("/v1/batch", json=content, headers=headers)) == SUCCESS
    assert len(stored(collector, project)["Sent"]) == 6
    revoked = collector.writer.create_key(project.id, "write", "till")
    collector.writer.revoke_key(revoked.key)
    for refused, status in ((None, 401), ("0" * 64, 401), (revoked.key, 401), (project.read_key, 403), (7, 401)):
        answer = http.post("/v1/batch", json={**body, "writeKey": refused})
        assert answer.status_code == status
        error = answer.json()
        assert error["success"] is False
        assert error["code"] == error["error_code"] == "InvalidApiKeyError"
        assert error["message"] == error["error"] != ""
        assert answer.headers["access-control-expose-headers"] == "Retry-After"


def test_one_bad_message_takes_no_other_with_it(collector: Collector, http: httpx.Client, project: Project) -> None:
    """What is refused goes into the raw topic as an envelope that the processors refuse too, for their dead letters."""
    odd = track("Odd", properties={"ratio": "NAN", "half": "HALF"})
    batch = [track("Good"), "no message", {"type": "teleport"}, track(""), track("Bad $name"), odd]
    batch += [track("Large", properties={"n": 2**63}), track("Blank", properties={"": 1}), track("Last")]
    content = json.dumps({"batch": batch, "writeKey": project.write_key, "sequence": 1})
    content = content.replace('"NAN"', "NaN").replace('"HALF"', r'"\ud83d"')
    assert answered(http.post("/v1/batch", content=content, headers={"Content-Type": "text/plain"})) == SUCCESS
    found = stored(collector, project)
    assert json.loads(found["Odd"][0]["properties"]).items() >= {("ratio", None), ("half", "\N{REPLACEMENT CHARACTER}")}
    assert {name: len(records) for name, records in found.items()} == {
        "Good": 1,
        "Odd": 1,
        "Last": 1,
        "": 3,
        "Bad $name": 1,
        "Large": 1,
        "Blank": 1,
    }
    metrics = http.get("/metrics").text
    for name in (
        "InvalidMessageError",
        "InvalidCollectionNameError",
        "InvalidPropertyNameError",
        "InvalidPropertyValueError",
    ):
        assert f'headwater_collector_events_rejected_total{{error="{name}"}}' in metrics


def test_a_single_message_that_is_refused_is_said_to_be(
    collector: Collector, http: httpx.Client, project: Project
) -> None:
    auth = (project.write_key, "")
    for content, named in (
        (b"{", "JSON"),
        (b"", "JSON"),
        (b"[]", "object"),
        (b'{"event":""}', "'event'"),
        (orjson.dumps(track("Bad $name")), "has a $"),
        (orjson.dumps(track("x", properties={"text": "x" * 1_000_000})), "900,000"),
        (orjson.dumps(track("x", properties={"text": "x" * 10_000_000})), "10,000,000"),
    ):
        answer = http.post("/v1/track", content=content, auth=auth)
        assert answer.status_code == 400
        assert named in answer.json()["message"]
        # What is not read to its end ends the connection, and says so.
        assert answer.headers.get("connection") == ("close" if named == "10,000,000" else None)
    assert answered(http.post("/v1/batch", json=[], auth=auth))[0] == 400
    assert answered(http.post("/v1/nowhere", auth=auth))[0] == 404
    assert answered(http.get("/v1/track"))[0] == 405
    assert stored(collector, project) == {}


def test_what_is_large(collector: Collector, http: httpx.Client, project: Project) -> None:
    """A batch as RudderStack's clients fill them: more than Segment takes. What no event may have is kept in part, as no event."""
    texts = {"Small": 30_000, "Medium": 700_000, "Huge": 6_000_000, "Last": 1}
    batch = [track(name, properties={"text": "x" * size}) for name, size in texts.items()]
    assert answered(http.post("/v1/batch", json={"batch": batch}, auth=(project.write_key, ""))) == SUCCESS
    found = stored(collector, project)
    assert found.keys() == texts.keys()
    for name in ("Small", "Medium", "Last"):
        assert len(json.loads(found[name][0]["properties"])["text"]) == texts[name]
    [kept] = found["Huge"]
    assert type(kept["properties"]) is str
    assert '"text":"xxx' in kept["properties"]
    assert 'rejected_total{error="InvalidPropertyValueError"}' in http.get("/metrics").text


@pytest.mark.parametrize("key_in_the_body", [False, True])
def test_a_large_batch_comes_in_once(
    collector: Collector, http: httpx.Client, project: Project, key_in_the_body: bool
) -> None:
    """It is judged in another process: the answer, the records and the figures are those of a small one."""
    batch = [
        track("Many", messageId=f"{n}", properties={"n": n, "text": "x" * 1_000}) if n % 4 else {"type": "teleport"}
        for n in range(2_000)
    ]
    body = {"batch": [*batch, {"type": "group"}]} | ({"writeKey": project.write_key} if key_in_the_body else {})
    auth = None if key_in_the_body else (project.write_key, "")
    names = (
        "events_accepted_total ",
        'events_rejected_total{error="InvalidMessageError"} ',
        'segment_without_event_total{why="group"} ',
    )
    before = figures(http, *names)
    assert answered(http.post("/v1/batch", json=body, auth=auth)) == SUCCESS
    assert collector.child
    running = psutil.Process(collector.child.pid).children(recursive=True)
    assert any("collector.judge" in process.cmdline() for process in running)
    assert [more - less for more, less in zip(figures(http, *names), before, strict=True)] == [1_500, 500, 1]
    found = stored(collector, project)
    assert {name: len(records) for name, records in found.items()} == {"Many": 1_500, "": 500}
    ids = {json.loads(record["properties"])["n"]: record["id"] for record in found["Many"]}
    assert ids == {n: event_id(project.id, f"{n}") for n in range(2_000) if n % 4}
    refused = http.post("/v1/batch", json={**body, "writeKey": "0" * 64})
    assert (refused.status_code, refused.json()["code"]) == (401, "InvalidApiKeyError")


def figures(http: httpx.Client, *names: str) -> list[float]:
    """Counters of the collector; 0 for what was not counted yet."""
    lines = http.get("/metrics").text.splitlines()
    starts = [f"headwater_collector_{name}" for name in names]
    return [sum(float(line.removeprefix(start)) for line in lines if line.startswith(start)) for start in starts]


def test_bodies_as_clients_send_them(collector: Collector, http: httpx.Client, project: Project) -> None:
    def chunks(content: bytes) -> Iterator[bytes]:
        yield content[:10]
        yield content[10:]

    for number, (kind, coded) in enumerate(
        (("application/x-www-form-urlencoded", True), ("text/plain", True), ("x/y", False))
    ):
        body = orjson.dumps({"batch": [track(f"Body {number}")], "writeKey": project.write_key})
        headers = {"Content-Type": kind} | ({"Content-Encoding": "gzip"} if coded else {})
        content = gzip.compress(body) if coded else body
        assert answered(http.post("/v1/b", content=chunks(content), headers=headers)) == SUCCESS
    assert stored(collector, project).keys() == {"Body 0", "Body 1", "Body 2"}


def test_a_retry_is_the_same_event(collector: Collector, http: httpx.Client, project: Project) -> None:
    """Also in another batch, where the client's clock is an hour behind and it says anew when it sent."""
    for number in range(2):
        sent = datetime.now(UTC) - timedelta(hours=1)
        body = {"batch": [track("Kept"), track(f"Other {number}")], "sentAt": sent.isoformat()}
        assert answered(http.post("/v1/batch", json=body, auth=(project.write_key, ""))) == SUCCESS
    records = stored(collector, project)["Kept"]
    assert [(record["id"], record["timestamp"]) for record in records] == [
        (event_id(project.id, "id of Kept"), MILLISECONDS + 3_600_000)
    ] * 2


def test_a_projects_settings_decide_about_pages_and_add_ons(
    collector: Collector, http: httpx.Client, project: Project
) -> None:
    changes: dict[str, str | None] = {
        "segment.trackAllPages": "false",
        "segment.ipAddon": "true",
        "segment.uaAddon": "true",
    }
    collector.writer.change_settings(project.id, changes)
    page = {
        "name": "Home",
        "anonymousId": "a",
        "context": {"library": {"name": "analytics.js"}, "userAgent": "Mozilla"},
    }
    headers = {"Origin": "https://a.example", "X-Forwarded-For": "8.8.8.8"}

    def followed() -> bool:
        """Whether a page was stored as the settings say; the collector follows the control plane a moment later."""
        assert answered(http.post("/v1/p", json=page, auth=(project.write_key, ""), headers=headers)) == SUCCESS
        found = {name: len(records) for name, records in stored(collector, project).items()}
        return found["Viewed Home Page"] > found.get("Loaded a Page", 0)

    wait_until(followed, 20)
    found = stored(collector, project)
    record = found["Viewed Home Page"][-1]
    properties = json.loads(record["properties"])
    assert (properties["ip_address"], properties["user_agent"]) == ("8.8.8.8", "Mozilla")
    assert [one["output"] for one in json.loads(record["addons"])] == ["ip_geo_info", "parsed_user_agent"]


def test_device_mode_keeps_a_user_in_order(collector: Collector, http: httpx.Client, project: Project) -> None:
    collector.writer.change_settings(project.id, {"segment.mode": "device"})
    batch: list[dict[str, Any]] = [
        track("Before"),
        {"type": "identify", "userId": "u", "traits": {"plan": "pro"}, "timestamp": TIME},
        track("After"),
    ]

    def followed() -> bool:
        """Whether an identify was stored as the settings say; the collector follows the control plane a moment later."""
        assert answered(http.post("/v1/batch", json={"batch": batch}, auth=(project.write_key, ""))) == SUCCESS
        return any(IDENTIFY in value.decode("latin-1") for _, value in sent())

    def sent() -> list[tuple[bytes, bytes]]:
        key = user_key(project.id, "u")
        return [
            (key, value)
            for each, value, _ in read_topic(collector.settings, raw_topic(collector.settings))
            if each == key
        ]

    wait_until(followed, 20)
    before, who, after = [value for _, value in sent()][-3:]
    assert json.loads(who) == {
        "project_id": project.id,
        "collection": IDENTIFY,
        "properties": {"user": "u", "userId": "u", "traits": {"plan": "pro"}, "keen": {"timestamp": TIME}},
    }
    for value, collection in ((before, "Before"), (after, "After")):
        record = codec("raw_event").decode(value)
        assert (record["collection"], json.loads(record["properties"])) == (collection, {"user": {"userId": "u"}})
        assert json.loads(record["addons"]) == [attachment("userId")]
    # What is only called so is no identify.
    properties = {"user": "u", "traits": {}}
    assert (
        answered(http.post("/v1/t", json=track(IDENTIFY, properties=properties), auth=(project.write_key, "")))[0]
        == 400
    )
    forged = {"batch": [track(IDENTIFY, properties=properties)]}
    assert answered(http.post("/v1/b", json=forged, auth=(project.write_key, ""))) == SUCCESS
    assert len(stored(collector, project)[""]) == 1


def test_a_servers_address_is_nobodys(collector: Collector, http: httpx.Client, project: Project) -> None:
    auth = (project.write_key, "")
    forwarded = {"X-Forwarded-For": "8.8.8.8"}
    for name, context in (
        ("Server", {"library": {"name": "analytics-python"}}),
        ("Direct", {"direct": True}),
        ("Phone", {"library": {"name": "analytics-swift"}}),
        ("Said", {"library": {"name": "analytics-swift"}, "ip": "9.9.9.9"}),
    ):
        assert answered(http.post("/v1/t", json=track(name, context=context), auth=auth, headers=forwarded)) == SUCCESS
    addresses = {
        name: json.loads(record["properties"]).get("ip_address")
        for name, [record] in stored(collector, project).items()
    }
    assert addresses == {"Server": None, "Direct": "8.8.8.8", "Phone": "8.8.8.8", "Said": "9.9.9.9"}


def test_a_client_that_sends_too_much_hears_when_to_go_on(
    collector: Collector, http: httpx.Client, project: Project
) -> None:
    collector.writer.change_settings(project.id, {"limits.events_per_second": "1"})
    answers: list[httpx.Response] = []

    def limited() -> bool:
        answers.append(http.post("/v1/b", json={"batch": [track("Much")] * 10}, auth=(project.write_key, "")))
        return answers[-1].status_code == 429

    wait_until(limited, 20)
    error = answers[-1].json()
    assert (error["success"], error["code"], error["error"]) == (False, error["error_code"], error["message"])
    assert int(answers[-1].headers["retry-after"]) > 0
    assert answers[-1].headers["access-control-expose-headers"] == "Retry-After"
    assert len(stored(collector, project)["Much"]) == 10 * (len(answers) - 1)


def test_pixels(collector: Collector, http: httpx.Client, project: Project) -> None:
    message = {"writeKey": project.write_key, "userId": "u", "event": "Mail Opened", "properties": {"subject": "?>ü"}}
    data = base64.b64encode(json.dumps(message).encode()).decode().rstrip("=")
    flat = {"writeKey": project.write_key, "userId": "u", "event": "Mail Opened", "properties.subject": "?>ü"}
    for query in ({"data": data}, flat):
        answer = http.get("/v1/pixel/track", params=query, headers={"User-Agent": "Mailer"})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/gif")
        assert answer.content[:3] == b"GIF"
    for bad in ({}, {"data": "!"}, {"data": "e30"}, {**flat, "writeKey": "0"}):
        answer = http.get("/v1/pixel/track", params=bad)
        assert (answer.status_code, answer.content[:3]) == (200, b"GIF")
    assert http.head("/v1/pixel/track", params=flat).status_code == 200
    assert http.get("/v1/pixel/page/", params=flat | {"name": "Home"}).content[:3] == b"GIF"
    assert len(stored(collector, project)["Viewed Home Page"]) == 1
    records = stored(collector, project)["Mail Opened"]
    assert [json.loads(record["properties"])["subject"] for record in records] == ["?>ü"] * 2
    assert {json.loads(record["properties"])["user_agent"] for record in records} == {"Mailer"}


def test_what_browsers_and_phones_ask_first(http: httpx.Client, project: Project) -> None:
    answer = http.get(f"/v1/projects/{project.write_key}/settings")
    assert answer.status_code == 200
    segment = answer.json()["integrations"]["Segment.io"]
    assert segment == {
        "apiKey": project.write_key,
        "apiHost": f"{http.base_url.netloc.decode()}/v1",
        "protocol": "http",
    }
    forwarded = http.get(f"/v1/projects/{project.write_key}/settings", headers={"X-Forwarded-Proto": "https"})
    assert forwarded.json()["integrations"]["Segment.io"]["protocol"] == "https"
    for key in ("0" * 64, project.read_key):
        assert http.get(f"/v1/projects/{key}/settings").status_code == 404
    preflight = http.options(
        "/v1/t",
        headers={
            "Origin": "https://a.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,x-retry-count",
        },
    )
    assert preflight.status_code == 204
    allowed = preflight.headers["access-control-allow-headers"]
    assert all(name in allowed for name in ("authorization", "content-type", "x-retry-count"))
