"""The unmodified `keen` 0.7.0: access keys, scoped keys, saved queries and cached datasets, against a whole stack."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from keen import scoped_keys
from keen.client import KeenClient
from keen.exceptions import KeenApiError

from tests.stack import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

COLLECTION = "keen_access"
FILTERS = [{"property_name": "account.id", "operator": "eq", "property_value": 4}]
COUNT = {"analysis_type": "count", "event_collection": COLLECTION, "timeframe": "this_3_days"}


def client_of(stack: RunningStack, **keys: str) -> KeenClient:
    return KeenClient(stack.status["project_id"], base_url=stack.status["url"], **keys)


@pytest.fixture(scope="module")
def keen(stack: RunningStack) -> Iterator[KeenClient]:
    """The client with all keys, and ten events, three of which are of account 4."""
    client = client_of(stack, **{name: stack.status[name] for name in ("write_key", "read_key", "master_key")})
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    for n in range(10):
        client.add_event(COLLECTION, {"account": {"id": 4 if n < 3 else 5}, "n": n}, timestamp=hour_ago)
    wait_until(lambda: client.count(COLLECTION, timeframe="this_3_days") == 10, 60, every=0.25)
    yield client
    client.api.session.close()


def test_access_keys(keen: KeenClient, stack: RunningStack) -> None:
    key = keen.create_access_key("board", permitted=["queries"], options={"queries": {"filters": FILTERS}})
    raw_key = key["key"]
    assert key["is_active"]
    assert keen.get_access_key(raw_key) == key
    assert key in keen.list_access_keys()
    board = client_of(stack, read_key=raw_key, write_key=raw_key)
    assert board.count(COLLECTION, timeframe="this_3_days") == 3
    assert board.sum(COLLECTION, "n", timeframe="this_3_days", filters=[]) == 0 + 1 + 2
    with pytest.raises(KeenApiError, match="writes"):
        board.add_event(COLLECTION, {})

    assert keen.update_access_key_name(raw_key, "board 2")["name"] == "board 2"
    assert keen.add_access_key_permissions(raw_key, ["schema", "writes"])["permitted"] == [
        "writes",
        "queries",
        "schema",
    ]
    assert keen.remove_access_key_permissions(raw_key, ["schema"])["permitted"] == ["writes", "queries"]
    assert keen.update_access_key_permissions(raw_key, ["queries"])["permitted"] == ["queries"]
    assert keen.update_access_key_options(raw_key, {})["options"]["queries"] is None
    assert board.count(COLLECTION, timeframe="this_3_days") == 10
    assert (
        keen.update_access_key_full(raw_key, "x", True, ["queries"], {"queries": {"filters": FILTERS}})["name"] == "x"
    )
    assert keen.revoke_access_key(raw_key)["is_active"] is False
    with pytest.raises(KeenApiError, match="key"):
        board.count(COLLECTION, timeframe="this_3_days")
    assert keen.unrevoke_access_key(raw_key)["is_active"] is True
    assert board.count(COLLECTION, timeframe="this_3_days") == 3
    assert keen.delete_access_key(raw_key)
    with pytest.raises(KeenApiError, match="not found"):
        keen.get_access_key(raw_key)
    board.api.session.close()


def test_autofill(keen: KeenClient, stack: RunningStack) -> None:
    key = keen.create_access_key("till", permitted=["writes"], options={"writes": {"autofill": {"till": {"id": 3}}}})
    till = client_of(stack, write_key=key["key"])
    till.add_event("keen_filled", {"till": {"id": 9, "name": "x"}})
    till.add_events({"keen_filled": [{}]})
    wait_until(lambda: keen.count("keen_filled", timeframe="this_1_days") == 2, 30, every=0.25)
    found = keen.select_unique("keen_filled", target_property="till.id", timeframe="this_1_days")
    assert found == [3]
    till.api.session.close()


def test_scoped_keys(keen: KeenClient, stack: RunningStack) -> None:
    master_key = stack.status["master_key"]
    scoped = scoped_keys.encrypt(master_key, {"filters": FILTERS, "allowed_operations": ["read"]}).decode()
    board = client_of(stack, read_key=scoped, write_key=scoped)
    assert board.count(COLLECTION, timeframe="this_3_days") == 3
    with pytest.raises(KeenApiError, match="scoped key"):
        board.add_event(COLLECTION, {})
    board.api.session.close()


def test_saved_queries(keen: KeenClient) -> None:
    saved = keen.saved_queries
    assert saved.all() == []
    made = saved.create("sold", {"query": COUNT, "refresh_rate": 14400, "metadata": {"display_name": "Sold"}})
    assert (made["query_name"], made["refresh_rate"], made["metadata"]) == ("sold", 14400, {"display_name": "Sold"})
    assert saved.get("sold")["query"] == COUNT
    assert saved.results("sold")["result"] == 10
    updated = saved.update("sold", {"refresh_rate": 0, "query": {"filters": FILTERS}})
    assert (updated["refresh_rate"], updated["metadata"]) == (0, {"display_name": "Sold"})
    assert saved.results("sold")["result"] == 3
    assert saved.update("sold", {"query_name": "sales"})["query_name"] == "sales"
    assert [one["query_name"] for one in saved.all()] == ["sales"]
    assert saved.delete("sales")
    with pytest.raises(KeenApiError, match="not found"):
        saved.get("sales")
    assert saved.all() == []


def test_cached_datasets(keen: KeenClient) -> None:
    datasets = keen.cached_datasets
    query = COUNT | {"interval": "daily"}
    made: dict[str, Any] = datasets.create("by_account", query, index_by="account.id", display_name="By account")
    assert (made["dataset_name"], made["index_by"]) == ("by_account", ["account.id"])
    assert [one["dataset_name"] for one in datasets.all()["datasets"]] == ["by_account"]

    def total(index_by: Any) -> int:
        found = datasets.results("by_account", index_by, "this_3_days")["result"]
        assert len(found) == 3
        return sum(bucket["value"] for bucket in found)

    for _ in range(2):  # asked directly, then kept
        assert [total(index_by) for index_by in ({"account.id": 4}, [5], "4", "none")] == [3, 7, 3, 0]
        wait_until(lambda: datasets.get("by_account")["latest_subtimeframe_available"] > "2000", 60, every=0.25)
    assert datasets.delete("by_account")
    with pytest.raises(KeenApiError, match="not found"):
        datasets.get("by_account")


def test_a_cached_answer_takes_milliseconds_over_http(keen: KeenClient) -> None:
    keen.saved_queries.create("quick", {"query": COUNT, "refresh_rate": 14400})
    assert keen.saved_queries.results("quick")["result"] == 10
    times = []
    for _ in range(50):
        started = time.perf_counter()
        keen.saved_queries.results("quick")
        times.append(time.perf_counter() - started)
    assert sorted(times)[25] < 0.05
    keen.saved_queries.delete("quick")
