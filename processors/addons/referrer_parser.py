"""keen:referrer_parser: what kind of place a visitor came from, by the table in referrers.toml."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qs, urlsplit

from headwater.settings import Settings
from processors.addons.addon import URL_LENGTH_MAX, Addon, Field, LookUp, Result, cached

CACHED_REFERRERS = 10_000
TABLE = Path(__file__).with_name("referrers.toml")
BLANK: Result = {"medium": "", "source": "", "term": ""}

# Second-level domains under which countries give names out: of www.google.co.uk, what follows the name is co.uk.
_SECOND_LEVEL = frozenset({"ac", "co", "com", "edu", "gov", "gob", "ne", "net", "or", "org"})


class Source(NamedTuple):
    """A place that visitors come from, and the query parameters that may hold what they searched for."""

    medium: str
    name: str
    terms: tuple[str, ...]


def read_table(path: Path = TABLE) -> dict[str, Source]:
    """The sources by host; a host that ends in `.*` stands for any top-level domain. Raises ValueError for a host given twice."""
    sources: dict[str, Source] = {}
    for medium, named in tomllib.loads(path.read_text()).items():
        for name, entry in named.items():
            for host in entry["hosts"]:
                if host in sources:
                    raise ValueError(f"{path.name}: {host} is given to {sources[host].name} and to {name}")
                sources[host] = Source(medium, name, tuple(entry.get("terms", ())))
    return sources


def load(settings: Settings) -> LookUp:
    """The parser over the table, with a cache."""
    sources = read_table()

    def parse(referrer: str, page: str | None = None) -> Result:
        return parse_referrer(referrer, page, sources)

    return cached(parse, CACHED_REFERRERS)


def parse_referrer(referrer: str, page: str | None, sources: Mapping[str, Source]) -> Result:
    """Medium, source and term of a visit from `referrer` to `page`. Blank outputs for what is no web address."""
    split = _split(referrer)
    if split is None:
        return BLANK
    host = split.hostname or ""
    here = _split(page) if page else None
    if here is not None and _site(here.hostname or "") == _site(host):
        return {"medium": "INTERNAL", "source": None, "term": None}
    source = _find(host, sources)
    if source is None:
        return {"medium": "UNKNOWN", "source": None, "term": None}
    return {"medium": source.medium, "source": source.name, "term": _term(split.query, source.terms)}


def _split(url: str) -> SplitResult | None:
    """The parts of an absolute URL with a host; None for anything else. Android's apps refer as android-app://<package>."""
    if len(url) > URL_LENGTH_MAX:
        return None
    try:
        split = urlsplit(url.strip())
        return split if split.scheme in ("http", "https", "android-app") and split.hostname else None
    except ValueError:
        return None


def _site(host: str) -> str:
    return host.removeprefix("www.")


def _find(host: str, sources: Mapping[str, Source]) -> Source | None:
    """The source of the host, or of the nearest domain above it that has one."""
    labels = host.split(".")
    suffix = 2 if len(labels) > 2 and labels[-2] in _SECOND_LEVEL and len(labels[-1]) == 2 else 1
    for start in range(len(labels)):
        source = sources.get(".".join(labels[start:]))
        if source is None and start < len(labels) - suffix:
            source = sources.get(".".join(labels[start:-suffix]) + ".*")
        if source is not None:
            return source
    return None


def _term(query: str, names: tuple[str, ...]) -> str | None:
    """What was searched for: the first of the parameters that is there and not blank."""
    if not names or not query:
        return None
    parameters = parse_qs(query)
    for name in names:
        if name in parameters:
            return parameters[name][0]
    return None


ADDON = Addon(
    name="keen:referrer_parser",
    meaning="What kind of place a visitor came from. All outputs are blank for what is no web address, as for direct visits.",
    inputs=(
        Field("referrer_url", "The property with the address that the visitor came from."),
        Field("page_url", "The property with the address of the page visited; without a value nothing is INTERNAL."),
    ),
    outputs=(
        Field(
            "medium",
            "SEARCH, EMAIL, SOCIAL, CHATBOT or PAID by the table of known hosts; INTERNAL where both hosts are the same but for www.; UNKNOWN for any other.",
        ),
        Field("source", 'The name of the place, such as "Google"; null where the medium is INTERNAL or UNKNOWN.'),
        Field("term", "What was searched for, where the search engine says; else null."),
    ),
    load=load,
)
