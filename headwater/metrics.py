"""Every metric of every service: declared once, typed, with its meaning. docs/metrics.md is generated from `METRICS`.

Names end in their unit. Services import the metric that they count; a metric exists only if it is in this file.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

registry = CollectorRegistry(auto_describe=True)

METRICS: list[Counter | Gauge | Histogram] = []


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    metric = Counter(f"headwater_{name}", meaning, labels, registry=registry)
    METRICS.append(metric)
    return metric


def _gauge(name: str, meaning: str, *labels: str) -> Gauge:
    metric = Gauge(f"headwater_{name}", meaning, labels, registry=registry)
    METRICS.append(metric)
    return metric


def _histogram(name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    metric = Histogram(f"headwater_{name}", meaning, labels, registry=registry, buckets=buckets)
    METRICS.append(metric)
    return metric


SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

# Collector
events_accepted = _counter(
    "collector_events_accepted_total", "Events that Kafka acknowledged and that were answered with success."
)
events_rejected = _counter("collector_events_rejected_total", "Events refused, by the name of the error.", "error")
signatures_refused = _counter(
    "collector_signatures_refused_total",
    "Webhooks answered 401 because their signature is missing, wrong or too old.",
    "vendor",
)
messages_without_event = _counter(
    "collector_segment_without_event_total",
    "Messages of Segment's clients that make no event, by why: their type, or switched_off by their integrations.",
    "why",
)
requests_unavailable = _counter(
    "collector_unavailable_total", "Requests answered 503 because Kafka did not acknowledge in time."
)
intake_records = _counter(
    "collector_intake_records_total", "Records taken from the topics of producers, dead letters among them."
)
requests_limited = _counter(
    "collector_limited_total",
    "Requests answered 429 because their project had sent more events or bytes than it may.",
    "unit",
)
acknowledge_seconds = _histogram(
    "collector_acknowledge_seconds", "Time from producing a request's events to the last acknowledgement.", SECONDS
)

# Processors
records_processed = _counter("processor_records_total", "Raw records processed, dead letters among them.")
repetitions = _counter(
    "processor_repetitions_total", "Events dropped because one with the same id was put out before: sent again."
)
window_ids = _gauge("processor_window_ids", "Ids kept to drop what is sent again, by partition.", "partition")
dead_letters = _counter("dead_letters_total", "Records given up, by stage and reason.", "stage", "reason")
rewinds = _counter("processor_rewinds_total", "Times that a partition was read again from its last settled offset.")
settles = _counter("processor_settles_total", "Settles, by outcome: done, failed, fenced.", "outcome")
settle_seconds = _histogram("processor_settle_seconds", "Time that a settle took.", SECONDS)
partitions_owned = _gauge("processor_partitions", "Partitions of the raw topic that this processor owns.")
processor_lag_records = _gauge("processor_lag_records", "Raw records not yet read, by partition.", "partition")
processor_backfill_lag_records = _gauge(
    "processor_backfill_lag_records", "Records of the backfill topic not yet read, by partition.", "partition"
)
backfill_paused = _gauge(
    "processor_backfill_paused",
    "1 while history waits, by what for: live events that are not yet processed, or sinks that have not yet stored what was put out; else 0.",
    "for",
)

# Sink
rows_inserted = _counter("sink_rows_total", "Rows inserted into ClickHouse.")
covered_records = _counter(
    "sink_covered_records_total",
    "Records that came in before a deletion of their collection: they are stored without what it deletes.",
)
deletions_done = _counter("sink_deletions_total", "Deletions that were done.")
insert_seconds = _histogram("sink_insert_seconds", "Time of one insert.", SECONDS)
insert_failures = _counter(
    "sink_insert_failures_total", "Inserts that failed and are tried again, by ClickHouse's error code.", "code"
)
sink_paused = _gauge("sink_paused", "1 while the sink waits for ClickHouse, else 0.")
sink_buffered_records = _gauge("sink_buffered_records", "Records that are read but not yet inserted.")
sink_lag_seconds = _gauge("sink_lag_seconds", "Age of the oldest record that is read but not yet inserted.")

# API
queries_answered = _counter("api_queries_total", "Queries, by analysis and HTTP status.", "analysis", "status")
query_seconds = _histogram("api_query_seconds", "Time from a query's request to its answer.", SECONDS, "analysis")
