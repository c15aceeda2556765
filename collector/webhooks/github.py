"""GitHub's webhooks: one event a request, signed with HMAC-SHA256 (docs.github.com, "Validating webhook deliveries")."""

import hmac
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from collector.webhooks.acceptable import acceptable, acceptable_collection, parse
from collector.webhooks.vendor_event import DeliveryError, SignatureError, VendorEvent, client_id, iso_time, unix_time
from headwater.rules import TIMESTAMP_MAX

BODY_MAX = 25 * 1024 * 1024  # GitHub sends no more
FORM_FIELD = b"payload="
FORM_FIELDS_MAX = 20
FORM_CHUNK = 64 * 1024

GREGORIAN = 0x01B21DD213814000  # RFC 9562: 1970 in the time of a UUIDv1, 100 ns each since 1582
FIRST_TIME = 1_199_145_600_000  # 2008, when GitHub began

# The object that an event is about, where it does not have the event's name.
_SUBJECTS = {
    "branch_protection_rule": "rule",
    "code_scanning_alert": "alert",
    "commit_comment": "comment",
    "dependabot_alert": "alert",
    "deployment_review": "workflow_run",
    "discussion_comment": "comment",
    "fork": "forkee",
    "issue_comment": "comment",
    "issues": "issue",
    "pull_request_review": "review",
    "pull_request_review_comment": "comment",
    "pull_request_review_thread": "pull_request",
    "repository_vulnerability_alert": "alert",
    "secret_scanning_alert": "alert",
}
_PUSHED = frozenset({"create", "delete", "push"})
_BEGINNINGS = frozenset({None, "created", "opened", "published", "submitted"})


def events(body: bytes, headers: Mapping[bytes, bytes], secret: str | None, max_depth: int) -> list[VendorEvent]:
    """The event of a request, in the collection of its name, with the delivery's id.

    `body` is as it came, JSON or a form with it in `payload`. Where there is a secret, raises SignatureError unless
    X-Hub-Signature-256 is made with it. Raises DeliveryError.
    """
    if secret is not None:
        verify(body, headers, secret)
    event, delivery = headers.get(b"x-github-event"), headers.get(b"x-github-delivery")
    if not event or not delivery:
        raise DeliveryError(
            "The headers X-GitHub-Event and X-GitHub-Delivery are missing: this is no webhook of GitHub's."
        )
    name, guid = event.decode("utf-8", "replace"), delivery.decode("utf-8", "replace")
    payload = _payload(body)
    time = delivery_time(guid)
    if time is None:
        time = payload_time(name, payload)
    return [VendorEvent(acceptable_collection(name), acceptable(payload, max_depth), client_id(guid), time, [])]


def verify(body: bytes, headers: Mapping[bytes, bytes], secret: str) -> None:
    """Raises SignatureError unless the body is signed with the secret."""
    given = headers.get(b"x-hub-signature-256")
    if given is None:
        raise SignatureError("The header X-Hub-Signature-256 is missing: give the webhook the project's github.secret.")
    expected = b"sha256=" + hmac.new(secret.encode(), body, "sha256").hexdigest().encode()
    if not hmac.compare_digest(given.strip(), expected):
        raise SignatureError("X-Hub-Signature-256 is not made with the project's github.secret.")


def delivery_time(guid: str) -> int | None:
    """When GitHub made the delivery, in milliseconds: its id is a UUIDv1 and says so. None for any other id."""
    try:
        identity = uuid.UUID(guid)
    except ValueError:
        return None
    if identity.version != 1:
        return None
    milliseconds = (identity.time - GREGORIAN) // 10_000
    return milliseconds if FIRST_TIME <= milliseconds <= TIMESTAMP_MAX else None


def payload_time(event: str, payload: Mapping[str, Any]) -> int | None:
    """When it happened by the payload, in milliseconds; None where no time in it says so.

    That is when a push reached the repository; else when the event's object was changed, or made where the action is its
    making. A deletion leaves no time.
    """
    if event in _PUSHED:
        return _time(payload.get("repository"), "pushed_at")
    action = payload.get("action")
    if action == "deleted":
        return None
    name = _SUBJECTS.get(event, event)
    for subject in (payload.get(name), payload):
        for member in ("updated_at", "submitted_at", "completed_at", "starred_at"):
            time = _time(subject, member)
            if time is not None:
                return time
        if type(action) not in (str, type(None)) or action not in _BEGINNINGS:
            continue
        for member in ("created_at", "published_at"):
            time = _time(subject, member)
            if time is not None:
                return time
    return None


def _payload(body: bytes) -> dict[str, Any]:
    text = body
    if body.lstrip()[:1] != b"{":
        fields = [field for field in body.split(b"&", FORM_FIELDS_MAX) if field.startswith(FORM_FIELD)]
        if not fields:
            raise DeliveryError("The body must be a JSON object, or a form with one in its field payload.")
        text = _unquoted(fields[0].removeprefix(FORM_FIELD))
    payload = parse(text)
    if type(payload) is not dict:
        raise DeliveryError("The payload must be a JSON object.")
    return payload


def _unquoted(text: bytes) -> bytes:
    """A form's text, decoded chunk by chunk: at once, all its escapes would be as many objects."""
    text = text.replace(b"+", b" ")
    parts: list[bytes] = []
    start = 0
    while start < len(text):
        end = start + FORM_CHUNK
        escape = text.find(b"%", end - 2, end)  # perhaps one that the chunk's end would cut
        if escape >= 0:
            end = escape
        parts.append(unquote_to_bytes(text[start:end]))
        start = end
    return b"".join(parts)


def _time(subject: object, member: str) -> int | None:
    value = subject.get(member) if isinstance(subject, dict) else None
    return iso_time(value) if type(value) is str else unix_time(value)
