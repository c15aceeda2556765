"""The events that benchmarks run on: made once from a seed, in the shapes and repetitions of real traffic.

An event is what keen-tracking's auto-tracking sends: placeholders for address and user agent, page, referrer, some
properties of its own, and three add-ons. With the placeholders filled it has some 650 bytes of JSON. Users, addresses,
agents and pages follow Zipf's law: a few are seen very often.
"""

import random
import uuid
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import orjson

from headwater.codec import codec

SEED = 20_131_101
ADDRESSES = 20_000
AGENTS = 500
PAGES = 5_000
ZIPF_EXPONENT = 1.0
START = 1_767_225_600_000  # 2026-01-01T00:00:00Z in milliseconds
COLLECTION = "pageviews"

ADDONS = orjson.dumps(
    [
        {"name": "keen:ip_to_geo", "input": {"ip": "ip_address", "remove_ip_property": False}, "output": "geo"},
        {"name": "keen:ua_parser", "input": {"ua_string": "user_agent"}, "output": "tech"},
        {"name": "keen:url_parser", "input": {"url": "url.full"}, "output": "url.info"},
    ]
).decode()

_BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.{build}.{patch} Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_{small}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/1{small}.{tiny} Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 1{small}_{tiny} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/1{small}.{tiny} Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 1{tiny}; SM-S9{patch}B) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.{build}.{patch} Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 1{tiny}; Pixel {small}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.{build}.{patch} Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:{major}.0) Gecko/20100101 Firefox/{major}.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.0.0 Safari/537.36 Edg/{major}.0.{build}.{patch}",
    "Mozilla/5.0 (iPad; CPU OS 1{small}_{tiny} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/1{small}.{tiny} Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (compatible; Googlebot/2.{tiny}; +http://www.google.com/bot.html) build/{build}",
)
_SECTIONS = ("shoes", "jackets", "tents", "bicycles", "lamps", "kitchen", "garden", "books")
_SOURCES = ("newsletter", "google", "facebook", "partner", "spring_sale")
_REFERRERS = ("https://www.google.com/", "https://www.bing.com/search?q=blue+tent", "https://t.co/q1w2e3", "https://news.ycombinator.com/", "")  # fmt: skip
_PLANS = ("free", "team", "business")


class Event(NamedTuple):
    """One event as the collector hands it on: the fields of raw_event that differ between events."""

    id: str
    timestamp: int
    ip: str
    user_agent: str
    properties: str


class Zipf:
    """Draws from a sequence so that the n-th item comes up in proportion to 1/n."""

    def __init__(self, items: Sequence[str], source: random.Random) -> None:
        self._items = items
        self._source = source
        self._weights = list(accumulate(1 / rank**ZIPF_EXPONENT for rank in range(1, len(items) + 1)))

    def draw(self, count: int) -> list[str]:
        """So many items, drawn independently."""
        return self._source.choices(self._items, cum_weights=self._weights, k=count)


def generate(count: int, seed: int = SEED) -> list[Event]:
    """So many events, always the same for a seed."""
    source = random.Random(seed)
    addresses = Zipf([_address(source) for _ in range(ADDRESSES)], source).draw(count)
    agents = Zipf([_agent(source) for _ in range(AGENTS)], source).draw(count)
    pages = Zipf([_page(source, number) for number in range(PAGES)], source).draw(count)
    return [
        Event(
            id=str(uuid.UUID(int=source.getrandbits(128), version=4)),
            timestamp=START + number * 10,
            ip=address,
            user_agent=agent,
            properties=orjson.dumps(_properties(source, number, page)).decode(),
        )
        for number, (address, agent, page) in enumerate(zip(addresses, agents, pages, strict=True))
    ]


def raw_record(project_id: str, event: Event, collection: str = COLLECTION, *, time_given: bool = True) -> bytes:
    """The event as the collector writes it into the raw topic."""
    return codec("raw_event").encode(
        {
            "project_id": project_id,
            "collection": collection,
            "id": event.id,
            "timestamp": event.timestamp,
            "received_at": event.timestamp,
            "id_given": True,
            "time_given": time_given,
            "ip": event.ip,
            "user_agent": event.user_agent,
            "addons": ADDONS,
            "properties": event.properties,
        }
    )


def _properties(source: random.Random, number: int, page: str) -> dict[str, Any]:
    return {
        "ip_address": "${keen.ip}",
        "user_agent": "${keen.user_agent}",
        "url": {"full": page},
        "referrer": {"full": source.choice(_REFERRERS)},
        "user": {"id": f"u-{source.randrange(100_000):06d}", "plan": source.choice(_PLANS), "visits": source.randrange(90)},
        "session_id": f"{source.getrandbits(64):016x}",
        "screen": {"width": 1920, "height": 1080, "density": 2},
        "item": {"sku": f"sku-{source.randrange(9_000):05d}", "price": source.randrange(100, 90_000) / 100, "quantity": 1},
        "experiments": ["checkout-b", "search-a"],
        "returning": source.random() < 0.4,
        "duration_ms": source.randrange(20, 60_000),
        "sequence": number,
    }  # fmt: skip


def _address(source: random.Random) -> str:
    first = source.choice([n for n in range(2, 220) if n not in (10, 127, 169, 172, 192, 198)])
    return f"{first}.{source.randrange(256)}.{source.randrange(256)}.{source.randrange(1, 255)}"


def _agent(source: random.Random) -> str:
    return source.choice(_BROWSERS).format(
        major=source.randrange(90, 140),
        build=source.randrange(4_000, 7_000),
        patch=source.randrange(10, 99),
        small=source.randrange(4, 9),
        tiny=source.randrange(0, 6),
    )


def _page(source: random.Random, number: int) -> str:
    section = source.choice(_SECTIONS)
    return f"https://shop.example.com/{section}/item-{number}?utm_source={source.choice(_SOURCES)}&utm_medium=web&color={source.randrange(9)}#top"
