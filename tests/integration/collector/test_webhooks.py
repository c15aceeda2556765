"""Vendors' webhooks on a real collector, with the raw topic read back."""

import hmac
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from collector.webhooks.sendgrid import DATE, GEO, USER_AGENT
from headwater.identity import event_id
from headwater.settings import Settings
from tests import signed_by_sendgrid as signed
from tests.collecting import Collector, raw_records, running_collector
from tests.waiting import wait_until

GUID = "11eb8e80-3f7f-11ed-8e05-b5a152a893a5"
GUID_TIME = 1_664_405_051_240


@pytest.fixture(scope="module")
def shared(module_settings: Settings) -> Iterator[Collector]:
    settings = module_settings.model_copy(update={"body_max_bytes": 1_000_000, "event_max_bytes": 100_000})
    with running_collector(settings, settings.data_dir) as running:
        yield running


@pytest.fixture
def collector(shared: Collector) -> Collector:
    return shared.with_a_new_project()


@pytest.fixture
def http(collector: Collector) -> Iterator[httpx.Client]:
    key = {"api_key": collector.project.write_key}
    with httpx.Client(base_url=collector.url, params=key, timeout=15) as client:
        yield client


@pytest.fixture
def send(collector: Collector, http: httpx.Client) -> Callable[..., httpx.Response]:
    """Posts to a vendor's route of the project; text goes as it is, all else as JSON."""

    def post(vendor: str, body: Any, headers: dict[str, str] | None = None) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return http.post(f"/webhooks/{vendor}/{collector.project.id}", content=content, headers=headers)

    return post


@pytest.fixture
def set_secret(collector: Collector, send: Callable[..., httpx.Response]) -> Callable[[str, str], None]:
    """Changes a setting with a vendor's secret, and waits until the collector knows it."""

    def change(name: str, value: str) -> None:
        collector.writer.change_settings(collector.project.id, {name: value})
        # What is neither signed nor JSON is never stored, and the signature is looked at first.
        wait_until(lambda: send(name.partition(".")[0], b"neither").status_code == 401, 10)

    return change


def stored(collector: Collector) -> list[tuple[str, str, int, dict[str, Any]]]:
    """Collection, id, timestamp and properties of the project's records, once each."""
    found = {
        (one["collection"], one["id"], one["timestamp"], one["properties"])
        for one in raw_records(collector.settings, collector.project.id)
    }
    return [(*rest, json.loads(properties)) for *rest, properties in sorted(found)]


def refused(http: httpx.Client, vendor: str) -> float:
    name = f'headwater_collector_signatures_refused_total{{vendor="{vendor}"}} '
    lines = [line for line in http.get("/metrics").text.splitlines() if line.startswith(name)]
    return float(lines[0].removeprefix(name)) if lines else 0.0


def github(event: str, body: bytes = b"", secret: str | None = None) -> dict[str, str]:
    headers = {"X-GitHub-Event": event, "X-GitHub-Delivery": GUID}
    if secret is not None:
        headers["X-Hub-Signature-256"] = "sha256=" + hmac.new(secret.encode(), body, "sha256").hexdigest()
    return headers


def test_github_without_a_secret(collector: Collector, send: Callable[..., httpx.Response]) -> None:
    payload = {"zen": "Design for failure.", "hook": {"events": ["*"]}, "a.b": 2**70}
    for _ in range(2):  # a redelivery is the same event
        answer = send("github", payload, github("ping"))
        assert (answer.status_code, answer.json()) == (200, {"success": True, "events": 1})
    properties = {"zen": "Design for failure.", "hook": {"events": ["*"]}, "a_b": str(2**70)}
    assert stored(collector) == [("ping", GUID, GUID_TIME, properties)]


def test_github_with_a_secret(
    collector: Collector,
    http: httpx.Client,
    send: Callable[..., httpx.Response],
    set_secret: Callable[[str, str], None],
) -> None:
    set_secret("github.secret", "s3cret")
    before = refused(http, "github")
    body = b'{"action": "opened"}'
    assert send("github", body, github("issues", body, "s3cret")).status_code == 200
    for headers in (github("wrong", body, "other"), github("unsigned")):
        answer = send("github", body, headers)
        assert (answer.status_code, answer.json()["error_code"]) == (401, "InvalidSignatureError")
    assert refused(http, "github") == before + 2
    collector.writer.change_settings(collector.project.id, {"github.secret": "another"})
    # A secret of this moment: the collector looks for it before it refuses.
    assert send("github", body, github("rolled", body, "another")).status_code == 200
    assert [collection for collection, *_ in stored(collector)] == ["issues", "rolled"]


def test_keens_own_set_up_for_github(collector: Collector, http: httpx.Client) -> None:
    """Its script made the plain route of each collection a webhook, without a secret."""
    body = b'{"action": "opened", "reactions": {"+1": 0}}'
    answer = http.post(f"/3.0/projects/{collector.project.id}/events/issues", content=body, headers=github("issues"))
    assert answer.status_code == 201
    [(collection, *_, properties)] = stored(collector)
    assert (collection, properties) == ("issues", json.loads(body))


def test_what_github_sends_at_most(collector: Collector, send: Callable[..., httpx.Response]) -> None:
    """More than the settings let others send, and more than an event may have."""
    push = {"ref": "refs/heads/main", "commits": [{"id": f"{n:040}", "message": "m" * 1_000} for n in range(20_000)]}
    assert send("github", push, github("push")).status_code == 200
    [(_, _, _, properties)] = stored(collector)
    assert properties == {"ref": push["ref"], "commits": properties["commits"], "headwater_cut_to": 100}
    assert [commit["message"] for commit in properties["commits"]] == ["m" * 100] * 100
    too_large = send("github", b"{" + b" " * 25 * 1024 * 1024 + b"}", github("push"))
    assert too_large.status_code == 413
    assert send("stripe", b"{" + b" " * 1_000_000 + b"}").status_code == 413


def test_sendgrid(collector: Collector, http: httpx.Client, set_secret: Callable[[str, str], None]) -> None:
    set_secret("sendgrid.public_key", signed.PUBLIC_KEY)
    before = refused(http, "sendgrid")
    headers = {name.decode(): value.decode() for name, value in signed.HEADERS.items()}
    paths = {  # with the events that a request makes
        f"/webhooks/sendgrid/{collector.project.id}": 1,
        f"/3.0/projects/{collector.project.id}/email/sendgrid/1.0": 1,
        f"/3.0/projects/{collector.project.id}/partners/sendgrid/versions/v3": 2,
    }
    for path, count in paths.items():
        answer = http.post(path, content=signed.BODY, headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"success": True, "events": count})
        assert http.post(path, content=signed.BODY.rstrip(), headers=headers).status_code == 401
        assert http.post(path, content=signed.BODY).status_code == 401
    assert refused(http, "sendgrid") == before + 6
    identity = event_id(collector.project.id, str(signed.EVENT["sg_event_id"]))
    assert stored(collector) == [
        (collection, identity, 1_600_112_492_000, signed.EVENT)
        for collection in ("SendGrid Email Events", "email_dropped")
    ]


def test_sendgrids_add_ons(collector: Collector, send: Callable[..., httpx.Response]) -> None:
    opened = {
        "event": "open",
        "sg_event_id": "1",
        "timestamp": 1_600_112_492,
        "ip": "8.8.8.8",
        "useragent": "Mozilla/5.0",
    }
    many = [opened | {"sg_event_id": str(n), "order.id": n} for n in range(1_000)]
    assert send("sendgrid", many).json() == {"success": True, "events": 1_000}
    records = raw_records(collector.settings, collector.project.id)
    assert {json.loads(record["properties"])["order_id"] for record in records} == {*range(1_000)}
    assert {record["addons"] for record in records} == {json.dumps([GEO, USER_AGENT, DATE], separators=(",", ":"))}
    assert {(record["ip"], record["user_agent"]) for record in records} == {(None, None)}


def test_stripe(
    collector: Collector,
    http: httpx.Client,
    send: Callable[..., httpx.Response],
    set_secret: Callable[[str, str], None],
) -> None:
    set_secret("stripe.secret", "whsec_x")
    before = refused(http, "stripe")
    event = {"id": "evt_1", "type": "charge.succeeded", "created": 1_700_000_000, "data": {"object": {"amount": 1999}}}
    body = json.dumps(event, indent=2).encode()

    def header(at: float) -> dict[str, str]:
        mac = hmac.new(b"whsec_x", b"%d." % at + body, "sha256").hexdigest()
        return {"Stripe-Signature": f"t={at:.0f},v1={'0' * 64},v1={mac},v0=x"}

    for headers, status in ((header(int(time.time())), 200), (header(int(time.time()) - 400), 401), ({}, 401)):
        assert send("stripe", body, headers).status_code == status
    assert refused(http, "stripe") == before + 2
    identity = event_id(collector.project.id, "evt_1")
    assert stored(collector) == [("stripe_charge_succeeded", identity, 1_700_000_000_000, event)]


def test_cloud_events(collector: Collector, http: httpx.Client, send: Callable[..., httpx.Response]) -> None:
    event = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "order.placed", "time": "2026-01-31T12:00:00Z"}
    binary = {f"ce-{name}": value for name, value in event.items()} | {"Content-Type": "application/json"}
    assert send("cloudevents", {"total": 7.5}, binary).status_code == 200
    batch = [event | {"id": "8", "data": "text"}, event | {"id": "9", "data": [1]}]
    content_type = {"Content-Type": "application/cloudevents-batch+json"}
    assert send("cloudevents", batch, content_type).json()["events"] == 2
    for body, headers, status in (([*batch[:1], {}], content_type, 400), (event, {}, 415), ([], content_type, 200)):
        assert send("cloudevents", body, headers).status_code == status
    assert sorted((*each[:3], each[3].get("data")) for each in stored(collector)) == sorted(
        ("order.placed", event_id(collector.project.id, f"/shop {n}"), 1_769_860_800_000, data)
        for n, data in ((7, {"total": 7.5}), (8, "text"), (9, [1]))
    )


def test_the_handshake_of_cloud_events(collector: Collector, http: httpx.Client) -> None:
    path = f"/webhooks/cloudevents/{collector.project.id}"
    asked = {"WebHook-Request-Origin": "eventemitter.example.com", "WebHook-Request-Rate": "120"}
    answer = http.options(path, headers=asked)
    assert answer.status_code == 200
    assert answer.headers["webhook-allowed-origin"] == "eventemitter.example.com"
    assert (answer.headers["webhook-allowed-rate"], answer.headers["allow"]) == ("*", "POST")
    denied = http.options(path, headers=asked, params={"api_key": "0" * 64})
    assert denied.status_code == 401
    assert "webhook-allowed-origin" not in denied.headers
    assert http.options(path).headers["access-control-allow-origin"] == "*"  # a browser's preflight


def test_where_the_key_may_stand(collector: Collector) -> None:
    project = collector.project
    address = f"{collector.url}/webhooks/github/{project.id}"
    ways: list[dict[str, Any]] = [
        {"params": {"api_key": project.write_key}},
        {"params": {"api_key": project.master_key}, "headers": {"Authorization": "Bearer of another realm"}},
        {"params": {"access_token": project.write_key}},
        {"headers": {"Authorization": project.write_key}},
        {"headers": {"Authorization": f"Bearer {project.write_key}"}},
        {"auth": ("headwater", project.write_key)},
        {"auth": (project.write_key, "")},
    ]
    refusals: list[tuple[dict[str, Any], int]] = [
        ({}, 401),
        ({"headers": {"Authorization": "Basic !"}}, 401),
        ({"params": {"api_key": project.read_key}}, 403),
    ]
    with httpx.Client() as client:
        for way, status in [(way, 200) for way in ways] + refusals:
            given = way | {"headers": github("push") | way.get("headers", {})}
            assert client.post(address, content=b"{}", **given).status_code == status, way
        assert client.post(address[:-1] + "x", content=b"{}", params={"api_key": project.write_key}).status_code == 404


def test_what_is_no_webhook(send: Callable[..., httpx.Response]) -> None:
    for vendor in ("github", "sendgrid", "stripe"):
        for body in (b"", b"no", b"[1]", b"[" * 100_000, b'{"a":' * 50_000):
            answer = send(vendor, body, github("push"))
            assert answer.status_code == 400
            assert answer.json()["error_code"] == "InvalidEventError"
    assert send("github", {}).status_code == 400
    assert send("unknown", {}).status_code == 404
