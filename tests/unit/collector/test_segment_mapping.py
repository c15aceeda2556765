"""Segment's messages as Segment's servers sent them to Keen."""

from typing import Any

import pytest

from collector.segment_mapping import Mapped, cloud_events, device_events, identified, switched_on
from collector.segment_messages import Envelope, message_of
from headwater.control import ProjectSettings
from headwater.rules import RuleError, check_collection_name
from headwater.segment_users import IDENTIFY, attachment

TIME = "2026-11-22T15:17:16.903Z"
ALONE = Envelope.of({}, 0)
ALL_ADDONS = {f"segment.{name}Addon": True for name in ("ip", "ua", "url", "referrer")}


def events(settings: dict[str, Any] | None = None, **members: Any) -> dict[str, dict[str, Any]]:
    """The events of a message, by their collections."""
    message = message_of({"messageId": "m", "timestamp": TIME, **members}, ALONE)
    mapped = cloud_events(message, ProjectSettings.model_validate(settings or {}))
    found = {each.collection: each.event for each in mapped}
    assert len(found) == len(mapped)
    return found


def test_a_track_is_an_event_with_who_where_and_by_what() -> None:
    found = events(
        type="track",
        event="Order Completed",
        userId="u",
        anonymousId="a",
        properties={"revenue": 7.5, "userId": "theirs", "gift": None},
        context={
            "ip": "8.8.8.8",
            "userAgent": "Mozilla",
            "page": {"url": "https://a.example/x", "referrer": "https://b.example/"},
            "traits": {"plan": "not forwarded"},
        },
        integrations={"keen io": {"traits": {"plan.name": "pro"}}},
    )
    assert found == {
        "Order Completed": {
            "revenue": 7.5,
            "gift": None,
            "userId": "u",
            "page_url": "https://a.example/x",
            "referrer_url": "https://b.example/",
            "user_agent": "Mozilla",
            "ip_address": "8.8.8.8",
            "traits": {"plan_name": "pro"},
            "keen": {"timestamp": TIME, "uniqueness_token": "m", "addons": []},
        }
    }


def test_what_is_not_known_is_left_out() -> None:
    found = events(type="track", event="x", anonymousId="a", properties={"page_url": "mine"})["x"]
    assert found == {
        "page_url": "mine",
        "userId": "a",
        "traits": {},
        "keen": {"timestamp": TIME, "uniqueness_token": "m", "addons": []},
    }
    assert events(type="track", event="x", properties={"url": "u"})["x"].items() >= {("url", "u"), ("page_url", "u")}


def test_an_events_own_keen_object_loses_its_time_and_add_ons_only() -> None:
    location = {"coordinates": [1.5, 2.5]}
    given = {"Keen": {"timestamp": "2001-01-01", "addons": ["x"], "location": location}}
    assert events(type="track", event="x", properties=given)["x"]["keen"] == {
        "location": location,
        "timestamp": TIME,
        "uniqueness_token": "m",
        "addons": [],
    }
    assert events(type="track", event="x", properties={"keen": 5})["x"]["keen"] == 5


@pytest.mark.parametrize(
    ("members", "settings", "expected"),
    [
        ({}, {}, ["Loaded a Page"]),
        ({"name": "Index"}, {}, ["Loaded a Page", "Viewed Index Page"]),
        (
            {"category": "Docs", "name": "Index"},
            {},
            ["Loaded a Page", "Viewed Docs Page", "Viewed Docs Index Page"],
        ),
        ({"category": "Docs", "name": None}, {}, ["Loaded a Page", "Viewed Docs Page"]),
        (
            {"category": "Docs", "name": "Index"},
            {"segment.trackAllPages": False},
            ["Viewed Docs Page", "Viewed Docs Index Page"],
        ),
        ({"category": "Docs", "name": "I"}, {"segment.trackNamedPages": False}, ["Loaded a Page", "Viewed Docs Page"]),
        (
            {"category": "Docs", "name": "I"},
            {"segment.trackCategorizedPages": False},
            ["Loaded a Page", "Viewed Docs I Page"],
        ),
        ({"name": ""}, {"segment.trackAllPages": False}, []),
    ],
)
def test_pages_and_screens(members: dict[str, Any], settings: dict[str, Any], expected: list[str]) -> None:
    pages = events(settings, type="page", **members)
    assert [*pages] == expected
    assert [*events(settings, type="screen", **members)] == [name.replace("Page", "Screen") for name in expected]
    names = {name: value for name, value in members.items() if value}
    assert all(names.items() <= page.items() for page in pages.values())
    ids = [page["keen"]["uniqueness_token"] for page in pages.values()]
    assert ids[:1] == ["m"][: len(ids)]
    assert len({*ids}) == len(ids)


@pytest.mark.parametrize("kind", ["identify", "group", "alias"])
def test_types_without_an_event(kind: str) -> None:
    assert events(type=kind, userId="u", traits={"a": 1}) == {}


def test_a_track_needs_its_name() -> None:
    nameless: list[dict[str, Any]] = [{}, {"event": None}, {"event": ""}, {"event": {}}]
    for members in nameless:
        with pytest.raises(RuleError, match="'event'"):
            events(type="track", **members)


def test_add_ons_run_where_their_inputs_are() -> None:
    page = {"url": "https://a.example/", "referrer": "https://b.example/"}
    full = {"ip": "8.8.8.8", "userAgent": "Mozilla", "page": page}

    def outputs(context: dict[str, Any]) -> list[str]:
        return [
            one["output"] for one in events(ALL_ADDONS, type="track", event="x", context=context)["x"]["keen"]["addons"]
        ]

    assert outputs(full) == ["ip_geo_info", "parsed_user_agent", "parsed_page_url", "referrer_info"]
    assert outputs({"ip": "8.8.8.8"}) == ["ip_geo_info"]
    assert outputs({"page": {"referrer": "https://b.example/"}}) == []
    assert outputs({"page": page}) == ["parsed_page_url", "referrer_info"]


def test_computed_traits_and_audiences_come_as_tracks() -> None:
    trait = {"trait_key": "total_revenue", "total_revenue": 120}
    audience = {"audience_key": "big_spenders", "big_spenders": True}
    switches = {"All": False, "Keen IO": True}
    context = {
        "personas": {"computation_class": "trait", "computation_key": "total_revenue"},
        "traits": {"email": "u@x"},
    }
    for name, properties in (("Trait Computed", trait), ("Audience Entered", audience)):
        assert switched_on(switches)
        [(collection, event)] = events(
            type="track", event=name, userId="u", properties=properties, context=context, integrations=switches
        ).items()
        assert collection == name
        assert event == properties | {"userId": "u", "traits": {}, "keen": event["keen"]}


@pytest.mark.parametrize(
    ("integrations", "expected"),
    [
        ({}, True),
        ({"All": True}, True),
        ({"All": False}, False),
        ({"All": "false"}, False),
        ({"All": False, "Keen IO": True}, True),
        ({"All": False, "Keen": {"traits": {}}}, True),
        ({"All": False, "Headwater": True, "Keen IO": False}, True),
        ({"Headwater": False}, False),
        ({"Keen IO": False}, False),
        ({"Keen": False}, False),
        ({"Keen": None, "All": False}, False),
        ({"Amplitude": False}, True),
    ],
)
def test_the_switch(integrations: dict[str, Any], expected: bool) -> None:
    assert switched_on(integrations) is expected


def device(settings: dict[str, Any] | None = None, **members: Any) -> list[Mapped]:
    message = message_of({"messageId": "m", "timestamp": TIME, **members}, ALONE)
    return device_events(message, ProjectSettings.model_validate(settings or {}))


def test_device_mode_says_who_in_user_and_nothing_that_no_add_on_needs() -> None:
    page = {"url": "https://a.example/", "referrer": "https://b.example/"}
    context = {"ip": "8.8.8.8", "userAgent": "Mozilla", "page": page}
    given: dict[str, Any] = {"type": "track", "event": "x", "properties": {"a.b": 1}, "context": context}
    keen = {"timestamp": TIME, "uniqueness_token": "m"}
    [identified_one] = device(**given, userId="u", anonymousId="a")
    assert identified_one.user == "u"
    assert identified_one.event == {
        "a_b": 1,
        "user": {"userId": "u"},
        "keen": keen | {"addons": [attachment("userId")]},
    }
    [anonymous] = device({"segment.urlAddon": True}, **given, anonymousId="a")
    assert anonymous.event["user"] == {"anonymousId": "a"}
    assert anonymous.event["page_url"] == page["url"]
    assert [one["output"] for one in anonymous.event["keen"]["addons"]] == ["parsed_page_url", "user"]
    [own] = device(**given | {"properties": {"user": "mine"}}, userId="u")
    assert (own.event["user"], own.event["keen"]["addons"]) == ("mine", [])
    [nobody] = device(**given)
    assert (nobody.user, nobody.event) == (None, {"a_b": 1, "keen": keen | {"addons": []}})
    assert [mapped.collection for mapped in device(type="page", category="C", name="N")] == [
        "Loaded a Page",
        "Viewed C Page",
        "Viewed C N Page",
    ]


def test_an_identify_of_device_mode() -> None:
    def told(**members: Any) -> tuple[Any, ...] | None:
        mapped = identified(message_of({"type": "identify", "timestamp": TIME, **members}, ALONE))
        return None if mapped is None else (mapped.collection, mapped.event, mapped.user, mapped.is_event)

    keen = {"timestamp": TIME}
    assert told(userId="u", anonymousId="a", traits={"a.b": 1}) == (
        IDENTIFY,
        {"user": "u", "userId": "u", "traits": {"a_b": 1}, "keen": keen},
        "u",
        False,
    )
    assert told(userId="u", context={"traits": {"b": 2}}) == (
        IDENTIFY,
        {"user": "u", "userId": "u", "traits": {"b": 2}, "keen": keen},
        "u",
        False,
    )
    assert told(anonymousId="a") == (IDENTIFY, {"user": "a", "userId": None, "traits": {}, "keen": keen}, "a", False)
    assert told() is told(userId="u" * 257) is told(type="group", userId="u") is None
    with pytest.raises(RuleError, match="InvalidCollectionNameError"):
        check_collection_name(IDENTIFY)  # so that it is nobody's event
    refused: list[dict[str, Any]] = [{"x": "x" * 40_000}, {"n": 2**63}, {"": 1}]
    for traits in refused:
        with pytest.raises(RuleError):
            told(userId="u", traits=traits)
