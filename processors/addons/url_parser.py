"""keen:url_parser: the parts of a URL."""

from urllib.parse import parse_qsl, urlsplit

from headwater.rules import PROPERTY_NAME_MAX
from headwater.settings import Settings
from processors.addons.addon import URL_LENGTH_MAX, Addon, Field, LookUp, Result, cached

CACHED_URLS = 10_000
PARAMETERS_MAX = 100  # of a query string; each becomes a property, and a URL may be as long as an event


def load(settings: Settings) -> LookUp:
    """The parser, with a cache."""
    return cached(parse_url, CACHED_URLS)


def parse_url(url: str) -> Result | None:
    """The parts that the URL has, by RFC 3986; None for what cannot be split, such as a bracket without its pair."""
    if len(url) > URL_LENGTH_MAX:
        return None
    try:
        parts = urlsplit(url.strip())
        domain = parts.hostname
    except ValueError:
        return None
    result: Result = {}
    if parts.scheme:
        result["protocol"] = parts.scheme
    if domain:
        result["domain"] = domain
    if parts.path:
        result["path"] = parts.path
    if parts.fragment:
        result["anchor"] = parts.fragment
    if parts.query:
        query = "&".join(parts.query.split("&", PARAMETERS_MAX)[:PARAMETERS_MAX])
        named = ((property_name(key), value) for key, value in parse_qsl(query, keep_blank_values=True))
        parameters = {name: value for name, value in named if name}
        if parameters:
            result["query_string"] = parameters
    return result or None


def property_name(key: str) -> str:
    """A query string's key as a property's name: dots and a leading `$` become `_`, the length is cut; "" for a blank key."""
    if not key.strip():
        return ""
    name = key.replace(".", "_")[:PROPERTY_NAME_MAX]
    if name.startswith("$"):
        name = "_" + name[1:]
    return name if name.strip() else ""


ADDON = Addon(
    name="keen:url_parser",
    meaning="The parts of a URL; those that it does not have are left out.",
    inputs=(Field("url", "The property with the URL."),),
    outputs=(
        Field("protocol", 'The scheme, such as "https", in lower case and without the colon.'),
        Field("domain", "The host, in lower case, without user, password and port."),
        Field("path", "The path as it stands in the URL, percent-encoding and all."),
        Field("anchor", "What follows the #."),
        Field(
            "query_string",
            "An object of the query string's parameters, decoded: of a repeated one the last value, of more than 100 parameters the first 100. In their names dots and a leading $ become _.",
        ),
    ),
    load=load,
)
