"""Segment's messages as events: what its servers sent to Keen for each ("cloud mode"), or its code in browsers ("device mode").

Pure. docs/segment.md says where this leaves Segment's own rules, and why.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from collector.segment_messages import Message, object_of
from headwater.control import ProjectSettings
from headwater.names import NESTED_MAX, with_good_names
from headwater.rules import RuleError, check_event
from headwater.segment_users import IDENTIFY, TRAITS_MAX, USER_MAX, attachment

DESTINATIONS = ("Headwater", "Keen IO", "Keen")  # what a message may call us; the first one that it names decides
ALL = "All"


class Mapped(NamedTuple):
    """An event and the collection that it goes to, or what the processors are to know of a user.

    `user` is whom the record is to be kept in order with, if anybody; `time_given` as a message has it.
    """

    collection: str
    event: dict[str, Any]
    user: str | None = None
    is_event: bool = True
    time_given: bool = True


class _AddOn(NamedTuple):
    """An add-on that a project's settings switch on: it runs where the event has all its inputs."""

    setting: str
    name: str
    inputs: Mapping[str, str]  # its input's name: the property
    output: str

    @property
    def asked(self) -> dict[str, Any]:
        """What an event says that wants it."""
        return {"name": self.name, "input": dict(self.inputs), "output": self.output}


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
    return [
        Mapped(collection, _cloud_event(message, properties, settings, identity), time_given=message.time_given)
        for collection, properties, identity in _occasions(message, settings)
    ]


def device_events(message: Message, settings: ProjectSettings) -> list[Mapped]:
    """What `cloud_events` says, in the form of device mode: who it was is in `user`, whose traits the processors attach."""
    user = _known_by(message)
    return [
        Mapped(
            collection,
            _device_event(message, user, properties, settings, identity),
            user,
            time_given=message.time_given,
        )
        for collection, properties, identity in _occasions(message, settings)
    ]


def identified(message: Message) -> Mapped | None:
    """What an identify tells the processors in device mode; None for other messages, and where it says nobody's id.

    Raises RuleError for traits that are against the rules, or too large.
    """
    user = _known_by(message)
    if message.type != "identify" or user is None:
        return None
    # RudderStack's client for Python has them in the context.
    traits = with_good_names(object_of(message.body.get("traits") or message.context.get("traits")))
    check_event(traits, NESTED_MAX)
    if (size := len(orjson.dumps(traits))) > TRAITS_MAX:
        raise RuleError("InvalidMessageError", f"Member 'traits' has {size:,} bytes; {TRAITS_MAX:,} is the most.")
    told = {"user": user, "userId": message.user_id, "traits": traits, "keen": {"timestamp": message.timestamp}}
    # A computed trait or an audience is one of many, and leaves the others as they are.
    if object_of(message.context.get("personas")):
        told["merge"] = True
    return Mapped(IDENTIFY, told, user, is_event=False)


def _occasions(message: Message, settings: ProjectSettings) -> Iterator[tuple[str, Mapping[str, Any], str | None]]:
    """The collections of a message's events, each with its properties and what the client calls it."""
    if message.type == "track":
        name = message.text("event")
        if name is None:
            raise RuleError("InvalidMessageError", "Member 'event' is missing: the name of what is tracked.")
        yield name, message.properties, message.id
    elif message.type in ("page", "screen"):
        names = {name: text for name in ("category", "name") if (text := message.text(name))}
        properties = {**message.properties, **names}
        for number, collection in enumerate(_views(message.type.capitalize(), names, settings)):
            yield collection, properties, _id(message, collection, number)


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


def _cloud_event(
    message: Message, properties: Mapping[str, Any], settings: ProjectSettings, identity: str | None
) -> dict[str, Any]:
    """An event with what is known of who, where and by what beside its properties, over properties of the same names."""
    event, keen = _own(properties)
    inputs = _inputs(message)
    inputs["page_url"] = properties.get("url") or inputs["page_url"]
    known = {"userId": message.user} | inputs
    event.update((name, value) for name, value in known.items() if value)
    event["traits"] = with_good_names(object_of(_options(message.integrations).get("traits")))
    event["keen"] = _keen(keen, message, identity, [addon.asked for addon in _wanted(settings, inputs)])
    return event


def _device_event(
    message: Message, user: str | None, properties: Mapping[str, Any], settings: ProjectSettings, identity: str | None
) -> dict[str, Any]:
    """An event with who it was, and with what its add-ons look at, beside its properties."""
    event, keen = _own(properties)
    inputs = _inputs(message)
    wanted = _wanted(settings, inputs)
    event.update((name, inputs[name]) for addon in wanted for name in addon.inputs.values())
    addons = [addon.asked for addon in wanted]
    if user is not None and "user" not in event:
        member = "userId" if message.user_id else "anonymousId"
        event["user"] = {member: user}
        addons.append(attachment(member))
    event["keen"] = _keen(keen, message, identity, addons)
    return event


def _own(properties: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """An event's own properties, and its own `keen`, however that is written."""
    event: dict[str, Any] = with_good_names(properties)
    return event, next((event.pop(name) for name in list(event) if name.lower() == "keen"), {})


def _inputs(message: Message) -> dict[str, Any]:
    """What add-ons look at."""
    page = object_of(message.context.get("page"))
    return {
        "page_url": page.get("url"),
        "referrer_url": page.get("referrer"),
        "user_agent": message.context.get("userAgent"),
        "ip_address": message.context.get("ip"),
    }


def _wanted(settings: ProjectSettings, inputs: Mapping[str, Any]) -> list[_AddOn]:
    """The add-ons that are switched on and have all their inputs."""
    return [
        addon
        for addon in _ADDONS
        if getattr(settings, addon.setting) and all(inputs[name] for name in addon.inputs.values())
    ]


def _keen(own: Any, message: Message, identity: str | None, addons: list[dict[str, Any]]) -> Any:
    """An event's `keen`: its own, with the message's time and id, and these add-ons."""
    if type(own) is not dict:
        return own  # for the rules to refuse
    return {**own, "timestamp": message.timestamp, "uniqueness_token": identity, "addons": addons}


def _known_by(message: Message) -> str | None:
    """What a user's identify and events are kept together by."""
    return message.user if message.user and len(message.user) <= USER_MAX else None


def _options(integrations: Mapping[str, Any]) -> dict[str, Any]:
    """What a message says to us in its `integrations`; their names in any case."""
    for ours in DESTINATIONS:
        for name, value in integrations.items():
            if name.lower() == ours.lower() and type(value) is dict:
                return value
    return {}
