"""The unmodified `@segment/analytics-node`, `@rudderstack/rudder-sdk-node` and `@segment/analytics-next` from npm, against a whole stack.

The first answer about each message is lost on its way, so that the clients send everything twice.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.compat.segment import (
    CONTEXT,
    FIREFOX,
    PAGE,
    PAGES,
    TIME,
    SegmentProject,
    check_enriched,
    check_page,
    segment_project,
)
from tests.node import Node
from tests.stack import RunningStack

pytestmark = pytest.mark.timeout(300)

CLIENTS = {"segment": "host", "rudder": "dataPlaneUrl"}  # with the name of the option that says where to send


@pytest.fixture(scope="module")
def project(node: Node, stack: RunningStack) -> Iterator[SegmentProject]:
    """A project to which each client for servers has made every call that it has."""
    with segment_project(stack) as project:
        for name, option in CLIENTS.items():
            client = {"writeKey": project.write_key, option: project.proxy.url}
            done = node.run("segment", {"which": name, "client": client, "calls": calls(name)})
            assert done == {"told": [None] * len(calls(name)), "errors": []}
        yield project


def calls(name: str) -> list[dict[str, Any]]:
    """Every call; what one client sends is told from the others' by `client`, ids and users."""

    def call(method: str, **members: Any) -> dict[str, Any]:
        common = {"userId": "u-7", "context": CONTEXT, "timestamp": TIME, "messageId": f"{name} {method}"}
        return {"method": method, "with": common | members}

    switch = {"All": False, "Keen IO": {"traits": {"plan": "pro"}}}
    order = {"client": name, "revenue": 7.5, "items": [{"sku.id": "a"}]}
    return [
        call("identify", traits={"email": "u@example.com"}),
        call("track", event=f"{name} node order", properties=order, integrations=switch),
        call("page", category="Docs", name="Index", properties={"client": name}),
        call("screen", name="Home", properties={"client": name}),
        call("group", groupId="g-7", traits={"size": 3}),
        call("alias", previousId="a-7"),
    ]


@pytest.mark.parametrize("name", CLIENTS)
def test_a_track_from_node_is_one_enriched_event(project: SegmentProject, name: str) -> None:
    [event] = project.events(f"{name} node order", 1)
    assert (event["keen"]["id"], event["keen"]["timestamp"]) == (project.id_of(f"{name} track"), TIME)
    assert (event["userId"], event["traits"]) == ("u-7", {"plan": "pro"})
    assert (event["client"], event["revenue"], event["items"]) == (name, 7.5, [{"sku_id": "a"}])
    check_enriched(event)


@pytest.mark.parametrize(("collection", "call"), PAGES)
def test_pages_and_screens_from_node(project: SegmentProject, collection: str, call: str) -> None:
    events = {event["client"]: event for event in project.events(collection, len(CLIENTS))}
    assert events.keys() == CLIENTS.keys()
    for name, event in events.items():
        assert (event["keen"]["id"], event["keen"]["timestamp"]) == (project.id_of(f"{name} {call}"), TIME)
        check_enriched(event)


def test_analytics_js_in_a_page(node: Node, stack: RunningStack) -> None:
    """It is told nothing but where its settings are."""
    with segment_project(stack) as project:
        made: list[list[Any]] = [
            ["track", "js visit"],
            ["identify", "u-8", {"email": "u@example.com"}],
            ["track", "js order", {"revenue": 7.5}],
            ["page", "Docs", "Index"],
            ["screen", "Home"],
            ["group", "g-8", {"size": 3}],
            ["alias", "u-9"],
        ]
        given: dict[str, Any] = {
            "page": PAGE | {"userAgent": FIREFOX},
            "load": {"writeKey": project.write_key, "cdnURL": project.proxy.url},
            "calls": made,
        }
        done = node.run("segment_browser", given)
        assert [sent["type"] for sent in done["sent"]] == [call[0] for call in made]
        assert [done["answered"][sent["id"]] for sent in done["sent"]] == [[503, 200]] * len(made)
        assert set(project.proxy.answers) == {200}
        ids = {sent["type"]: project.id_of(sent["id"]) for sent in reversed(done["sent"])}

        [visit] = project.events("js visit", 1)
        # What it sends again it may say of who was identified in between.
        assert visit["userId"] in (done["anonymousId"], "u-8")
        assert visit["keen"]["id"] == ids["track"]
        [order] = project.events("js order", 1)
        assert (order["userId"], order["revenue"]) == ("u-8", 7.5)
        assert abs((datetime.fromisoformat(order["keen"]["timestamp"]) - datetime.now(UTC)).total_seconds()) < 300
        [page] = project.events("Loaded a Page", 1)
        assert page["keen"]["id"] == ids["page"]
        for collection in ("Viewed Docs Page", "Viewed Docs Index Page"):
            [view] = project.events(collection, 1)
            assert (view["category"], view["name"], view["title"]) == ("Docs", "Index", "Lamps")
        [screen] = project.events("Viewed Home Screen", 1)
        for event in (visit, order, page, screen):
            assert (event["user_agent"], event["ip_address"]) == (FIREFOX, "127.0.0.1")
            assert event["parsed_user_agent"]["browser"]["family"] == "Firefox"
            check_page(event)
