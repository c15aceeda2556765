"""Requests of every dialect that the collector takes, made of the same events; signed wherever the vendor signs."""

import base64
import hmac
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import orjson
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from benchmarks.events import ADDONS, COLLECTION, Event
from benchmarks.http_load import bulk_requests, request

SECRET = "a secret that signs"


class Dialect(NamedTuple):
    """Requests with `size` events each, and how many connections send them. `name` is the benchmark's case."""

    name: str
    size: int
    connections: int
    requests: list[bytes]


class Dialects:
    """The requests for one project."""

    def __init__(self, project_id: str, write_key: str, events: list[Event], size: int) -> None:
        """`size`: events in a request, where the dialect has room for more than one."""
        self._project_id = project_id
        self._key = write_key
        self._events = events
        self._size = size
        self._signer = generate_private_key(SECP256R1())

    @property
    def settings(self) -> dict[str, str | None]:
        """What the project must know of the vendors' signatures."""
        public = self._signer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return {
            "github.secret": SECRET,
            "stripe.secret": SECRET,
            "sendgrid.public_key": base64.b64encode(public).decode(),
        }

    def keen(self, batch_connections: int, single_connections: int) -> tuple[Dialect, Dialect]:
        """Keen's bulk route, and its route for one event."""
        path = f"/3.0/projects/{self._project_id}/events"
        events = [keen_event(event) for event in self._events]
        batches = bulk_requests(path, self._key, COLLECTION, events, self._size)
        singles = [request(f"{path}/{COLLECTION}", self._key, event) for event in events]
        return (
            Dialect(f"batches of {self._size}", self._size, batch_connections, batches),
            Dialect("single events", 1, single_connections, singles),
        )

    def large_batches(self, connections: int) -> Dialect:
        """Keen's bulk route with ten times as many events in a request."""
        path, size = f"/3.0/projects/{self._project_id}/events", 10 * self._size
        events = [keen_event(event) for event in self._events]
        requests = bulk_requests(path, self._key, COLLECTION, events, size)
        return Dialect(f"batches of {size:,}", size, connections, requests)

    def others(self, batch_connections: int, single_connections: int) -> list[Dialect]:
        """All other dialects. What they sign is of now: Stripe's is good for five minutes."""
        size = self._size
        return [
            Dialect(f"NDJSON, {size} lines", size, batch_connections, list(self._lines())),
            Dialect(f"Segment, batches of {size}", size, batch_connections, list(self._segment_batches())),
            Dialect("Segment, single messages", 1, single_connections, list(self._segment_singles())),
            Dialect("GitHub, signed", 1, single_connections, list(self._github())),
            Dialect("Stripe, signed", 1, single_connections, list(self._stripe())),
            Dialect(f"SendGrid, {size} a request, signed", size, batch_connections, list(self._sendgrid())),
            Dialect(f"CloudEvents, batches of {size}", size, batch_connections, list(self._cloudevents())),
            Dialect("CloudEvents, binary", 1, single_connections, list(self._cloudevents_binary())),
        ]

    def _lines(self) -> Iterator[bytes]:
        path = f"/3.0/projects/{self._project_id}/events/{COLLECTION}"
        for batch in self._batches():
            body = b"\n".join(map(keen_event, batch))
            yield request(path, self._key, body, {"Content-Type": "application/x-ndjson"})

    def _segment_batches(self) -> Iterator[bytes]:
        for batch in self._batches():
            body = {"batch": [_track(event) for event in batch], "writeKey": self._key, "sentAt": _iso(_now())}
            yield request("/v1/batch", None, orjson.dumps(body))

    def _segment_singles(self) -> Iterator[bytes]:
        for event in self._events:
            yield request("/v1/track", None, orjson.dumps(_track(event) | {"writeKey": self._key}))

    def _github(self) -> Iterator[bytes]:
        for event in self._events:
            body = event.properties.encode()
            headers = {
                "X-GitHub-Event": COLLECTION,
                "X-GitHub-Delivery": event.id,
                "X-Hub-Signature-256": "sha256=" + hmac.new(SECRET.encode(), body, "sha256").hexdigest(),
            }
            yield request(self._webhook("github"), None, body, headers)

    def _stripe(self) -> Iterator[bytes]:
        signed_at = str(_now() // 1_000)
        for event in self._events:
            about = {"id": f"evt_{event.id}", "type": "charge.succeeded", "created": event.timestamp // 1_000}
            body = orjson.dumps(about | {"data": {"object": orjson.loads(event.properties)}})
            signature = hmac.new(SECRET.encode(), f"{signed_at}.".encode() + body, "sha256").hexdigest()
            yield request(self._webhook("stripe"), None, body, {"Stripe-Signature": f"t={signed_at},v1={signature}"})

    def _sendgrid(self) -> Iterator[bytes]:
        signed_at = str(_now() // 1_000)
        for batch in self._batches():
            body = orjson.dumps(
                [
                    orjson.loads(event.properties)
                    | {"event": "open", "sg_event_id": event.id, "timestamp": event.timestamp // 1_000}
                    for event in batch
                ]
            )
            signature = self._signer.sign(signed_at.encode() + body, ECDSA(SHA256()))
            headers = {
                "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
                "X-Twilio-Email-Event-Webhook-Timestamp": signed_at,
            }
            yield request(self._webhook("sendgrid"), None, body, headers)

    def _cloudevents(self) -> Iterator[bytes]:
        for batch in self._batches():
            body = [_attributes(event) | {"data": orjson.loads(event.properties)} for event in batch]
            headers = {"Content-Type": "application/cloudevents-batch+json"}
            yield request(self._webhook("cloudevents"), None, orjson.dumps(body), headers)

    def _cloudevents_binary(self) -> Iterator[bytes]:
        for event in self._events:
            headers = {f"ce-{name}": value for name, value in _attributes(event).items()}
            yield request(self._webhook("cloudevents"), None, event.properties.encode(), headers)

    def _webhook(self, vendor: str) -> str:
        return f"/webhooks/{vendor}/{self._project_id}?api_key={self._key}"

    def _batches(self) -> Iterable[list[Event]]:
        return (self._events[start : start + self._size] for start in range(0, len(self._events), self._size))


def keen_event(event: Event) -> bytes:
    """The event as Keen's clients send it: its time, id and add-ons under `keen`."""
    keen = {"timestamp": _iso(event.timestamp), "addons": orjson.loads(ADDONS), "uniqueness_token": event.id}
    return orjson.dumps(orjson.loads(event.properties) | {"keen": keen})


def _track(event: Event) -> dict[str, Any]:
    """The event as a track of Segment's."""
    properties = orjson.loads(event.properties)
    return {
        "type": "track",
        "event": COLLECTION,
        "messageId": event.id,
        "timestamp": _iso(event.timestamp),
        "userId": properties["user"]["id"],
        "context": {"library": {"name": "benchmark", "version": "1"}, "userAgent": event.user_agent, "ip": event.ip},
        "properties": properties,
    }


def _attributes(event: Event) -> dict[str, str]:
    """The attributes of the event as a CloudEvent."""
    return {
        "specversion": "1.0",
        "id": event.id,
        "source": "/benchmark",
        "type": COLLECTION,
        "time": _iso(event.timestamp),
    }


def _now() -> int:
    return time.time_ns() // 1_000_000


def _iso(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:03d}Z"
