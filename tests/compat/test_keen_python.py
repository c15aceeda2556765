"""The unmodified `keen` 0.7.0 from PyPI, writing and asking, against a whole stack."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from statistics import mean
from typing import Any

import pytest
import requests
from keen import direction
from keen.client import KeenClient
from keen.exceptions import KeenApiError

from tests.stack import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

START = datetime(2026, 1, 1, tzinfo=UTC)
SPAN = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-04T00:00:00Z"}
PURCHASES: list[dict[str, Any]] = [
    {
        "item": {"id": ("book", "pen", "lamp")[n % 3], "tags": ["new"] if n % 4 == 0 else []},
        "price": n + (0.5 if n % 2 else 0),
        "user": f"user-{n % 5}",
        "gift": n % 6 == 0,
    }
    for n in range(1, 31)
]
PRICES = sorted(purchase["price"] for purchase in PURCHASES)


def day(n: int) -> datetime:
    """When purchase `n` of PURCHASES was: ten on each of three days."""
    return START + timedelta(days=n // 10, hours=n % 10)


@pytest.fixture(scope="module")
def keen(stack: RunningStack) -> Iterator[KeenClient]:
    """The client, with a collection of purchases in place: one third each by single, bulk and image-beacon writes."""
    status = stack.status
    client = KeenClient(
        status["project_id"],
        write_key=status["write_key"],
        read_key=status["read_key"],
        master_key=status["master_key"],
        base_url=status["url"],
    )
    for n, purchase in enumerate(PURCHASES[:10]):
        client.add_event("keen_purchases", purchase, timestamp=day(n))
    bulk = [
        purchase | {"keen": {"timestamp": day(n).isoformat()}} for n, purchase in enumerate(PURCHASES[10:20], start=10)
    ]
    reply = client.add_events({"keen_purchases": bulk})
    assert reply == {"keen_purchases": [{"success": True}] * 10}
    # The client builds beacons only from a key in bytes (it decodes it).
    beacons = KeenClient(status["project_id"], write_key=status["write_key"].encode(), base_url=status["url"])
    for n, purchase in enumerate(PURCHASES[20:], start=20):
        image = requests.get(beacons.generate_image_beacon("keen_purchases", purchase, timestamp=day(n)), timeout=30)
        assert (image.status_code, image.headers["Content-Type"]) == (200, "image/gif")
    beacons.api.session.close()
    wait_until(lambda: client.count("keen_purchases", timeframe=SPAN) == 30, 60, every=0.25)
    yield client
    client.api.session.close()


def test_an_event_without_time_happened_now(keen: KeenClient) -> None:
    keen.add_event("keen_now", {"a": 1})
    wait_until(lambda: keen.count("keen_now", timeframe="this_1_days") == 1, 30, every=0.25)
    (event,) = keen.extraction("keen_now", timeframe="this_1_days")
    age = datetime.now(UTC) - datetime.fromisoformat(event["keen"]["timestamp"])
    assert timedelta(0) <= age < timedelta(seconds=60)
    assert {"created_at", "id", "timestamp"} <= event["keen"].keys()


def test_a_batch_keeps_the_good_and_says_what_is_wrong_with_the_bad(keen: KeenClient) -> None:
    reply = keen.add_events({"keen_mixed": [{"a": 1}, {"a.b": 1}, {"a": 2}], "$bad": [{"a": 1}]})
    assert [result["success"] for result in reply["keen_mixed"]] == [True, False, True]
    assert reply["keen_mixed"][1]["error"]["name"] == "InvalidPropertyNameError"
    assert reply["$bad"][0]["error"]["name"] == "InvalidCollectionNameError"
    wait_until(lambda: keen.count("keen_mixed") == 2, 30, every=0.25)


def test_single_numbers(keen: KeenClient) -> None:
    asked = {"event_collection": "keen_purchases", "target_property": "price", "timeframe": SPAN}
    assert keen.count("keen_purchases", timeframe=SPAN) == 30
    assert keen.sum(**asked) == sum(PRICES)
    assert keen.minimum(**asked) == 1.5
    assert keen.maximum(**asked) == 30
    assert keen.average(**asked) == pytest.approx(mean(PRICES))
    assert keen.median(**asked) == PRICES[14], "of two in the middle the lower one"
    assert keen.percentile(percentile=90, **asked) == PRICES[26]
    assert keen.count_unique("keen_purchases", "user", timeframe=SPAN) == 5
    assert sorted(keen.select_unique("keen_purchases", "item.id", timeframe=SPAN)) == ["book", "lamp", "pen"]


def test_filters(keen: KeenClient) -> None:
    def count(*filters: tuple[str, str, Any]) -> int:
        given = [dict(zip(("property_name", "operator", "property_value"), one, strict=True)) for one in filters]
        answer: int = keen.count("keen_purchases", timeframe=SPAN, filters=given)
        return answer

    assert count(("item.id", "eq", "pen")) == 10
    assert count(("item.id", "ne", "pen"), ("price", "gt", 20)) == 7
    assert count(("item.id", "in", ["pen", "lamp"])) == 20
    assert count(("gift", "eq", True)) == 5
    assert count(("user", "contains", "-4")) == 6
    assert count(("price", "lte", 1.5)) == 1
    assert count(("nothing", "exists", True)) == 0


def test_groups_in_order(keen: KeenClient) -> None:
    most = {"property_name": "result", "direction": direction.DESCENDING}
    totals = {
        item: sum(purchase["price"] for purchase in PURCHASES if purchase["item"]["id"] == item)
        for item in ("book", "pen", "lamp")
    }
    ordered = sorted(
        ({"item.id": item, "result": total} for item, total in totals.items()), key=lambda row: -row["result"]
    )
    asked = {"group_by": "item.id", "order_by": most, "timeframe": SPAN}
    assert keen.sum("keen_purchases", "price", **asked) == ordered
    assert keen.sum("keen_purchases", "price", limit=2, **asked) == ordered[:2]
    both = keen.count("keen_purchases", timeframe=SPAN, group_by=["item.id", "gift"])
    assert sum(row["result"] for row in both) == 30
    assert all(row.keys() == {"item.id", "gift", "result"} for row in both)


def test_intervals_in_a_time_zone(keen: KeenClient) -> None:
    daily = keen.count("keen_purchases", timeframe=SPAN, interval="daily")
    assert [bucket["value"] for bucket in daily] == [10, 10, 10]
    assert daily[0]["timeframe"] == {"start": "2026-01-01T00:00:00.000Z", "end": "2026-01-02T00:00:00.000Z"}
    grouped = keen.average("keen_purchases", "price", timeframe=SPAN, interval="daily", group_by="user")
    assert [{row["user"] for row in bucket["value"]} for bucket in grouped] == [{f"user-{n}" for n in range(5)}] * 3
    # Berlin's days begin an hour earlier.
    shifted = keen.count("keen_purchases", timeframe=SPAN, interval="daily", timezone=3600)
    assert sum(bucket["value"] for bucket in shifted) == 30
    assert shifted[0]["timeframe"]["end"].startswith("2026-01-02T00:00:00.000+01:00")


def test_extractions(keen: KeenClient) -> None:
    events = keen.extraction("keen_purchases", timeframe=SPAN)
    assert sorted(event["price"] for event in events) == PRICES
    first = next(event for event in events if event["price"] == 1.5)
    assert {name: first[name] for name in PURCHASES[0]} == PURCHASES[0]
    assert first["keen"]["timestamp"] == "2026-01-01T00:00:00.000Z"
    latest = keen.extraction("keen_purchases", timeframe=SPAN, latest=2, property_names=["price", "item.id"])
    assert sorted(latest, key=lambda event: event["price"]) == [
        {"price": 29.5, "item": {"id": "lamp"}},
        {"price": 30, "item": {"id": "book"}},
    ]


def test_errors_are_what_the_client_expects(keen: KeenClient, stack: RunningStack) -> None:
    with pytest.raises(KeenApiError, match="InvalidPropertyNameError"):
        keen.add_event("keen_purchases", {"a.b": 1})
    with pytest.raises(KeenApiError, match="TimeframeDefinitionError"):
        keen.count("keen_purchases", timeframe="now and then")
    wrong = KeenClient(stack.status["project_id"], write_key="0" * 64, base_url=stack.status["url"])
    with pytest.raises(KeenApiError, match="InvalidApiKeyError"):
        wrong.add_event("keen_purchases", {"a": 1})
    nobody = KeenClient("0" * 24, write_key=stack.status["write_key"], base_url=stack.status["url"])
    with pytest.raises(KeenApiError, match="ResourceNotFoundError"):
        nobody.add_event("keen_purchases", {"a": 1})
    for client in (wrong, nobody):
        client.api.session.close()


def test_what_an_event_says_comes_back_as_it_was_sent(keen: KeenClient) -> None:
    event = {
        "text": "héllo 🛩 `a`'; DROP TABLE x --",
        "date_like": "2026-01-31",
        "number_like": "007",
        "big": 2**63 - 1,
        "nested": {"list": [[1, 2], [3]], "deep": {"er": True}},
    }
    keen.add_event("keen_verbatim", event)
    wait_until(lambda: keen.count("keen_verbatim") == 1, 30, every=0.25)
    (stored,) = keen.extraction("keen_verbatim")
    del stored["keen"]
    assert json.loads(json.dumps(stored)) == event


def test_collections_and_their_schema(keen: KeenClient) -> None:
    found = {collection["name"]: collection for collection in keen.get_all_collections()}
    schema = found["keen_purchases"]["properties"]
    assert (
        schema.items()
        >= {
            "item.id": "string",
            "item.tags": "list",
            "price": "num",
            "gift": "bool",
            "keen.timestamp": "datetime",
        }.items()
    )
    assert keen.get_collection("keen_purchases")["properties"] == schema
    with pytest.raises(KeenApiError, match="ResourceNotFoundError"):
        keen.get_collection("keen_nothing")


def test_deletions(keen: KeenClient, stack: RunningStack) -> None:
    events = [{"n": n, "user": n % 3, "keen": {"timestamp": day(n).isoformat()}} for n in range(30)]
    keen.add_events({"keen_deleted": events})
    wait_until(lambda: keen.count("keen_deleted", timeframe=SPAN) == 30, 30, every=0.25)
    of_user = [{"property_name": "user", "operator": "eq", "property_value": 1}]
    first_day = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}
    assert keen.delete_events("keen_deleted", timeframe=first_day, filters=of_user)
    left = [n for n in range(30) if n >= 10 or n % 3 != 1]
    assert keen.select_unique("keen_deleted", "n", timeframe=SPAN) == left
    assert keen.delete_events("keen_deleted", timeframe=first_day)
    assert keen.count("keen_deleted") == 20
    url = f"{stack.status['url']}/3.0/projects/{stack.status['project_id']}/events/keen_deleted/properties/user"
    answer = requests.delete(url, headers={"Authorization": stack.status["master_key"]}, timeout=60)
    assert answer.status_code == 204
    assert keen.count_unique("keen_deleted", "user") == 0
    assert keen.delete_events("keen_deleted")
    assert keen.count("keen_deleted") == 0
    assert "keen_deleted" not in [collection["name"] for collection in keen.get_all_collections()]
    keen.add_event("keen_deleted", {"n": 100})
    wait_until(lambda: "keen_deleted" in [one["name"] for one in keen.get_all_collections()], 30, every=0.25)
    wait_until(lambda: keen.count("keen_deleted") == 1, 30, every=0.25)
    assert keen.get_collection("keen_deleted")["properties"]["n"] == "num"
    reader = KeenClient(stack.status["project_id"], master_key=stack.status["read_key"], base_url=stack.status["url"])
    with pytest.raises(KeenApiError, match="AdminOnlyEndpointError"):
        reader.delete_events("keen_deleted")
    reader.api.session.close()


def test_looking_around_and_deleting_from_python(keen: KeenClient, stack: RunningStack) -> None:
    """The same by our own client, which is told what a 204 has no room for."""
    keen.add_events(
        {"hw_deleted": [{"n": n, "user": {"id": n % 3, "mail": f"u{n % 3}@example.com"}} for n in range(12)]}
    )
    with stack.client() as hw:
        wait_until(lambda: "hw_deleted" in hw.collections() and hw.count("hw_deleted").value == 12, 30, every=0.25)
        # Processors write what they have counted a moment after the events.
        wait_until(lambda: hw.trend("hw_deleted")[-1]["value"] == 12, 30, every=0.25)
        assert hw.schema("hw_deleted")["user.mail"] == "string"
        assert len(hw.latest("hw_deleted")) == 10
        assert len(hw.trend()) == 30
        deleted = hw.delete_property("hw_deleted", "user.mail")
        assert deleted.done
        assert min(deleted.copies_in_kafka.values()) > datetime.now(UTC) + timedelta(days=6)
        assert hw.latest("hw_deleted")[0]["user"].keys() == {"id"}
        assert "user.mail" not in hw.schema("hw_deleted")
        hw.delete_events("hw_deleted", filters=[{"property_name": "user.id", "operator": "eq", "property_value": 0}])
        assert hw.count("hw_deleted").value == 8
        hw.delete_events("hw_deleted", timeframe={"start": datetime(2020, 1, 1, tzinfo=UTC), "end": datetime.now(UTC)})
        assert hw.count("hw_deleted").value == 0
        assert hw.delete_collection("hw_deleted").done
        assert "hw_deleted" not in hw.collections()


def test_funnels(keen: KeenClient) -> None:
    every = {"event_collection": "keen_purchases", "actor_property": "user", "timeframe": SPAN}
    gifts = every | {"filters": [{"property_name": "gift", "operator": "eq", "property_value": True}]}
    first = every | {"timeframe": {"start": SPAN["start"], "end": "2026-01-01T01:00:00Z"}, "with_actors": True}
    users = len({purchase["user"] for purchase in PURCHASES})
    givers = len({purchase["user"] for purchase in PURCHASES if purchase["gift"]})
    assert keen.funnel([every, gifts]) == [users, givers]
    whole = keen.funnel([first, every], all_keys=True)
    assert whole["result"] == [1, 1]
    assert whole["actors"] == [[PURCHASES[0]["user"]], None]
    assert [step["event_collection"] for step in whole["steps"]] == ["keen_purchases"] * 2


def test_several_figures_at_once(keen: KeenClient) -> None:
    analyses = {
        "orders": {"analysis_type": "count"},
        "median price": {"analysis_type": "median", "target_property": "price"},
    }
    plain = keen.multi_analysis("keen_purchases", analyses=analyses, timeframe=SPAN)
    assert plain == {"orders": 30, "median price": PRICES[14]}
    groups = keen.multi_analysis("keen_purchases", analyses=analyses, timeframe=SPAN, group_by="item.id")
    assert [(group["item.id"], group["orders"]) for group in groups] == [("book", 10), ("lamp", 10), ("pen", 10)]
    days = keen.multi_analysis("keen_purchases", analyses=analyses, timeframe=SPAN, interval="daily")
    assert [each["value"]["orders"] for each in days] == [10, 10, 10]


def test_an_extraction_by_email_is_a_file(keen: KeenClient, stack: RunningStack) -> None:
    """The client asks as for an e-mail; the file is where the reply says."""
    said = keen.extraction("keen_purchases", timeframe=SPAN, email="ann@example.com")
    assert said.startswith("Processing.")
    status = stack.status
    url = status["url"] + said.rsplit(" ", 1)[1]
    key = {"Authorization": status["read_key"]}
    reply = wait_until(lambda: (got := requests.get(url, headers=key, timeout=30)).status_code == 200 and got, 30)
    assert len(json.loads(gzip.decompress(reply.content))["result"]) == 30
