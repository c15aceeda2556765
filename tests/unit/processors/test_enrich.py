"""Enrichment of whole events: paths, merging, and what can never work."""

import copy
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.rules import check_event
from headwater.settings import Settings
from processors.addons import ADDONS, AddonError
from processors.catalogue import Surveyor
from processors.enrich import Enricher

Properties = dict[str, Any]
IP = "81.2.69.142"
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/119.0"


@pytest.fixture(scope="module")
def enricher() -> Enricher:
    return Enricher(Settings())


def ask(name: str, output: str, **given: object) -> Properties:
    return {"name": f"keen:{name}", "input": given, "output": output}


def enriched(enricher: Enricher, properties: Properties, *addons: object, **event: Any) -> Properties:
    enricher.enrich(properties, orjson.dumps(addons).decode(), **event)
    result: Properties = orjson.loads(orjson.dumps(properties))
    return result


# Inputs


def test_add_ons_see_what_earlier_ones_put(enricher: Enricher) -> None:
    result = enriched(
        enricher,
        {"ip": IP, "page": {"full": "https://example.com/?next=https%3A%2F%2Fa.example.org%2F"}},
        ask("ip_to_geo", "geo", ip="ip"),
        ask("url_parser", "page.info", url="page.full"),
        ask("url_parser", "next", url="page.info.query_string.next"),
    )
    assert result["geo"]["city"] == "Gamlingay"
    assert result["next"] == {"protocol": "https", "domain": "a.example.org", "path": "/"}


def test_the_events_own_fields_are_inputs(enricher: Enricher) -> None:
    result = enriched(
        enricher,
        {"keen": {"location": {"coordinates": [1, 2]}}},
        ask("date_time_parser", "time", date_time="keen.timestamp"),
        ask("date_time_parser", "created", date_time="keen.created_at"),
        ask("url_parser", "id", url="keen.id"),
        timestamp=-1,
        received_at=1_356_998_400_000,
        event_id=b"b3b1",
    )
    assert (result["time"]["year"], result["time"]["second"], result["time"]["millisecond"]) == (1969, 59, 999)
    assert (result["created"]["year"], result["created"]["timezone"]) == (2013, "+00:00")
    assert result["id"] == {"path": "b3b1"}
    assert result["keen"] == {"location": {"coordinates": [1, 2]}}


@pytest.mark.parametrize("value", [None, 5, True, [IP], {"ip": IP}, "10.0.0.1", ""])
def test_an_input_without_a_usable_value_has_no_output(enricher: Enricher, value: object) -> None:
    properties: Properties = {"ip": value, "text": "x"}
    before = copy.deepcopy(properties)
    enriched(
        enricher,
        properties,
        ask("ip_to_geo", "geo", ip="ip"),
        ask("ip_to_geo", "geo", ip="text.ip"),
        ask("ip_to_geo", "geo", ip="not.there"),
        ask("date_time_parser", "time", date_time="keen.timestamp"),
    )
    assert properties == before


def test_a_referrer_takes_two_inputs(enricher: Enricher) -> None:
    addon = ask("referrer_parser", "from", referrer_url="r", page_url="p")
    inside = enriched(enricher, {"r": "https://example.com/a", "p": "https://example.com/b"}, addon)
    assert inside["from"]["medium"] == "INTERNAL"
    for page in ({}, {"p": 5}):
        assert enriched(enricher, {"r": "https://www.google.com/?q=x", **page}, addon)["from"] == {
            "medium": "SEARCH",
            "source": "Google",
            "term": "x",
        }


@pytest.mark.parametrize(("wish", "left"), [(True, False), (False, True), ("true", True), (None, True)])
@pytest.mark.parametrize("address", [IP, "10.0.0.1", "nonsense", 5])
def test_remove_ip_property(enricher: Enricher, wish: object, left: bool, address: object) -> None:
    result = enriched(
        enricher,
        {"user": {"ip": address, "name": "x"}},
        ask("ip_to_geo", "geo", ip="user.ip", remove_ip_property=wish),
        ask("ip_to_geo", "again", ip="user.ip"),
    )
    assert result["user"] == ({"ip": address, "name": "x"} if left else {"name": "x"})
    assert ("again" in result) is (address == IP), "the property is there until all add-ons have run"


# Outputs


def test_outputs_are_merged(enricher: Enricher) -> None:
    result = enriched(
        enricher,
        {
            "url": {"full": "https://a.example/b?x=1", "info": {"path": "old", "kept": 1, "query_string": {"y": 2}}},
            "agent": AGENT,
            "tech": {"profile": {"x": 1}, "device": "a phone", "os": None},
        },
        ask("url_parser", "url.info", url="url.full"),
        ask("ua_parser", "tech", ua_string="agent"),
    )
    assert result["url"]["info"] == {
        "protocol": "https",
        "domain": "a.example",
        "path": "/b",
        "kept": 1,
        "query_string": {"y": 2, "x": "1"},
    }
    assert result["tech"]["profile"] == {"x": 1}
    assert result["tech"]["device"] == {"family": "Other", "type": "desktop"}
    assert result["tech"]["os"]["family"] == "Linux"


def test_what_was_put_is_taken_back_where_a_later_output_has_something(enricher: Enricher) -> None:
    twice = ask("ip_to_geo", "geo", ip="ip"), ask("url_parser", "page.info", url="page.full")
    event: Properties = {"ip": IP, "page": {"full": "https://example.com/a", "info": {"path": "/b", "seen": 1}}}
    assert enricher.enrich(event, orjson.dumps(twice).decode()) == ((), ())
    assert event["geo"]["city"] == "Gamlingay"  # a plain object, as where nothing is known of what was added
    assert event["page"]["info"] == {"path": "/a", "seen": 1, "protocol": "https", "domain": "example.com"}


def test_objects_on_the_way_are_made_and_null_counts_as_nothing(enricher: Enricher) -> None:
    addon = ask("url_parser", "a.b.c", url="u")
    for properties in (
        {"u": "x"},
        {"u": "x", "a": None},
        {"u": "x", "a": {"b": None}},
        {"u": "x", "a": {"b": {"c": None}}},
    ):
        assert enriched(enricher, copy.deepcopy(properties), addon)["a"] == {"b": {"c": {"path": "x"}}}  # fmt: skip


@pytest.mark.parametrize("there", ["text", 5, False, [], [{}]])
@pytest.mark.parametrize("depth", [1, 2])
def test_an_output_at_what_is_no_object_fails(enricher: Enricher, there: object, depth: int) -> None:
    properties = {"u": "x", "a": there if depth == 1 else {"b": there}}
    with pytest.raises(AddonError, match=r"keen:url_parser: output a\.b: the event's [ab] is not an object"):
        enriched(enricher, properties, ask("url_parser", "a.b", url="u"))


EVENT = {"ip": IP, "ua": AGENT, "url": "https://e.com/?x=1", "at": "2026-01-01T00:00:00Z", "ref": "https://t.co/"}
ALL = [
    ask("ip_to_geo", "geo", ip="ip"),
    ask("ua_parser", "tech", ua_string="ua"),
    ask("url_parser", "page", url="url"),
    ask("date_time_parser", "time", date_time="at"),
    ask("referrer_parser", "from", referrer_url="ref", page_url="url"),
]
ENRICHED = enriched(Enricher(Settings()), dict(EVENT), *ALL)


@pytest.mark.parametrize(
    ("others", "changed"),
    [
        (ask("ua_parser", "geo", ua_string="ua"), "geo"),
        (ask("url_parser", "tech.browser", url="url"), "tech"),
        (ask("url_parser", "page.query_string", url="ref"), "page"),
        (ask("url_parser", "next", url="page.path"), "next"),
        (ask("ip_to_geo", "gone", ip="tech.os.family", remove_ip_property=True), "tech"),
    ],
)
def test_add_ons_that_have_to_do_with_each_other(enricher: Enricher, others: Properties, changed: str) -> None:
    before = enriched(enricher, dict(EVENT), *ALL)
    after = enriched(enricher, dict(EVENT), *ALL, others)
    assert after.pop(changed) != before.pop(changed, None)
    assert after == before
    assert enriched(enricher, dict(EVENT), *ALL) == ENRICHED, "no event changes what another one has"


# What can never work


@pytest.mark.parametrize(
    ("addons", "name", "message"),
    [
        ("not json", "keen.addons", "not JSON"),
        ("{}", "keen.addons", "not a list"),
        ("[5]", "keen.addons[0]", "not an object with name"),
        ('[{"name":"keen:url_parser","input":{"url":"u"},"output":"o"},{}]', "keen.addons[1]", "not an object with"),
        ('[{"name":"keen:nonsense","input":{},"output":"o"}]', "keen:nonsense", "no such add-on: there are keen:date"),
        ('[{"name":"keen:url_parser","output":"o"}]', "keen:url_parser", "input is not an object"),
        ('[{"name":"keen:url_parser","input":{},"output":"o"}]', "keen:url_parser", "input.url is missing"),
        ('[{"name":"keen:url_parser","input":{"url":5},"output":"o"}]', "keen:url_parser", "input.url is missing"),
        ('[{"name":"keen:referrer_parser","input":{"referrer_url":"u"},"output":"o"}]', "keen:referrer_parser", "input.page_url is missing"),
        ('[{"name":"keen:url_parser","input":{"url":"u"}}]', "keen:url_parser", "output is missing"),
        ('[{"name":"keen:url_parser","input":{"url":"u"},"output":""}]', "keen:url_parser", "output is missing"),
        ('[{"name":"keen:url_parser","input":{"url":"u"},"output":"keen"}]', "keen:url_parser", "under keen"),
        ('[{"name":"keen:url_parser","input":{"url":"u"},"output":"keen.x"}]', "keen:url_parser", "under keen"),
        ('[{"name":"keen:url_parser","input":{"url":"u"},"output":"a..b"}]', "keen:url_parser", "is blank"),
        ('[{"name":"keen:url_parser","input":{"url":"u"},"output":"a.$b"}]', "keen:url_parser", "starts with $"),
        ('[{"name":"keen:url_parser","input":{"url":"u"},"output":"' + "a." * 99 + 'b"}]', "keen:url_parser", "100 levels"),
    ],
)  # fmt: skip
def test_errors_name_the_add_on_and_the_way_out(enricher: Enricher, addons: str, name: str, message: str) -> None:
    for _ in range(2):  # the second time from what is remembered
        with pytest.raises(AddonError) as raised:
            enricher.enrich({"u": "x"}, addons)
        assert raised.value.name == name
        assert message in raised.value.message


def test_the_registry_is_complete() -> None:
    assert set(ADDONS) == {
        "keen:ip_to_geo",
        "keen:ua_parser",
        "keen:url_parser",
        "keen:referrer_parser",
        "keen:date_time_parser",
    }
    for name, addon in ADDONS.items():
        assert addon.name == name
        fields = (*addon.inputs, *addon.outputs)
        assert all(line.meaning.endswith(".") for line in fields)
        assert addon.meaning.endswith(".")
        assert len({field.name for field in fields}) == len(fields)


# Any event, any wish


names = st.sampled_from(["a", "b", "keen", "url", "ip"])
paths = st.lists(names, min_size=1, max_size=3).map(".".join) | st.sampled_from(
    ["keen.timestamp", "keen.id", ".", "a."]
)
texts = st.text(max_size=20) | st.sampled_from([IP, AGENT, "https://e.com/?a.b=1&$c=2&=3&d", "2026-01-01T00:00:00Z"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=10,
)  # fmt: skip
events = st.dictionaries(names, values, max_size=5)
wishes = st.fixed_dictionaries(
    {
        "name": st.sampled_from([*ADDONS, "keen:other"]) | values,
        "input": st.dictionaries(
            st.sampled_from(["ip", "ua_string", "url", "referrer_url", "page_url", "date_time", "remove_ip_property"]),
            paths | values,
        ),
        "output": paths | values,
    }
)
good_wishes = st.builds(
    lambda addon, inputs, output, removal: {
        "name": addon.name,
        "input": {**{f.name: path for f, path in zip(addon.inputs, inputs, strict=False)}, "remove_ip_property": removal},
        "output": output,
    },
    st.sampled_from(list(ADDONS.values())),
    st.lists(paths, min_size=2, max_size=2),
    paths,
    st.booleans(),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    event=events,
    addons=st.lists(wishes | good_wishes, max_size=3) | values,
    at=st.none() | st.integers(-2_208_988_800_000, 10_413_791_999_999),
)
def test_enrichment_fails_only_as_it_says_and_leaves_a_valid_event(
    enricher: Enricher, event: Properties, addons: object, at: int | None
) -> None:
    text = orjson.dumps(addons).decode()
    twin = copy.deepcopy(event)
    outcome, again = (outcome_of(enricher, e, text, timestamp=at) for e in (event, twin))
    assert outcome == again
    assert orjson.dumps(event) == orjson.dumps(twin)
    if outcome is None:
        check_event(orjson.loads(orjson.dumps(event)), max_depth=20)
    assert enriched(enricher, dict(EVENT), *ALL) == ENRICHED, "no event changes what another one has"


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(events, st.lists(good_wishes, max_size=3), st.integers(0, 9)), max_size=6))
def test_what_was_added_is_what_a_survey_finds(
    enricher: Enricher, given: list[tuple[Properties, list[Properties], int]]
) -> None:
    done = []
    for event, wishes, at in given:
        try:
            added = enricher.enrich(event, orjson.dumps(wishes).decode(), event_id=b"https://e.com/a?b=c")
        except AddonError:
            continue
        done.append((event, added, at))
    members, times = [e for e, _, _ in done], [t for _, _, t in done]
    outputs, shapes = [o for _, (o, _), _ in done], [s for _, (_, s), _ in done]
    plain = [orjson.loads(orjson.dumps(member)) for member in members]
    assert Surveyor(20).survey(members, times, outputs, shapes) == Surveyor(20).survey(plain, times)


def outcome_of(enricher: Enricher, properties: Properties, addons: str, **event: Any) -> tuple[str, str] | None:
    try:
        enricher.enrich(properties, addons, **event)
    except AddonError as error:
        return error.name, error.message
    return None
