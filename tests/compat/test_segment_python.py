"""The unmodified `segment-analytics-python` 2.4.0 and `rudder-sdk-python` 2.1.9 from PyPI, against a whole stack.

The first answer about each message is lost on its way, so that the clients send everything twice.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rudderstack.analytics.client import Client as Rudder
from segment.analytics.client import Client as Segment

from tests.compat.segment import CONTEXT, PAGES, TIME, SegmentProject, check_enriched, segment_project
from tests.stack import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

CLIENTS = {"segment": Segment, "rudder": Rudder}
AT = datetime.fromisoformat(TIME)
LARGE = 600_000  # Segment's client takes 32 KB a message and 475 KB a batch, RudderStack's 4 MB


@pytest.fixture(scope="module")
def errors() -> list[Exception]:
    """What the clients could not send."""
    return []


@pytest.fixture(scope="module")
def project(stack: RunningStack, errors: list[Exception]) -> Iterator[SegmentProject]:
    """A project to which each client has made every call that it has."""
    with segment_project(stack) as project:
        clients = {
            name: client(
                project.write_key,
                host=project.proxy.url,
                on_error=lambda error, _: errors.append(error),
                upload_interval=0.1,
                gzip=name == "rudder",
            )
            for name, client in CLIENTS.items()
        }
        for name, client in clients.items():
            call_all(client, name)
        clients["rudder"].track("u-7", "rudder large", {"text": "x" * LARGE}, message_id="rudder large")
        for client in clients.values():
            client.flush()
            client.join()
        yield project


def call_all(client: Any, name: str) -> None:
    """Every call; what one client sends is told from the others' by `client`, ids and users."""

    def common(call: str) -> dict[str, Any]:
        return {"context": dict(CONTEXT), "timestamp": AT, "message_id": f"{name} {call}"}

    properties = {"client": name, "revenue": 7.5, "ratio": float("nan"), "items": [{"sku.id": "a"}], "when": AT}
    switch = {"Keen IO": {"traits": {"plan": "pro"}}}
    client.identify("u-7", {"email": "u@example.com"}, **common("identify"))
    client.track("u-7", f"{name} order", properties, integrations=switch, **common("track"))
    client.track(anonymous_id="a-7", event=f"{name} visit", message_id=f"{name} visit", timestamp=AT)
    client.page("u-7", "Docs", "Index", {"client": name}, **common("page"))
    client.screen("u-7", name="Home", properties={"client": name}, **common("screen"))
    client.group("u-7", "g-7", {"size": 3}, **common("group"))
    client.alias("a-7", "u-7", **common("alias"))
    client.track("u-7", f"{name} order", {"n": 2}, integrations={"All": False}, **common("elsewhere"))
    client.track("u-7", f"{name} $order", {"n": 3}, **common("refused"))
    client.track(5, f"{name} now")


@pytest.mark.parametrize("name", CLIENTS)
def test_a_track_is_one_enriched_event(project: SegmentProject, errors: list[Exception], name: str) -> None:
    [event] = project.events(f"{name} order", 1)
    assert errors == []
    assert event["keen"]["id"] == project.id_of(f"{name} track")
    assert event["keen"]["timestamp"] == TIME
    assert (event["userId"], event["traits"]) == ("u-7", {"plan": "pro"})
    assert (event["client"], event["revenue"], event["items"]) == (name, 7.5, [{"sku_id": "a"}])
    assert event.get("ratio") is None
    assert datetime.fromisoformat(event["when"]) == AT
    check_enriched(event)


@pytest.mark.parametrize("name", CLIENTS)
def test_who_is_not_identified(project: SegmentProject, name: str) -> None:
    [event] = project.events(f"{name} visit", 1)
    assert (event["userId"], event["keen"]["id"]) == ("a-7", project.id_of(f"{name} visit"))
    [numbered] = project.events(f"{name} now", 1)
    assert numbered["userId"] == "5"
    assert abs(datetime.fromisoformat(numbered["keen"]["timestamp"]) - datetime.now(UTC)).total_seconds() < 300


def test_a_message_of_the_size_that_only_rudderstack_takes(project: SegmentProject, errors: list[Exception]) -> None:
    [event] = project.events("rudder large", 1)
    assert errors == []
    assert len(event["text"]) == LARGE


@pytest.mark.parametrize(("collection", "call"), PAGES)
def test_pages_and_screens(project: SegmentProject, collection: str, call: str) -> None:
    events = {event["client"]: event for event in project.events(collection, len(CLIENTS))}
    assert events.keys() == CLIENTS.keys()
    for name, event in events.items():
        assert event["keen"]["id"] == project.id_of(f"{name} {call}")
        assert event["name"] == ("Index" if "Page" in collection else "Home")
        check_enriched(event)


@pytest.mark.parametrize("name", CLIENTS)
def test_device_mode_attaches_who_was_identified(stack: RunningStack, name: str) -> None:
    with segment_project(stack, "segment.mode=device") as project:
        # Not through the proxy: an event that comes again after a later identify has the later traits.
        client = CLIENTS[name](project.write_key, host=stack.status["url"], upload_interval=0.1)
        later = AT + timedelta(seconds=1)
        client.track("u-7", "before", {"n": 1}, context=dict(CONTEXT), timestamp=AT)
        client.identify("u-7", {"plan.name": "pro"}, timestamp=AT, message_id="identify")
        client.track("u-7", "order", {"n": 2}, context=dict(CONTEXT), timestamp=AT)
        client.identify("u-7", {"plan.name": "team"}, timestamp=later)
        client.track("u-7", "order", {"n": 3}, context=dict(CONTEXT), timestamp=later)
        client.track("u-8", "other", {"n": 4}, timestamp=later)
        client.flush()
        client.join()
        found = [*project.events("before", 1), *project.events("order", 2), *project.events("other", 1)]
        assert [event["user"] for event in found] == [
            {"userId": "u-7"},
            {"userId": "u-7", "traits": {"id": "u-7", "plan_name": "pro"}},
            {"userId": "u-7", "traits": {"id": "u-7", "plan_name": "team"}},
            {"userId": "u-8"},
        ]
        assert all("userId" not in event and "traits" not in event for event in found)
        check_enriched(found[0])


def test_nothing_else_is_an_event_and_what_is_refused_is_a_dead_letter(
    project: SegmentProject, stack: RunningStack
) -> None:
    views = ("Loaded a Page", "Viewed Docs Page", "Viewed Docs Index Page", "Loaded a Screen", "Viewed Home Screen")
    tracks = ["rudder large", *(f"{name} {kind}" for name in CLIENTS for kind in ("order", "visit", "now"))]
    for collection in tracks:
        project.events(collection, 1)
    wait_until(lambda: {*project.hw.collections()} == {*views, *tracks}, 20)
    letters = [letter["message"] for letter in json.loads(stack.run("dead-letter", "list", "--json").stdout)]
    for name in CLIENTS:
        assert any(f"'{name} $order' has a $" in message for message in letters)
    assert set(project.proxy.answers) == {200}
