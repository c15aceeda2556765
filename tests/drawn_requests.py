"""Requests to every route of the collector, as its clients make them and as nobody should, for Hypothesis to draw."""

import base64
import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import strategies as st

SEGMENT = (
    "batch",
    "import",
    "b",
    "identify",
    "track",
    "page",
    "screen",
    "group",
    "alias",
    "i",
    "t",
    "p",
    "s",
    "g",
    "a",
    "m",
)
KEEN = "/3.0/projects/{id}"
PATHS = (
    *(f"/v1/{kind}" for kind in SEGMENT),
    *(f"/v1/pixel/{kind}" for kind in ("track", "identify", "page")),
    "/v1/projects/{key}/settings",
    "/v1/nothing",
    KEEN + "/events",
    KEEN + "/events/c",
    KEEN + "/events/%24c",
    KEEN + "/email/sendgrid/1.0",
    KEEN + "/partners/sendgrid/versions/v3",
    *(f"/webhooks/{vendor}/{{id}}" for vendor in ("github", "stripe", "sendgrid", "cloudevents")),
)
TIME = "2026-11-22T15:17:16.903Z"
MESSAGE = {
    "type": "track", "event": "e", "userId": "u", "messageId": "m", "timestamp": TIME, "sentAt": TIME, "properties": {"a": 1},
    "context": {"ip": "8.8.8.8", "page": {"url": "https://example.com/"}}, "integrations": {"All": True}, "writeKey": "{key}",
}  # fmt: skip
BODIES: tuple[Any, ...] = (
    {"a": 1, "keen": {"timestamp": TIME, "id": "i", "addons": [{"name": "keen:url_parser", "input": {"url": "a"}, "output": "b"}]}},
    {"c": [{"a": 1}, {"b": {"c": [1, {"d": None}]}}], "d": []},
    MESSAGE,
    {"batch": [MESSAGE, MESSAGE | {"type": "identify", "traits": {"x": 1}}], "sentAt": TIME, "writeKey": "{key}"},
    [{"email": "a@b", "event": "click", "timestamp": 1_700_000_000, "sg_event_id": "s", "category": ["x"], "url": "https://a/"}],
    {"id": "evt_1", "object": "event", "type": "charge.failed", "created": 1_700_000_000, "data": {"object": {"amount": 1}}},
    {"action": "opened", "issue": {"id": 1, "labels": [{"name": "x"}]}, "repository": {"pushed_at": 1_700_000_000}},
    {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"a": 1}},
    [{"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data_base64": "AA=="}],
)  # fmt: skip
HOSTILE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=30),
    st.sampled_from(
        ["", "$", "a.b", "\ud800", "x" * 5_000, "${keen.ip}", TIME, "9999-99-99", "'; DROP TABLE x --", "0" * 400]
    ),
    st.sampled_from([[], {}, [[]], [{}], {"": 1}, {"a": {"a": {"a": []}}}, {"$x": 1}, {"keen": 1}, [1, "a", None]]),
)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "content-type", "content-encoding", "x-github-event", "x-github-delivery", "x-hub-signature-256", "stripe-signature",
            "ce-id", "ce-source", "ce-type", "ce-specversion", "ce-time", "ce-%", "x-forwarded-for", "user-agent", "authorization",
            "x-twilio-email-event-webhook-signature", "webhook-request-origin", "origin", "x-retry-count",
        ]
    ),
    st.one_of(
        st.sampled_from(
            [
                "application/json", "text/plain", "application/x-www-form-urlencoded", "application/cloudevents+json",
                "application/cloudevents-batch+json", "application/x-ndjson", "gzip", "deflate", "br", "identity", "1.0", "t=1,v1=00", "sha256=00", "Basic !",
                "Bearer x", "push", "%FF", '"', "8.8.8.8, 1.1.1.1", TIME,
            ]
        ),
        st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=40),
    ),
    max_size=4,
)  # fmt: skip


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """A value of which some parts, at any depth, are others."""
    if draw(st.integers(0, 5)) == 0:
        return draw(HOSTILE)
    if isinstance(value, dict):
        made = {name: draw(changed(member)) for name, member in value.items() if draw(st.integers(0, 9))}
        return made | draw(st.dictionaries(st.text(max_size=8), HOSTILE, max_size=1))
    if isinstance(value, list):
        return [draw(changed(member)) for member in value]
    return value


def as_text(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


class Body(bytes):
    """Bytes of which only the beginning is shown."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes: {bytes(self[:2_000])!r}>"


NESTED = [b"[" * n + b"]" * n for n in (150, 100_000)] + [b'{"a":' * 3_000 + b"1" + b"}" * 3_000]
WRITTEN = st.one_of(
    st.sampled_from(BODIES).flatmap(changed).map(as_text),
    st.sampled_from(BODIES).flatmap(changed).map(as_text),
    st.binary(max_size=200),
    st.sampled_from(
        [
            *NESTED,
            b"",
            b"{",
            b'{"a":1}\n\n[]\n{"a":',
            b'{"a":1,"a":2}',
            b'{"a":1e999}',
            b"\xef\xbb\xbf{}",
            b'{"a":"\xff"}',
            b"payload=%7B%7D",
        ]
    ),
    st.tuples(st.sampled_from(BODIES).map(as_text), st.integers(0, 400)).map(lambda cut: cut[0][: cut[1]]),
)
PACKED: tuple[Callable[[bytes], bytes], ...] = (
    bytes,
    gzip.compress,
    zlib.compress,
    lambda body: gzip.compress(body)[:-3],
)
REQUESTS = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["POST", "POST", "POST", "GET", "OPTIONS", "PUT", "HEAD"]),
        "path": st.sampled_from(PATHS),
        "body": st.tuples(WRITTEN, st.sampled_from(PACKED)).map(lambda made: Body(made[1](made[0]))),
        "headers": HEADERS,
        "key": st.sampled_from(["basic", "query", "header", "none", "wrong"]),
        "data": st.one_of(st.none(), WRITTEN.map(Body)),
    }
)


class HttpRequest(NamedTuple):
    """A drawn request, as it is sent."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    content: bytes


def as_http(asked: dict[str, Any], project_id: str, key: str) -> HttpRequest:
    """A request of REQUESTS to a project with this key."""
    given: dict[str, dict[str, str]] = {
        "basic": {"authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()},
        "header": {"authorization": key},
        "wrong": {"authorization": "no such key"},
    }
    params = {"api_key": key} if asked["key"] == "query" else {}
    if asked["data"] is not None:
        params["data"] = base64.b64encode(asked["data"][:2_000]).decode()
    return HttpRequest(
        asked["method"],
        asked["path"].format(id=project_id, key=key),
        params,
        {**given.get(asked["key"], {}), **asked["headers"]},
        asked["body"].replace(b"{key}", key.encode()),
    )
