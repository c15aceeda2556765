"""Enrichment alone: what one core does with three add-ons, JSON text in and out, without Kafka."""

import gc
import time

import orjson
import psutil

from benchmarks.events import ADDONS, ADDRESSES, AGENTS, generate
from benchmarks.measure import Benchmark, Goal
from headwater.settings import load_settings
from processors.enrich import Enricher
from processors.placeholders import fill_text

EVENTS = 50_000
WARM_UP = 1

CASE = "three add-ons"
JSON_ONLY = "JSON in and out, nothing between"


def run(rounds: int) -> Benchmark:
    """Measure in this process, after one round that fills the caches."""
    benchmark = Benchmark(
        "enrich",
        "ip_to_geo, ua_parser, url_parser on one event after another, one core",
        "events/s",
        {"events": EVENTS, "addresses": ADDRESSES, "agents": AGENTS},
        (Goal(CASE, 100_000),),
    )
    events = generate(EVENTS)
    enricher = Enricher(load_settings())
    size = 0
    gc.collect()
    gc.freeze()  # the events of the benchmark are no load of the thing measured
    for number in range(rounds + WARM_UP):
        began = time.perf_counter()
        size = 0
        for event in events:
            filled = fill_text(event.properties.encode(), event.ip, event.user_agent)
            assert filled is not None
            properties = orjson.loads(filled)
            enricher.enrich(properties, ADDONS, event.timestamp)
            size += len(orjson.dumps(properties))
        took = time.perf_counter() - began
        if number >= WARM_UP:
            benchmark.add(CASE, value=EVENTS / took, **{"RSS MB": psutil.Process().memory_info().rss / 1e6})
        began = time.perf_counter()
        for event in events:
            orjson.dumps(orjson.loads(event.properties))
        took = time.perf_counter() - began
        if number >= WARM_UP:
            benchmark.add(JSON_ONLY, value=EVENTS / took)
    before = sum(len(e.properties) + len(e.ip) + len(e.user_agent) for e in events)
    benchmark.parameters |= {"bytes_before": before // EVENTS, "bytes_after": size // EVENTS}
    return benchmark
