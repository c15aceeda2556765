"""The unmodified `keen-tracking` 5.0.1 from npm, its builds for Node and for browsers, against a whole stack."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from headwater.client.client import Client
from tests.node import Node
from tests.stack import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


def node_settings(stack: RunningStack, **changes: Any) -> dict[str, Any]:
    """The Node build takes the port among the options of http.request."""
    host, port = stack.status["url"].removeprefix("http://").split(":")
    return {
        "projectId": stack.status["project_id"],
        "writeKey": stack.status["write_key"],
        "protocol": "http",
        "host": host,
        "nodeRequestConfig": {"port": int(port)},
    } | changes


def browser_settings(stack: RunningStack, **changes: Any) -> dict[str, Any]:
    """The browser build takes the port with the host."""
    return {
        "projectId": stack.status["project_id"],
        "writeKey": stack.status["write_key"],
        "protocol": "http",
        "host": stack.status["url"].removeprefix("http://"),
    } | changes


def call(method: str, *arguments: Any) -> dict[str, Any]:
    """A call with a callback at the end."""
    return {"method": method, "with": list(arguments), "callback": True}


def stored(hw: Client, collection: str, count: int) -> list[dict[str, Any]]:
    """The events of a collection, without what every event has, when so many are there."""
    wait_until(lambda: hw.count(collection).value == count, 60, every=0.25)
    events: list[dict[str, Any]] = hw.extraction(collection).value
    return [{name: value for name, value in event.items() if name != "keen"} for event in events]


def test_events_from_node(node: Node, stack: RunningStack) -> None:
    event = {"item": {"name": "lämp 🛋", "price": 7.5}, "tags": ["a", "b"], "gift": False}
    calls = [
        call("recordEvent", "js node/one", event),
        {"method": "recordEvent", "with": [{"collection": "js node/one", "event": {"n": 2}}]},
        call("recordEvents", {"js_node_many": [{"n": 1}, {"n": 2}], "js_node_more": [{"n": 3}]}),
    ]
    one, configured, many = node.run(
        "keen_tracking_node", {"client": node_settings(stack), "extend": {"app": "shop"}, "calls": calls}
    )
    created = {"created": True}
    assert one == {"resolved": created, "callback": {"error": None, "body": created}}
    assert configured == {"resolved": created}
    success = {"js_node_many": [{"success": True}] * 2, "js_node_more": [{"success": True}]}
    assert many == {"resolved": success, "callback": {"error": None, "body": success}}
    with stack.client() as hw:
        first, second = sorted(stored(hw, "js node/one", 2), key=lambda event: event.get("n", 0))
        assert first == event | {"app": "shop"}
        assert second == {"n": 2, "app": "shop"}
        assert [event["n"] for event in stored(hw, "js_node_more", 1)] == [3]
        assert sorted(event["n"] for event in stored(hw, "js_node_many", 2)) == [1, 2]


def test_deferred_events_go_out_together(node: Node, stack: RunningStack) -> None:
    calls = [
        {"method": "deferEvent", "with": ["js_deferred", {"n": 1}]},
        {"method": "deferEvents", "with": [{"js_deferred": [{"n": 2}, {"n": 3}]}]},
        {"method": "recordDeferredEvents"},
        # The process ends with the last call, whose answer comes after the others' request is on its way.
        {"method": "recordEvent", "with": ["js_deferred", {"n": 4}]},
    ]
    *_, last = node.run("keen_tracking_browser", {"client": browser_settings(stack), "calls": calls})["calls"]
    assert last == {"resolved": {"status": 201}}
    with stack.client() as hw:
        assert sorted(event["n"] for event in stored(hw, "js_deferred", 4)) == [1, 2, 3, 4]


def test_errors_in_node(node: Node, stack: RunningStack) -> None:
    event = call("recordEvent", "js_refused", {"n": 1})
    mixed = call("recordEvents", {"js_mixed": [{"n": 1}, {"a.b": 1}], "$bad": [{"n": 1}]})
    bad, batch = node.run(
        "keen_tracking_node",
        {"client": node_settings(stack), "calls": [call("recordEvent", "js_refused", {"a.b": 1}), mixed]},
    )
    assert bad["rejected"]["code"] == "InvalidPropertyNameError"
    assert bad["callback"]["error"] == bad["rejected"]
    assert [result["success"] for result in batch["resolved"]["js_mixed"]] == [True, False]
    assert batch["resolved"]["js_mixed"][1]["error"]["name"] == "InvalidPropertyNameError"
    assert batch["resolved"]["$bad"][0]["error"]["name"] == "InvalidCollectionNameError"
    for changes, code in (
        ({"writeKey": "0" * 64}, "InvalidApiKeyError"),
        ({"writeKey": stack.status["read_key"]}, "InvalidApiKeyError"),
        ({"projectId": "0" * 24}, "ResourceNotFoundError"),
    ):
        (refused,) = node.run("keen_tracking_node", {"client": node_settings(stack, **changes), "calls": [event]})
        assert refused["rejected"]["code"] == code
        assert refused["rejected"]["message"]


def test_events_from_a_browser(node: Node, stack: RunningStack) -> None:
    calls = [
        call("recordEvent", "js_browser", {"n": 1}),
        call("recordEvents", {"js_browser": [{"n": 2}, {"n": 3}]}),
        call("recordEvents", {"js_browser": [{"n": 4}, {"$n": 5}]}),
    ]
    one, many, mixed = node.run("keen_tracking_browser", {"client": browser_settings(stack), "calls": calls})["calls"]
    assert one == {"resolved": {"status": 201}, "callback": {"error": None, "body": {"created": True}}}
    assert many["resolved"] == {"status": 200}
    assert many["callback"] == {"error": None, "body": {"js_browser": [{"success": True}] * 2}}
    assert [result["success"] for result in mixed["callback"]["error"]["js_browser"]] == [True, False]
    (refused,) = node.run(
        "keen_tracking_browser",
        {
            "client": browser_settings(stack, writeKey="0" * 64),
            "calls": [{"method": "recordEvent", "with": ["js_browser", {"n": 5}]}],
        },
    )["calls"]
    assert refused == {"resolved": {"status": 401}}
    with stack.client() as hw:
        assert sorted(event["n"] for event in stored(hw, "js_browser", 4)) == [1, 2, 3, 4]


def test_beacons(node: Node, stack: RunningStack) -> None:
    """Neither has a header of ours: the key is in the URL, and a beacon's body is called text."""
    text = {"text": "bücher & 🛋 + ?"}
    told = {"resolved": "client", "callback": {"error": None, "body": None}}
    for n, request_type, answer in (
        (1, "beaconAPI", {"status": 201}),
        (2, "beacon", {"status": 200, "type": "image/gif", "size": [1, 1]}),
    ):
        client = browser_settings(stack, requestType=request_type)
        calls = [call("recordEvent", "js_beacon", {"n": n} | text)]
        done = node.run("keen_tracking_browser", {"client": client, "calls": calls})
        assert done == {"calls": [told], "answered": [answer]}
    with stack.client() as hw:
        assert sorted(stored(hw, "js_beacon", 2), key=lambda event: event["n"]) == [{"n": 1} | text, {"n": 2} | text]


def test_what_is_tracked_automatically(node: Node, stack: RunningStack) -> None:
    """Page views, clicks and forms, each with five add-ons whose outputs go into objects that are there already."""
    given = {"client": browser_settings(stack), "visit": True, "calls": [{"method": "initAutoTracking", "with": [{}]}]}
    done = node.run("keen_tracking_browser", given)
    assert done == {"calls": [{"resolved": "client"}], "answered": [{"status": 201}] * 3}
    with stack.client() as hw:
        (view,) = stored(hw, "pageviews", 1)
        (click,) = stored(hw, "clicks", 1)
        (form,) = stored(hw, "form_submissions", 1)
    assert view["url"]["info"] == {
        "protocol": "https",
        "domain": "shop.example.com",
        "path": "/lamps",
        "anchor": "top",
        "query_string": {"size": "2"},
    }
    assert view["referrer"]["info"]["domain"] == "news.example.org"
    assert view["user_agent"] == FIREFOX
    assert (view["tech"]["browser"]["family"], view["tech"]["browser"]["major"]) == ("Firefox", "128")
    assert view["tech"]["profile"]["screen"]["width"] == 1920
    assert view["ip_address"] == "127.0.0.1"
    assert {"year", "month", "day", "hour", "day_of_week"} <= view["time"]["utc"].keys()
    moments = [
        datetime(*(at[part] for part in ("year", "month", "day", "hour", "minute", "second")), at["millisecond"] * 1000)
        for at in (view["time"]["utc"], view["time"]["local"])
    ]  # the library reads its clock once for each
    assert abs(moments[1] - moments[0]) < timedelta(seconds=5)
    assert view["time"]["utc"]["timezone"] == view["time"]["local"]["timezone"] == "+00:00"
    assert view["page"]["title"] == "Lamps"
    assert len(view["user"]["uuid"]) == 36
    assert click["element"]["id"] == "buy-7"
    assert form["form"] == {"action": "/order", "method": "post", "fields": {"mail": "u@example.com"}}
    assert click["user"] == form["user"] == view["user"]


def test_an_address_is_looked_up_and_removed(node: Node, stack: RunningStack) -> None:
    """What automatic tracking asks for where addresses are not to be kept; from a public address."""
    addon = {
        "name": "keen:ip_to_geo",
        "input": {"ip": "ip_address", "remove_ip_property": True},
        "output": "geo",
    }
    event = {"ip_address": "8.8.8.8", "geo": {}, "keen": {"addons": [addon]}}
    (answer,) = node.run(
        "keen_tracking_node", {"client": node_settings(stack), "calls": [call("recordEvent", "js_geo", event)]}
    )
    assert answer["resolved"] == {"created": True}
    with stack.client() as hw:
        (found,) = stored(hw, "js_geo", 1)
    assert found["geo"]["country"] == "United States"
    assert "ip_address" not in found
