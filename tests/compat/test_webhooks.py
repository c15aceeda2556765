"""Vendors' own payloads, signatures and SDKs against a whole stack: what they send is answered by queries.

GitHub's are the 329 examples of npm's @octokit/webhooks-examples, signed by @octokit/webhooks-methods; Stripe's are signed by
the helper of PyPI's stripe, SendGrid's is the signed event of its library's tests, CloudEvents are those of PyPI's cloudevents.
"""

import hmac
import json
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from stripe import WebhookSignature

from headwater.client.client import Client
from tests import signed_by_sendgrid as signed
from tests.node import Node
from tests.stack import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

GITHUB_SECRET, STRIPE_SECRET = "It's a Secret to Everybody", "whsec_test_secret"
GREGORIAN = datetime.fromisoformat("1582-10-15T00:00:00Z")


class Project:
    """A project of the stack that only these tests have, with every vendor's secret set."""

    def __init__(self, stack: RunningStack) -> None:
        created = json.loads(stack.run("project", "create", "webhooks", "--json").stdout)
        self.id: str = created["id"]
        secrets = {
            "github.secret": GITHUB_SECRET,
            "stripe.secret": STRIPE_SECRET,
            "sendgrid.public_key": signed.PUBLIC_KEY,
        }
        stack.run("project", "set", self.id, *(f"{name}={value}" for name, value in secrets.items()))
        keys = {name: created[name] for name in ("write_key", "read_key")}
        self.hw: Client = stack.client(project_id=self.id, **keys)
        self.http = httpx.Client(base_url=stack.status["url"], params={"api_key": keys["write_key"]}, timeout=60)

    def send(self, vendor: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        """POST to the vendor's route."""
        return self.http.post(f"/webhooks/{vendor}/{self.id}", content=body, headers=headers)

    def stored(self, collection: str, count: int) -> list[dict[str, Any]]:
        """The events of a collection, oldest first, when so many are there."""
        wait_until(lambda: self.hw.count(collection).value == count, 60, every=0.1)
        events: list[dict[str, Any]] = self.hw.extraction(collection).value
        return sorted(events, key=lambda event: str(event["keen"]["timestamp"]))


@pytest.fixture(scope="module")
def project(stack: RunningStack) -> Iterator[Project]:
    made = Project(stack)
    try:
        # The collector knows the secrets: what is neither signed nor JSON is 401 from then on, and never stored.
        wait_until(lambda: made.send("github", b"neither", {}).status_code == 401, 10)
        yield made
    finally:
        made.http.close()
        made.hw.close()


def known(value: Any) -> Any:
    """A value without what ClickHouse's JSON does not keep (null and empty objects as properties), names without dots."""
    if isinstance(value, dict):
        members = {name.replace(".", "_"): known(member) for name, member in value.items()}
        return {name: member for name, member in members.items() if member not in (None, {})}
    return [known(member) for member in value] if isinstance(value, list) else value


def test_every_example_of_github_arrives(node: Node, project: Project) -> None:
    deliveries = node.run("github_deliveries", {"secret": GITHUB_SECRET})
    assert len(deliveries) == 329
    sent: defaultdict[str, list[Any]] = defaultdict(list)
    requests: list[tuple[bytes, dict[str, str]]] = []
    for number, (event, body, signature) in enumerate(deliveries):
        headers = {
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": str(uuid.uuid1()),
            "X-Hub-Signature-256": signature,
            "Content-Type": "application/json",
        }
        requests.append((body.encode(), headers))
        sent[event].append((known(json.loads(body)), headers["X-GitHub-Delivery"]))
        if number % 40 == 0:  # a redelivery
            requests.append((body.encode(), headers))
    assert len(sent) == 58
    with ThreadPoolExecutor(8) as senders:
        answers = list(senders.map(lambda request: project.send("github", *request), requests))
    assert [(answer.status_code, answer.text) for answer in answers if answer.status_code != 200] == []

    for event, expected in sent.items():
        found = {one["keen"]["id"]: one for one in project.stored(event, len(expected))}
        for payload, delivery in expected:
            keen = found[delivery].pop("keen")
            assert known(found[delivery]) == payload, (event, delivery)
            made = GREGORIAN + timedelta(microseconds=uuid.UUID(delivery).time // 10)
            assert abs(datetime.fromisoformat(keen["timestamp"]) - made) < timedelta(milliseconds=2)

    # What is asked of them; some of the paths that are deepest or oddest.
    pulls = [payload for payload, _ in sent["pull_request"]]
    merged = project.hw.count(
        "pull_request",
        group_by="pull_request.author_association",
        filters=[{"property_name": "pull_request.merged", "operator": "eq", "property_value": False}],
    ).value
    assert sum(row["result"] for row in merged) == sum(pull["pull_request"]["merged"] is False for pull in pulls)
    liked = project.hw.sum("issue_comment", target_property="comment.reactions.+1").value
    assert liked == sum(one["comment"].get("reactions", {}).get("+1", 0) for one, _ in sent["issue_comment"])
    href = project.hw.select_unique("pull_request", target_property="pull_request.head.repo.owner.login").value
    assert {*href} == {pull["pull_request"]["head"]["repo"]["owner"]["login"] for pull in pulls}


def test_githubs_form_and_a_wrong_signature(node: Node, project: Project) -> None:
    _, body, signature = node.run("github_deliveries", {"secret": "another"})[0]
    headers = {"X-GitHub-Event": "form", "X-GitHub-Delivery": str(uuid.uuid1()), "X-Hub-Signature-256": signature}
    assert project.send("github", body.encode(), headers).status_code == 401
    form = urlencode({"payload": body}).encode()
    headers["X-Hub-Signature-256"] = "sha256=" + hmac.new(GITHUB_SECRET.encode(), form, "sha256").hexdigest()
    assert (
        project.send("github", form, headers | {"Content-Type": "application/x-www-form-urlencoded"}).status_code == 200
    )
    (found,) = project.stored("form", 1)
    del found["keen"]
    assert known(found) == known(json.loads(body))


def test_the_event_that_sendgrid_signed(project: Project) -> None:
    headers = {name.decode(): value.decode() for name, value in signed.HEADERS.items()}
    for path in ("email/sendgrid/1.0", "partners/sendgrid/versions/v3"):
        for _ in range(2):
            answer = project.http.post(f"/3.0/projects/{project.id}/{path}", content=signed.BODY, headers=headers)
            assert answer.status_code == 200
    for collection in ("email_dropped", "SendGrid Email Events"):
        (found,) = project.stored(collection, 1)
        assert found.pop("keen")["timestamp"] == "2020-09-14T19:41:32.000Z"
        assert found.pop("timestamp_info")["day_string"] == "Monday"
        assert found == signed.EVENT


def test_sendgrids_add_ons_and_custom_arguments(stack: RunningStack) -> None:
    """In the stack's own project, which checks no signature."""
    event = {
        "email": "ann@example.com",
        "event": "click",
        "sg_event_id": "click-1",
        "timestamp": 1_600_112_492,
        "ip": "8.8.8.8",
        "useragent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "url": "https://shop.example.com/lamps?size=2",
        "order.id": 7,
        "first name": "Ann",
        "parsed_url": "mine",
        "note": "${keen.ip}",
        "notes": ["from ${keen.ip} by \\${keen.user_agent}"],
    }
    url, project_id, key = (stack.status[name] for name in ("url", "project_id", "write_key"))
    path = f"{url}/3.0/projects/{project_id}/email/sendgrid/1.0"
    assert httpx.post(path, params={"api_key": key}, json=[event]).status_code == 200
    with stack.client() as hw:
        wait_until(lambda: hw.count("email_click").value == 1, 60, every=0.1)
        (found,) = hw.extraction("email_click").value
        assert hw.sum("email_click", target_property="order_id", group_by="first name").value == [
            {"first name": "Ann", "result": 7}
        ]
    assert found["ip_geo_info"]["country"] == "United States"
    assert found["parsed_user_agent"]["browser"]["family"] == "Firefox"
    assert (found["parsed_url"]["domain"], found["parsed_url_"]) == ("shop.example.com", "mine")
    assert (found["note"], found["notes"]) == (event["note"], event["notes"])  # what somebody wrote stays
    assert (found["timestamp_info"]["year"], found["timestamp_info"]["hour"]) == (2020, 19)


def test_what_stripes_helper_signs(project: Project) -> None:
    def event(number: int, kind: str, amount: int) -> str:
        data = {
            "object": {"id": f"ch_{number}", "amount": amount, "currency": "usd", "metadata": {"order.id": str(number)}}
        }
        head = {"id": f"evt_{number}", "object": "event", "created": 1_700_000_000 + number, "type": kind}
        return json.dumps(head | {"data": data, "livemode": False}, indent=2)

    now = int(time.time())
    for number, at in ((1, now), (2, now), (2, now - 60)):  # the last one again, as a retry signs it
        body = event(number, "charge.succeeded", 1_999)
        header = WebhookSignature.generate_signature_header(body, STRIPE_SECRET, at)
        assert project.send("stripe", body.encode(), {"Stripe-Signature": header}).status_code == 200
    body = event(3, "charge.dispute.created", 500)
    for header in (
        WebhookSignature.generate_signature_header(body, "whsec_other"),
        WebhookSignature.generate_signature_header(body, STRIPE_SECRET, now - 400),
        WebhookSignature.generate_signature_header(body + " ", STRIPE_SECRET),
    ):
        assert project.send("stripe", body.encode(), {"Stripe-Signature": header}).status_code == 401
    rolled = WebhookSignature.generate_signature_header(body, "whsec_old", now)
    good = WebhookSignature.generate_signature_header(body, STRIPE_SECRET, now)
    both = {"Stripe-Signature": f"{rolled},{good.partition(',')[2]}"}
    assert project.send("stripe", body.encode(), both).status_code == 200

    first, second = project.stored("stripe_charge_succeeded", 2)
    assert second["data"]["object"]["metadata"] == {"order_id": "2"}
    assert [one["keen"]["timestamp"] for one in (first, second)] == [
        "2023-11-14T22:13:21.000Z",
        "2023-11-14T22:13:22.000Z",
    ]
    assert project.hw.sum("stripe_charge_succeeded", target_property="data.object.amount").value == 3_998
    assert len(project.stored("stripe_charge_dispute_created", 1)) == 1


def test_what_cloud_events_sdk_sends(project: Project) -> None:
    def event(identity: str, data: Any, **attributes: Any) -> CloudEvent:
        given = {"id": identity, "source": "/café/bar", "type": "order.placed", "subject": "tåble 7", **attributes}
        return CloudEvent(given | {"time": datetime.fromisoformat("2026-01-31T12:00:00.5Z")}, data)

    for message in (
        to_binary_event(event("1", {"total": 7.5}, datacontenttype="application/json")),
        to_binary_event(event("1", {"total": 7.5}, datacontenttype="application/json")),
        to_binary_event(event("2", "two coffees", datacontenttype="text/plain")),
        to_structured_event(event("3", {"total": 2.5}, traceid="abc")),
    ):
        assert project.send("cloudevents", message.body, dict(message.headers)).status_code == 200
    found = {one["id"]: one for one in project.stored("order.placed", 3)}
    assert {one["keen"]["timestamp"] for one in found.values()} == {"2026-01-31T12:00:00.500Z"}
    assert {(one["source"], one["subject"]) for one in found.values()} == {("/café/bar", "tåble 7")}
    assert [found[number]["data"] for number in "123"] == [{"total": 7.5}, "two coffees", {"total": 2.5}]
    assert found["3"]["traceid"] == "abc"
    assert project.hw.sum("order.placed", target_property="data.total").value == 10
