"""The events of benchmarks: the same for a seed, and as repetitive and as large as they claim to be."""

from collections import Counter

import orjson

from benchmarks.events import ADDONS, ADDRESSES, AGENTS, generate, raw_record
from headwater.codec import codec
from headwater.rules import check_event

EVENTS = generate(5_000)


def test_a_seed_gives_the_same_events() -> None:
    assert generate(5_000) == EVENTS
    assert generate(100, seed=1) != EVENTS[:100]


def test_ids_are_unique_and_events_valid() -> None:
    assert len({event.id for event in EVENTS}) == len(EVENTS)
    for event in EVENTS[:100]:
        check_event(orjson.loads(event.properties), max_depth=5)


def test_a_few_values_come_very_often() -> None:
    agents, addresses = (Counter(event[field] for event in EVENTS) for field in (3, 2))
    assert len(agents) <= AGENTS
    assert len(addresses) <= ADDRESSES
    assert agents.most_common(1)[0][1] > 5_000 / AGENTS * 10
    assert addresses.most_common(1)[0][1] > 100


def test_filled_events_have_some_650_bytes() -> None:
    sizes = [len(e.properties) + len(e.ip) + len(e.user_agent) for e in EVENTS]
    assert 600 < sum(sizes) / len(sizes) < 700


def test_a_raw_record_is_what_the_collector_writes() -> None:
    record = codec("raw_event").decode(raw_record("0123456789abcdef01234567", EVENTS[0], "c"))
    assert (record["collection"], record["id"], record["addons"]) == ("c", EVENTS[0].id, ADDONS)
    assert record["properties"] == EVENTS[0].properties
