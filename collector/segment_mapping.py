"""Segment's messages as events: what Segment's servers sent to Keen for each (its "cloud mode").

Pure. docs/segment.md says where this leaves Segment's own rules, and why.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from collector.segment_messages import Message, object_of
from headwater.control import ProjectSettings
from headwater.rules import RuleError

DESTINATIONS = ("Headwater", "Keen IO", "Keen")  # what a message may call us; the first one that it names decides
ALL = "All"
NESTED_MAX = 200  # levels of objects whose names are put right; events may have fewer


class Mapped(NamedTuple):
    """An event and the collection that it goes to."""

    collection: str
    event: dict[str, Any]


class _AddOn(NamedTuple):
    """An add-on that a project's settings switch on: it runs where the event has all its inputs."""

    setting: str
    name: str
    inputs: Mapping[str, str]  # its input's name: the property
    output: str


_ADDONS = (
    _AddOn("segment_ip_addon", "keen:ip_to_geo", {"ip": "ip_address"}, "ip_geo_info"),
    _AddOn("segment_ua_addon", "keen:ua_parser", {"ua_string": "user_agent"}, "parsed_user_agent"),
    _AddOn("segment_url_addon", "keen:url_parser", {"url": "page_url"}, "parsed_page_url"),
    _AddOn(
        "segment_referrer_addon",
        "keen:referrer_parser",
        {"referrer_url": "referrer_url", "page_url": "page_url"},
        "referrer_info",
    ),
)


def switched_on(integrations: Mapping[str, Any]) -> bool:
    """Whether a message is for us, by its `integrations`."""
    for name in (*DESTINATIONS, ALL):
        value = integrations.get(name)
        if value is not None:
            return value is not False and value != "false"
    return True


def cloud_events(message: Message, settings: ProjectSettings) -> list[Mapped]:
    """The events of a message: one for each track, up to three for each page or screen, none for the other types.

    The first has the message's id, the others ids that follow from it. Raises RuleError for a track without an event's name.
    """
    if message.type == "track":
        name = message.text("event")
        if name is None:
            raise RuleError("InvalidMessageError", "Member 'event' is missing: the name of what is tracked.")
        return [Mapped(name, _event(message, message.properties, settings, message.id))]
    if message.type not in ("page", "screen"):
        return []
    names = {name: text for name in ("category", "name") if (text := message.text(name))}
    properties = {**message.properties, **names}
    return [
        Mapped(collection, _event(message, properties, settings, _id(message, collection, number)))
        for number, collection in enumerate(_views(message.type.capitalize(), names, settings))
    ]


def _views(kind: str, names: Mapping[str, str], settings: ProjectSettings) -> Iterator[str]:
    """The collections of a page or screen."""
    category, name = names.get("category"), names.get("name")
    if settings.segment_track_all_pages:
        yield f"Loaded a {kind}"
    if category and settings.segment_track_categorized_pages:
        yield f"Viewed {category} {kind}"
    if name and settings.segment_track_named_pages:
        yield f"Viewed {category} {name} {kind}" if category else f"Viewed {name} {kind}"


def _id(message: Message, collection: str, number: int) -> str | None:
    return f"{message.id}/{collection}" if number and message.id else message.id


def _event(
    message: Message, properties: Mapping[str, Any], settings: ProjectSettings, identity: str | None
) -> dict[str, Any]:
    """An event with what is known of who, where and by what beside its properties, over properties of the same names."""
    event: dict[str, Any] = with_good_names(properties)
    keen: Any = next((event.pop(name) for name in list(event) if name.lower() == "keen"), {})
    page = object_of(message.context.get("page"))
    known = {
        "userId": message.user,
        "page_url": properties.get("url") or page.get("url"),
        "referrer_url": page.get("referrer"),
        "user_agent": message.context.get("userAgent"),
        "ip_address": message.context.get("ip"),
    }
    event.update((name, value) for name, value in known.items() if value)
    event["traits"] = with_good_names(object_of(_options(message.integrations).get("traits")))
    if type(keen) is not dict:
        event["keen"] = keen  # for the rules to refuse
        return event
    event["keen"] = {
        **keen,
        "timestamp": message.timestamp,
        "uniqueness_token": identity,
        "addons": [
            {"name": addon.name, "input": dict(addon.inputs), "output": addon.output}
            for addon in _ADDONS
            if getattr(settings, addon.setting) and all(event.get(name) for name in addon.inputs.values())
        ],
    }
    return event


def _options(integrations: Mapping[str, Any]) -> dict[str, Any]:
    """What a message says to us in its `integrations`; their names in any case."""
    for ours in DESTINATIONS:
        for name, value in integrations.items():
            if name.lower() == ours.lower() and type(value) is dict:
                return value
    return {}


def with_good_names(value: Any, levels: int = NESTED_MAX) -> Any:
    """A JSON value whose objects' names are ones that properties may have: dots, and a dollar sign in front, become _."""
    if type(value) is dict and levels:
        renamed: dict[str, Any] = {}
        for name, member in value.items():
            kind = type(member)
            renamed[name] = with_good_names(member, levels - 1) if kind is dict or kind is list else member
        for name in [name for name in renamed if "." in name or name.startswith("$")]:
            member = renamed.pop(name)
            renamed.setdefault(_good_name(name), member)
        return renamed
    if type(value) is list and levels:
        return [with_good_names(member, levels - 1) for member in value]
    return value


def _good_name(name: str) -> str:
    name = name.replace(".", "_")
    return "_" + name[1:] if name.startswith("$") else name
