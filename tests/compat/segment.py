"""What the tests of Segment's and RudderStack's clients share: a project with all add-ons on, and its events."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import headwater
from headwater.client.client import Client
from headwater.identity import event_id
from tests.losing import LosingProxy, losing_proxy
from tests.stack import RunningStack
from tests.waiting import wait_until

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
PAGE = {"url": "https://shop.example.com/lamps?size=2", "referrer": "https://www.google.com/search?q=lamps"}
CONTEXT = {"ip": "8.8.8.8", "userAgent": FIREFOX, "page": PAGE}
TIME = "2026-11-22T15:17:16.903Z"
# The collections that `page("Docs", "Index")` and `screen("Home")` make events of, and how the ids of these end.
PAGES = (
    ("Loaded a Page", "page"),
    ("Viewed Docs Page", "page/Viewed Docs Page"),
    ("Viewed Docs Index Page", "page/Viewed Docs Index Page"),
    ("Loaded a Screen", "screen"),
    ("Viewed Home Screen", "screen/Viewed Home Screen"),
)
ADDONS = ("segment.ipAddon", "segment.uaAddon", "segment.urlAddon", "segment.referrerAddon")


@dataclass
class SegmentProject:
    """A project that clients write to through a proxy that loses the first answer about each message."""

    id: str
    write_key: str
    proxy: LosingProxy
    hw: Client

    def events(self, collection: str, count: int) -> list[dict[str, Any]]:
        """The events of a collection, when so many are there; in the order of their time."""
        wait_until(lambda: self.hw.count(collection).value == count, 30, every=0.2)
        found: list[dict[str, Any]] = self.hw.extraction(collection).value
        return sorted(found, key=lambda event: event["keen"]["timestamp"])

    def id_of(self, message_id: str) -> str:
        """The id of the event that a message makes."""
        return event_id(self.id, message_id)


@contextmanager
def segment_project(stack: RunningStack, *settings: str) -> Iterator[SegmentProject]:
    """A new project of the stack, with these settings and all add-ons."""
    made = json.loads(stack.run("project", "create", "segment", "--json").stdout)
    stack.run("project", "set", made["id"], *(f"{name}=true" for name in ADDONS), *settings)
    url = stack.status["url"]
    with losing_proxy(url) as proxy, headwater.connect(url=url, project_id=made["id"], read_key=made["read_key"]) as hw:
        yield SegmentProject(made["id"], made["write_key"], proxy, hw)


def check_enriched(event: dict[str, Any]) -> None:
    """An event of CONTEXT has what the add-ons know about it."""
    assert (event["ip_address"], event["user_agent"]) == ("8.8.8.8", FIREFOX)
    assert event["ip_geo_info"]["country"] == "United States"
    assert event["parsed_user_agent"]["browser"]["family"] == "Firefox"
    check_page(event)


def check_page(event: dict[str, Any]) -> None:
    """An event of PAGE has what the add-ons know about it."""
    assert (event["page_url"], event["referrer_url"]) == (PAGE["url"], PAGE["referrer"])
    assert event["parsed_page_url"]["domain"] == "shop.example.com"
    assert event["parsed_page_url"]["query_string"] == {"size": "2"}
    assert (event["referrer_info"]["medium"], event["referrer_info"]["source"]) == ("SEARCH", "Google")
