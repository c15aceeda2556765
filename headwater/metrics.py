"""Every metric of every service: declared once, typed, with its meaning. docs/metrics.md is generated from `METRICS`.

Names end in their unit. Services import the metric that they count; a metric exists only if it is in this file.
"""

import platform

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

import headwater

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
AGES = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0, 43_200.0, 86_400.0)  # seconds
COUNTS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0, 50_000.0)

# Every service
kafka_errors = _counter(
    "kafka_errors_total",
    "Errors that this process's Kafka clients report, by librdkafka's name: connections lost or refused, brokers away.",
    "error",
)
kafka_retries = _counter(
    "kafka_producer_retries_total",
    "Requests that were sent to Kafka again, by producer: collector, processor. Counted every ten seconds.",
    "producer",
)
rebalances = _counter(
    "rebalances_total",
    "Times that a consumer group said which partitions this process has, by member: processor, sink, intake.",
    "member",
)
offsets_lost = _counter(
    "offsets_lost_total",
    "Offsets that Kafka no longer had when they were to be read, by stage: retention was shorter than the lag, and events are lost.",
    "stage",
)

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
intake_failures = _counter(
    "collector_intake_failures_total", "Times that taking in from the topics of producers failed and was begun anew."
)
requests_limited = _counter(
    "collector_limited_total",
    "Requests answered 429 because their project had sent more events or bytes than it may.",
    "unit",
)
acknowledge_seconds = _histogram(
    "collector_acknowledge_seconds", "Time from producing a request's events to the last acknowledgement.", SECONDS
)
request_records = _histogram(
    "collector_request_records", "Events that one request brought into Kafka together.", COUNTS
)
collector_phase_seconds = _counter(
    "collector_phase_seconds_total",
    "Time of requests by phase: receive (waiting for their bodies), make (events into records: the only one that takes a processor), acknowledge (waiting for Kafka).",
    "phase",
)

# Processors
records_processed = _counter("processor_records_total", "Raw records processed, dead letters among them.")
repetitions = _counter(
    "processor_repetitions_total", "Events dropped because one with the same id was put out before: sent again."
)
window_ids = _gauge("processor_window_ids", "Ids kept to drop what is sent again, by partition.", "partition")
dead_letters = _counter("dead_letters_total", "Records given up, by stage and reason.", "stage", "reason")
dead_letter_limit_reached = _gauge(
    "dead_letter_limit_reached",
    "1 in a service that stops because nearly everything would become a dead letter by a fault of its own, by stage.",
    "stage",
)
rewinds = _counter("processor_rewinds_total", "Times that a partition was read again from its last settled offset.")
settles = _counter("processor_settles_total", "Settles, by outcome: done, failed, fenced.", "outcome")
settle_seconds = _histogram("processor_settle_seconds", "Time that a settle took.", SECONDS)
partitions_owned = _gauge("processor_partitions", "Partitions of the raw topic that this processor owns.")
processor_lag_records = _gauge("processor_lag_records", "Raw records not yet settled, by partition.", "partition")
processor_lag_seconds = _gauge(
    "processor_lag_seconds",
    "How long ago the next raw record to process was written, by partition; 0 where there is none.",
    "partition",
)
block_records = _histogram("processor_block_records", "Records of one block that was processed.", COUNTS)
processor_phase_seconds = _counter(
    "processor_phase_seconds_total",
    "Time by phase. One after another: prepare (read, enrich, encode), survey (properties for the catalogue), produce, count, settle (state to write), wait (the rest). Beside them: flush (until Kafka has the output), commit (the state's transactions).",
    "phase",
)
recovering_partitions = _gauge(
    "processor_recovering_partitions", "Partitions that are assigned to this processor and do not flow yet."
)
recovery_seconds = _histogram(
    "processor_recovery_seconds",
    "Time from an assignment to when its partitions flow, with their state recovered.",
    AGES,
)
recovered_records = _counter(
    "processor_recovered_records_total", "Records of the state topic that were read to recover partitions' state."
)
processor_backfill_lag_records = _gauge(
    "processor_backfill_lag_records", "Records of the backfill topic not yet read, by partition.", "partition"
)
backfill_paused = _gauge(
    "processor_backfill_paused",
    "1 while history waits, by what for: live events that are not yet processed, or sinks that have not yet stored what was put out; else 0.",
    "for",
)

backfill_events = _counter("processor_backfill_events_total", "Events of history that were put out.")

# Sink
rows_inserted = _counter("sink_rows_total", "Rows inserted into ClickHouse.")
covered_records = _counter(
    "sink_covered_records_total",
    "Records that came in before a deletion of their collection: they are stored without what it deletes.",
)
deletions_done = _counter("sink_deletions_total", "Deletions that were done.")
deletion_wait_seconds = _gauge(
    "sink_deletion_wait_seconds",
    "For how long the sink that does deletions has known of the one that waits longest to be done; 0 where none waits.",
)
insert_seconds = _histogram("sink_insert_seconds", "Time of one insert.", SECONDS)
insert_failures = _counter(
    "sink_insert_failures_total", "Inserts that failed and are tried again, by ClickHouse's error code.", "code"
)
insert_records = _histogram("sink_insert_records", "Rows of one insert.", COUNTS)
insert_bytes = _counter("sink_insert_bytes_total", "Bytes that were sent to ClickHouse in inserts.")
freshness_seconds = _histogram(
    "sink_freshness_seconds",
    "From when the collector received an event to when its row can be queried: of the first and the last event of each insert.",
    AGES,
)
sink_phase_seconds = _counter(
    "sink_phase_seconds_total",
    "Time by phase. In the reading thread: read (waiting for records too), commit. In those that insert: check, pack (the container), insert (ClickHouse).",
    "phase",
)
commit_failures = _counter("sink_commit_failures_total", "Commits of offsets that failed and are tried again.")
sink_paused = _gauge("sink_paused", "1 while the sink waits for ClickHouse, else 0.")
sink_buffered_records = _gauge("sink_buffered_records", "Records that are read but not yet inserted.")
sink_lag_seconds = _gauge(
    "sink_lag_seconds",
    "How long ago the oldest record that is read but not yet inserted was written; 0 where there is none.",
)
sink_lag_records = _gauge(
    "sink_lag_records",
    "Records of this sink's partitions that are not yet stored and committed. Counted every five seconds.",
)

# API
queries_answered = _counter("api_queries_total", "Queries, by analysis and HTTP status.", "analysis", "status")
query_seconds = _histogram("api_query_seconds", "Time from a query's request to its answer.", SECONDS, "analysis")

# Which version this is
build_info = _gauge(
    "build_info", "Always 1: the versions of Headwater and of Python that run here.", "version", "python"
)
build_info.labels(headwater.__version__, platform.python_version()).set(1)
