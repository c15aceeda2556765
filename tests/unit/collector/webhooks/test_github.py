"""GitHub's requests: signatures by its own vector, forms, and what tells when it happened."""

import hmac
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from collector.webhooks.github import delivery_time, events, payload_time, verify
from collector.webhooks.vendor_event import DeliveryError, SignatureError, VendorEvent

SECRET = "It's a Secret to Everybody"
SIGNED = b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
GUID = "11eb8e80-3f7f-11ed-8e05-b5a152a893a5"  # one that GitHub sent
HEADERS = {b"x-github-event": b"issues", b"x-github-delivery": GUID.encode()}


def at(milliseconds: int | None) -> str:
    assert milliseconds is not None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()


def test_the_vector_of_githubs_documentation() -> None:
    verify(b"Hello, World!", {b"x-hub-signature-256": SIGNED}, SECRET)


@pytest.mark.parametrize(
    ("body", "headers", "secret"),
    [
        (b"Hello, World?", {b"x-hub-signature-256": SIGNED}, SECRET),
        (b"Hello, World!", {b"x-hub-signature-256": SIGNED}, "another"),
        (b"Hello, World!", {b"x-hub-signature-256": SIGNED[:-1]}, SECRET),
        (b"Hello, World!", {b"x-hub-signature-256": SIGNED.removeprefix(b"sha256=")}, SECRET),
        (b"Hello, World!", {b"x-hub-signature-256": b"\xff"}, SECRET),
        (b"Hello, World!", {b"x-hub-signature-256": b""}, SECRET),
        (b"Hello, World!", {b"x-hub-signature": SIGNED}, SECRET),
        (b"Hello, World!", {}, SECRET),
    ],
)
def test_what_is_not_signed(body: bytes, headers: dict[bytes, bytes], secret: str) -> None:
    with pytest.raises(SignatureError):
        events(body, HEADERS | headers, secret, 100)


@pytest.mark.parametrize("form", [False, True])
def test_json_and_forms(form: bool) -> None:
    payload = {"action": "opened", "issue": {"title": "é & + %"}, "reactions": {"+1": 2}}
    body = json.dumps(payload).encode()
    if form:
        body = urlencode({"payload": body}).encode()
    signature = b"sha256=" + hmac.new(SECRET.encode(), body, "sha256").hexdigest().encode()
    found = events(body, HEADERS | {b"x-hub-signature-256": signature}, SECRET, 100)
    assert found == [VendorEvent("issues", payload, GUID, delivery_time(GUID), [])]


@pytest.mark.parametrize("length", [65_000, 65_520, 65_521, 65_522, 65_523, 65_524, 65_525, 65_526, 65_530, 200_000])
def test_forms_of_any_length(length: int) -> None:
    payload = {"text": "x" * length + "\u00e9 100% + & = %C3" * 20}
    form = urlencode({"a": 1, "payload": json.dumps(payload, ensure_ascii=False), "b": 2}).encode()
    [found] = events(form, HEADERS, None, 100)
    assert found.properties == payload


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{}", {b"x-github-event": b"push"}),
        (b"{}", {b"x-github-delivery": b"1"}),
        (b"[]", HEADERS),
        (b"no", HEADERS),
        (b"payload=no", HEADERS),
        (b"payload=" + b"a=b&" * 50, HEADERS),
        (b"", HEADERS),
    ],
)
def test_what_is_no_delivery(body: bytes, headers: dict[bytes, bytes]) -> None:
    with pytest.raises(DeliveryError):
        events(body, headers, None, 100)


def test_a_delivery_says_when_it_was_made() -> None:
    assert at(delivery_time(GUID)) == "2022-09-28T22:44:11.240000+00:00"


@pytest.mark.parametrize(
    "guid", ["", "7", "d8a1b4cc-0e7a-4c2a-9a3e-3e3b8a0c7e11", "00000000-0000-1000-8000-000000000000"]
)
def test_other_ids_say_nothing(guid: str) -> None:
    assert delivery_time(guid) is None


@pytest.mark.parametrize(
    ("event", "payload", "time"),
    [
        ("push", {"repository": {"pushed_at": 1557933657}}, "2019-05-15T15:20:57+00:00"),
        ("create", {"repository": {"pushed_at": "2019-05-15T15:20:41Z"}}, "2019-05-15T15:20:41+00:00"),
        ("star", {"action": "created", "starred_at": "2019-05-15T15:20:40Z"}, "2019-05-15T15:20:40+00:00"),
        (
            "issues",
            {"action": "edited", "issue": {"created_at": "2018-01-01T00:00:00Z", "updated_at": "2019-05-15T15:20:18Z"}},
            "2019-05-15T15:20:18+00:00",
        ),
        (
            "issue_comment",
            {"action": "created", "issue": {"updated_at": "x"}, "comment": {"created_at": "2019-05-15T15:20:21Z"}},
            "2019-05-15T15:20:21+00:00",
        ),
        (
            "pull_request_review",
            {"action": "submitted", "review": {"submitted_at": "2019-05-15T17:20:38+02:00"}},
            "2019-05-15T15:20:38+00:00",
        ),
    ],
)
def test_what_a_payload_says(event: str, payload: dict[str, Any], time: str) -> None:
    assert at(payload_time(event, payload)) == time


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("star", {"action": "deleted", "starred_at": None}),
        ("issue_comment", {"action": "deleted", "comment": {"updated_at": "2019-05-15T15:20:21Z"}}),
        ("sponsorship", {"action": "edited", "sponsorship": {"created_at": "2019-12-20T19:24:46+00:00"}}),
        ("issues", {"action": ["opened"], "issue": [1]}),
        ("push", {"repository": None}),
        ("status", {"updated_at": "0001-01-01T00:00:00Z"}),
    ],
)
def test_what_leaves_no_time(event: str, payload: dict[str, Any]) -> None:
    assert payload_time(event, payload) is None
