"""What is judged in another process is answered, stored, counted and logged as what is judged here, in every dialect."""

import base64
import hmac
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.judging import BATCH_EVENTS_MAX
from headwater.control import ProjectSettings
from tests import signed_by_sendgrid as signed
from tests.collector_in_memory import NOW, Outcome, Project, Routes
from tests.drawn_requests import REQUESTS, HttpRequest, as_http

SECRET = "s3cret"
TIME = "2026-11-22T15:17:16.903Z"
TRACK: dict[str, Any] = {"type": "track", "event": "e", "userId": "u", "messageId": "m", "properties": {"a.b": 1}}
CLOUD_EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "1",
    "source": "/s",
    "type": "t",
    "data": {"a": [1, None]},
    "time": TIME,
}
MIXED = [
    *[{"type": "track", "event": f"e{n % 7}", "messageId": f"m{n}", "timestamp": TIME, "userId": n} for n in range(700)],
    {"type": "identify", "userId": "u", "traits": {"plan": "pro"}},
    {"type": "identify", "userId": "u", "traits": {"text": "x" * 40_000}},
    {"type": "page", "name": "Home", "category": "Docs", "anonymousId": "a", "context": {"library": {"name": "analytics.js"}}},
    {"type": "group"},
    TRACK | {"integrations": {"All": False}},
    TRACK | {"event": "Bad $name"},
    TRACK | {"properties": {"n": 2**63}},
    TRACK | {"properties": {"text": "x" * 950_000}},
    TRACK | {"event": ""},
    "no message",
    {"type": "teleport"},
]  # fmt: skip


def project(number: int, settings: dict[str, Any], autofill: dict[str, Any]) -> Project:
    return Project(f"{number}" * 24, ProjectSettings.model_validate(settings), autofill)


SECRETS = {"github.secret": SECRET, "stripe.secret": SECRET, "sendgrid.public_key": signed.PUBLIC_KEY}
PLAIN = project(1, {}, {})
SIGNED = project(2, SECRETS | {"segment.mode": "device", "segment.uaAddon": True}, {"by": {"the": "key"}})
BADLY_FILLED = project(3, {}, {"$bad": 1})
PROJECTS = (PLAIN, SIGNED, BADLY_FILLED)


@pytest.fixture(scope="module")
def routes() -> Iterator[Routes]:
    made = Routes(PROJECTS)
    with made.running():
        yield made


@contextmanager
def all_judged(here: bool) -> Iterator[None]:
    """Every body is judged in this process, or in another."""
    with pytest.MonkeyPatch.context() as patch:
        at_once = 10**9 if here else -1
        for module in ("keen_judging", "lines", "segment_judging"):
            patch.setattr(f"collector.{module}.reads_quickly", lambda body: here)
        patch.setattr("collector.lines.QUICK_LINES", at_once)
        for module in ("keen", "segment_judging"):
            patch.setattr(f"collector.{module}.EVENT_AT_ONCE_BYTES", at_once)
            patch.setattr(f"collector.{module}.BROKEN_AT_ONCE_BYTES", at_once)
        patch.setattr("collector.webhooks.routes.AT_ONCE_BYTES", at_once)
        yield


def same_both_ways(routes: Routes, request: HttpRequest) -> Outcome:
    with all_judged(here=True):
        asked = routes.judges.asked
        outcome = routes.send(request)
        assert routes.judges.asked == asked
    with all_judged(here=False):
        assert routes.send(request) == outcome
    return outcome


def asked_about(routes: Routes, request: HttpRequest) -> int:
    """How often the judges are asked for a request."""
    before = routes.judges.asked
    routes.send(request)
    return routes.judges.asked - before


def post(path: str, body: Any, headers: dict[str, str] | None = None, key: str | None = None) -> HttpRequest:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return HttpRequest("POST", path, {} if key is None else {"api_key": key}, headers or {}, content)


def segment(path: str, body: Any, project: Project = PLAIN) -> HttpRequest:
    basic = base64.b64encode(f"{project.id}:".encode()).decode()
    return post(
        f"/v1/{path}", body, {"authorization": f"Basic {basic}", "user-agent": "Mozilla", "origin": "https://a"}
    )


def webhook(vendor: str, body: Any, headers: dict[str, str] | None = None, project: Project = PLAIN) -> HttpRequest:
    return post(f"/webhooks/{vendor}/{project.id}", body, headers, project.id)


def github(body: bytes, secret: str = SECRET) -> dict[str, str]:
    signature = hmac.new(secret.encode(), body, "sha256").hexdigest()
    return {"x-github-event": "issues", "x-github-delivery": "1", "x-hub-signature-256": f"sha256={signature}"}


def stripe(body: bytes, at: int = NOW) -> dict[str, str]:
    return {"stripe-signature": f"t={at},v1={hmac.new(SECRET.encode(), b'%d.' % at + body, 'sha256').hexdigest()}"}


def keen(path: str, body: Any, project: Project = PLAIN) -> HttpRequest:
    return post(f"/3.0/projects/{project.id}/events{path}", body, {"authorization": project.id})


ISSUE = (
    b'{"action":"opened","issue":{"updated_at":1700000000,"a.b":1,"half":"\\ud800"},"keen":1,"large":1'
    + b"0" * 30
    + b"}"
)
CHARGE = orjson.dumps({"id": "evt_1", "type": "charge.failed", "created": 1_700_000_000, "data": {"amount": 1}})
OPENED = [{"event": "open", "sg_event_id": f"{n}", "timestamp": NOW, "ip": "8.8.8.8", "x.y": n} for n in range(1_200)]
SENDGRID = {name.decode(): value.decode() for name, value in signed.HEADERS.items()}
BATCHED = {"content-type": "application/cloudevents-batch+json"}
NDJSON = {"content-type": "application/x-ndjson; charset=utf-8"}


def lines(query: str, *texts: bytes, project: Project = PLAIN) -> HttpRequest:
    path = f"/3.0/projects/{project.id}/events/c"
    given = dict(parse_qsl(query))
    return HttpRequest("POST", path, given, NDJSON | {"authorization": project.id}, b"\n".join(texts))


CASES: dict[str, tuple[HttpRequest, int, int]] = {  # with the answer's status, and how many records are published
    "keen, an event": (keen("/c", {"a": 1, "keen": {"id": "1"}}), 201, 1),
    "keen, autofill": (keen("/c", {"a": 1}, SIGNED), 201, 1),
    "keen, a bad name": (keen("/c", {"$a": 1}), 400, 0),
    "keen, an event beyond the limit": (keen("/c", {"a": "x" * 950_000}), 413, 0),
    "keen, many": (keen("", {"c": [{"n": 1}, {"$a": 1}, {"keen": 1}] * 300, "_bad": [{}], "d": []}), 200, 300),
    "keen, one broken": (keen("", b'{"c":[{"n":1},{oops},{"n":2}]}'), 200, 2),
    "keen, no batch": (keen("", [1]), 400, 0),
    "keen, too many": (keen("", b'{"c":[' + b"0," * BATCH_EVENTS_MAX + b"0]}"), 413, 0),
    "lines, many": (lines("", *[b'{"n":1}', b"", b'{"$a":1}\r', b'{"keen":1}'] * 300, project=SIGNED), 200, 300),
    "lines, by fields": (lines("id_field=n&timestamp_field=at", *[b'{"n":1,"at":1700000000}', b'{"n":[]}'] * 9), 200, 9),
    "lines, keyed, some broken": (lines("keyed=true&timestamp=2026-01-31", b'i\t{"n":1}', b"j\t{oops}", b"", b'k\t{"n":2}'), 200, 2),
    "lines, one without a key": (lines("keyed=true", b'i\t{"n":1}', b'{"n":2}'), 400, 0),
    "lines, a key that is no text": (lines("keyed=true", b'\xff\t{"n":1}'), 400, 0),
    "lines, none": (lines("keyed=true", b"", b" "), 200, 0),
    "lines, too many": (lines("", *[b"0"] * (BATCH_EVENTS_MAX + 1)), 413, 0),
    "segment, many": (segment("batch", {"batch": MIXED, "context": {"ip": "1.1.1.1"}, "sentAt": TIME}), 200, 709),
    "segment, device mode": (segment("batch", {"batch": MIXED}, SIGNED), 200, 711),
    "segment, old": (segment("b", {"batch": [TRACK | {"timestamp": TIME}], "sentAt": "2026-11-22T00:00:00Z"}), 200, 1),
    "segment, NaN": (segment("import", json.dumps({"batch": [TRACK | {"properties": {"n": float("nan")}}]}).encode()), 200, 1),
    "segment, half a pair": (segment("batch", b'{"batch":[' + orjson.dumps(TRACK).replace(b'"u"', b'"\\ud83d"') + b"]}"), 200, 1),
    "segment, none": (segment("batch", {"batch": []}), 200, 0),
    "segment, no batch": (segment("batch", [TRACK]), 400, 0),
    "segment, ends early": (segment("batch", orjson.dumps({"batch": [TRACK] * 9})[:-2]), 400, 0),
    "segment, too many": (segment("batch", b'{"batch":[' + b"0," * BATCH_EVENTS_MAX + b"0]}"), 400, 0),
    "segment, a message": (segment("track", TRACK), 200, 1),
    "segment, a page": (segment("page", {"name": "a$", "messageId": "p"}), 200, 2),
    "segment, an identify": (segment("identify", {"userId": "u", "traits": {"a": 1}}, SIGNED), 200, 1),
    "segment, an identify that is nothing": (segment("identify", {"userId": "u"}), 200, 0),
    "segment, a bad message": (segment("track", TRACK | {"event": "$"}), 400, 0),
    "segment, a message beyond the limit": (segment("track", TRACK | {"properties": {"a": "x" * 950_000}}), 400, 0),
    "segment, no object": (segment("track", [1]), 400, 0),
    "segment, the body's key": (post("/v1/batch", {"batch": [TRACK], "writeKey": PLAIN.id}), 200, 1),
    "segment, the body's key after a bad one": (
        post("/v1/track", TRACK | {"writeKey": PLAIN.id}, {"authorization": "Basic " + base64.b64encode(b"x:").decode()}), 200, 1,
    ),
    "segment, no key": (post("/v1/batch", {"batch": [TRACK]}), 401, 0),
    "segment, the key is no text": (post("/v1/batch", {"batch": [TRACK], "writeKey": [1]}), 401, 0),
    "segment, a key that reads": (post("/v1/batch", {"batch": [TRACK], "writeKey": PLAIN.id + "r"}), 403, 0),
    "segment, neither key nor JSON": (post("/v1/batch", b"{"), 400, 0),
    "github": (webhook("github", ISSUE, github(ISSUE), SIGNED), 200, 1),
    "github, a form": (webhook("github", urlencode({"payload": ISSUE}).encode(), github(ISSUE)), 200, 1),
    "github, a form that is signed": (
        webhook("github", form := urlencode({"payload": ISSUE}).encode(), github(form), SIGNED), 200, 1,
    ),
    "github, the form's inside is signed": (webhook("github", form, github(ISSUE), SIGNED), 401, 0),
    "github, another secret": (webhook("github", ISSUE, github(ISSUE, "other"), SIGNED), 401, 0),
    "github, no signature": (webhook("github", ISSUE, {}, SIGNED), 401, 0),
    "github, cut": (webhook("github", {"text": "x" * 2_000_000, "list": [1] * 9}, github(b"")), 200, 1),
    "github, no webhook": (webhook("github", b"[1]", github(b"")), 400, 0),
    "github, not JSON": (webhook("github", b"{", github(b"")), 400, 0),
    "stripe": (webhook("stripe", CHARGE, stripe(CHARGE), SIGNED), 200, 1),
    "stripe, too old": (webhook("stripe", CHARGE, stripe(CHARGE, NOW - 301), SIGNED), 401, 0),
    "stripe, no event": (webhook("stripe", {"id": 1}), 400, 0),
    "sendgrid": (webhook("sendgrid", signed.BODY, SENDGRID, SIGNED), 200, 1),
    "sendgrid, changed": (webhook("sendgrid", signed.BODY.rstrip(), SENDGRID, SIGNED), 401, 0),
    "sendgrid, many": (webhook("sendgrid", OPENED), 200, 1_200),
    "sendgrid, all once more": (
        post(f"/3.0/projects/{PLAIN.id}/partners/sendgrid/versions/v3", OPENED, key=PLAIN.id), 200, 2_400,
    ),
    "sendgrid, no object": (webhook("sendgrid", [{}, 1]), 400, 0),
    "sendgrid, the key fills in what nothing may have": (webhook("sendgrid", OPENED, project=BADLY_FILLED), 400, 0),
    "cloudevents": (webhook("cloudevents", [CLOUD_EVENT, CLOUD_EVENT | {"id": "2"}], BATCHED, SIGNED), 200, 2),
    "cloudevents, one is none": (webhook("cloudevents", [CLOUD_EVENT, {}], BATCHED), 400, 0),
    "cloudevents, alone": (webhook("cloudevents", CLOUD_EVENT, {"content-type": "application/cloudevents+json"}), 200, 1),
    "cloudevents, binary": (
        webhook("cloudevents", b"\xff" * 99, {f"ce-{n}": CLOUD_EVENT[n] for n in ("id", "source", "type", "specversion")}), 200, 1,
    ),
    "cloudevents, another format": (webhook("cloudevents", CLOUD_EVENT, {"content-type": "application/json"}), 415, 0),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_dialect(routes: Routes, case: str) -> None:
    request, status, records = CASES[case]
    asked = routes.judges.asked
    outcome = same_both_ways(routes, request)
    assert routes.judges.asked > asked
    assert (outcome.status, len(outcome.published)) == (status, records), outcome.body


@given(REQUESTS, st.sampled_from(PROJECTS))
def test_whatever_comes(routes: Routes, asked: dict[str, Any], project: Project) -> None:
    same_both_ways(routes, as_http(asked, project.id, project.id))


def test_what_is_refused_and_what_makes_no_event_is_counted(routes: Routes) -> None:
    counted = same_both_ways(routes, CASES["segment, many"][0]).counted
    assert {name: value for (_, *labels), value in counted.items() for _, name in labels} == {
        "InvalidMessageError": 3,
        "InvalidCollectionNameError": 1,
        "InvalidPropertyValueError": 2,
        "identify": 2,
        "group": 1,
        "switched_off": 1,
    }
    for case in ("github, no signature", "stripe, too old", "sendgrid, changed"):
        [((name, (_, vendor)), count)] = same_both_ways(routes, CASES[case][0]).counted.items()
        assert (name, vendor, count) == ("headwater_collector_signatures_refused_total", case.partition(",")[0], 1)


def test_what_was_cut_is_logged(routes: Routes) -> None:
    [logged] = same_both_ways(routes, CASES["github, cut"][0]).logged
    assert (logged["event"], logged["collection"], logged["id"]) == ("webhook event was cut", "issues", "1")


def test_a_secret_of_this_moment_is_looked_for(routes: Routes) -> None:
    for here in (True, False):
        made = project(4 + here, {"github.secret": "older"}, {})
        routes.plane.newer = {made.id: made}
        routes.plane.catch_up()
        routes.plane.newer = {made.id: made._replace(settings=SIGNED.settings)}
        with all_judged(here):
            assert routes.send(webhook("github", ISSUE, github(ISSUE), made)).status == 200
        assert routes.plane.project(made.id) == routes.plane.newer[made.id]


TEXT = "x" * 1_000


@pytest.mark.parametrize(
    ("make", "few", "many"),
    [
        (lambda n: keen("/c", {"a": "x" * n * 1_000}), 31, 33),
        (lambda n: keen("", {"c": [{"a": TEXT}] * n}), 1_400, 1_600),
        (lambda n: keen("", {"c": [{}] * n}), 30_000, 90_000),
        (lambda n: keen("", b'{"c":[{oops},' + b"{}," * n + b"{}]}"), 2_000, 3_000),
        (lambda n: segment("track", TRACK | {"properties": {"a": "x" * n * 1_000}}), 31, 33),
        (lambda n: segment("batch", {"batch": [TRACK | {"properties": {"a": TEXT}}] * n}), 1_200, 1_600),
        (lambda n: segment("batch", b'{"batch":[' + b"0," * n + b"0]}"), 70_000, 90_000),
        (lambda n: segment("batch", b'{"batch":[NaN,' + b"0," * n + b"0]}"), 3_000, 5_000),
        (lambda n: webhook("github", {"a": "x" * n * 1_000}, github(b"")), 65, 66),
        (lambda n: webhook("stripe", {"id": "1", "type": "t", "a": "x" * n * 1_000}), 65, 66),
        (lambda n: webhook("sendgrid", OPENED[:n]), 500, 1_000),
        (lambda n: webhook("cloudevents", [CLOUD_EVENT] * n, BATCHED), 500, 1_000),
    ],
)
def test_only_large_bodies_are_judged_elsewhere(
    routes: Routes, make: Callable[[int], HttpRequest], few: int, many: int
) -> None:
    assert [asked_about(routes, make(few)), asked_about(routes, make(many))] == [0, 1]


def test_a_large_body_that_has_its_key_in_it_is_read_for_that_first(routes: Routes) -> None:
    body = {"batch": [TRACK | {"properties": {"a": TEXT}}] * 1_600}
    assert asked_about(routes, post("/v1/batch", body | {"writeKey": PLAIN.id})) == 2
    assert asked_about(routes, post("/v1/batch", body)) == 1  # nobody's: it is not judged
