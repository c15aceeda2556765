"""The matrix itself: every fault as data."""

from tests.faults.matrix import expiry, poison
from tests.faults.matrix import injections as by
from tests.faults.matrix.scene import BURST, STEADY, Fault

STOP_SECONDS, SHORT_STOP_SECONDS = 60.0, 5.0
SERVICES = {
    "http": "the collector and the API",
    "processor-1": "one of two processors",
    "sink-1": "the sink",
    "clickhouse": "ClickHouse",
    "kafka": "Kafka",
}
KILLED = {
    "http": "Requests fail until it is up again, and clients send them again.",
    "processor-1": "Nothing of requests and queries; new events are visible some seconds later, as the other takes its partitions or it has them back.",
    "sink-1": "Nothing of requests; queries answer without the newest events until it is up again.",
    "clickhouse": "Nothing of requests and live figures; queries answer 503 until it is up again.",
    "kafka": "Requests are answered 503, or wait, until it is up again. Queries and live figures go on.",
}
STOPPED = KILLED | {
    "http": "Requests hang, and those that timed out and were sent again count twice in live figures where no window of ids is set.",
    "kafka": "Requests are answered 503 after 10 s. Queries and live figures go on.",
}


def _of_services() -> list[Fault]:
    faults = []
    for name, what in SERVICES.items():
        plain = name.removesuffix("-1")
        faults += [
            Fault(f"{plain}-killed", f"SIGKILL of {what}; started again at once", KILLED[name], by.killed(name)),
            Fault(
                f"{plain}-terminated",
                f"SIGTERM of {what}; started again when it has ended",
                KILLED[name],
                by.terminated(name),
            ),
            Fault(
                f"{plain}-stopped",
                f"SIGSTOP of {what} for {STOP_SECONDS:g} s",
                STOPPED[name],
                by.stopped(name),
                STOP_SECONDS,
                SHORT_STOP_SECONDS,
            ),
        ]
    return faults


NO_QUERIES = "Nothing of requests and live figures; queries fail, and answer with all events when it is over."
NOTHING_BUT_LATE = "Nothing of requests; new events are visible later."

FAULTS = [
    *_of_services(),
    Fault("kafka-away", "Kafka killed, and started again 15 s later", KILLED["kafka"], by.killed("kafka"), 15.0, 3.0),
    Fault(
        "clickhouse-away",
        "ClickHouse killed, and started again 15 s later",
        NO_QUERIES,
        by.killed("clickhouse"),
        15.0,
        3.0,
    ),
    Fault(
        "clickhouse-read-only",
        "every request to ClickHouse has readonly=1 for 10 s: it refuses what writes",
        NOTHING_BUT_LATE,
        by.clickhouse_is(lambda proxy: proxy.read_only()),
        10.0,
        3.0,
    ),
    Fault(
        "clickhouse-slow",
        "each of ClickHouse's answers comes 3 s late, for 15 s",
        "Queries take 3 s longer; new events are visible later.",
        by.clickhouse_is(lambda proxy: proxy.slow(3.0)),
        15.0,
        4.0,
    ),
    Fault(
        "clickhouse-500",
        "ClickHouse answers 500 to everything for 10 s",
        NO_QUERIES,
        by.clickhouse_is(lambda proxy: proxy.answer_500()),
        10.0,
        3.0,
    ),
    Fault(
        "clickhouse-cut-in-insert",
        "connections to ClickHouse are reset behind 10,000 bytes, in the middle of inserts, for 10 s",
        NOTHING_BUT_LATE,
        by.clickhouse_is(lambda proxy: proxy.cut_inside(10_000)),
        10.0,
        3.0,
        short=True,
    ),
    Fault(
        "sink-killed-in-insert",
        "the sink is killed while ClickHouse does not answer its inserts",
        NOTHING_BUT_LATE,
        by.sink_killed_in_insert(1.0),
        short=True,
    ),
    Fault(
        "rebalances",
        "processors and sinks come and go: 1, 4, 2, 5, 1 of each, 4 s apart",
        NOTHING_BUT_LATE,
        by.rebalances,
        4.0,
        4.0,
    ),
    Fault(
        "http-cut-off",
        "the collector and the API cannot reach Kafka for 15 s",
        "Requests are answered 503 after 10 s. Queries go on; live figures stand still.",
        by.cut_off("http"),
        15.0,
        3.0,
    ),
    Fault(
        "processor-cut-off",
        "a processor cannot reach Kafka until the other has taken its partitions; then it is back",
        NOTHING_BUT_LATE,
        by.processor_cut_off_past_its_session,
        5.0,
    ),
    Fault(
        "sink-cut-off",
        "a sink cannot reach Kafka until another stores for it; then it is back",
        NOTHING_BUT_LATE,
        by.sink_cut_off_past_its_session,
        5.0,
        moments=(STEADY, BURST),
    ),
    Fault(
        "processor-stopped-behind-commit",
        "a processor is stopped when its transaction is committed and its table not written, past its session; the state topic is compacted; it wakes",
        NOTHING_BUT_LATE,
        by.stopped_behind_its_commit,
        short=True,
    ),
    Fault(
        "control-topic-compacted",
        "a project changes 60 times, the control topic is compacted, all services are killed and read it anew",
        "As when the collector is killed.",
        by.control_topic_compacted,
    ),
    Fault(
        "processor-state-deleted",
        "a processor is killed, its RocksDB folder deleted",
        NOTHING_BUT_LATE,
        by.processor_state(by.deleted),
    ),
    Fault(
        "processor-state-garbled",
        "a processor is killed, a third of every file of its RocksDB is overwritten with zeros",
        NOTHING_BUT_LATE,
        by.processor_state(by.garbled),
        short=True,
    ),
    Fault(
        "raw-records-expire",
        "no processor is there for 3 s, and Kafka deletes the raw records that none has read",
        "Those events are lost, and nothing else. An error in the processors' logs and headwater_offsets_lost_total say how many.",
        expiry.raw_records_expire,
        after=expiry.loss_is_told,
        written=False,  # transactions' markers among what is deleted would be counted as lost, too
    ),
    Fault(
        "events-expire",
        "no sink is there for 3 s, and Kafka deletes the events that none has stored",
        "Those events are lost to queries, and nothing else. An error in the sink's log and headwater_offsets_lost_total say how many.",
        expiry.events_expire,
        after=expiry.loss_is_told,
    ),
    Fault(
        "poison",
        "records that cannot be read, of each kind, in every topic; the services that read them are killed and begin anew",
        "As when the collector is killed. Each such record of events is a dead letter.",
        poison.poison,
        after=poison.letters_can_be_listed,
        moments=(STEADY, BURST),
    ),
    Fault(
        "clock-ahead",
        "the clock of every service jumps an hour ahead, and back 8 s later",
        "Nothing of requests and queries.",
        by.clock_jumps(3_600),
        8.0,
        3.0,
        place="moved clock",
    ),
    Fault(
        "clock-back",
        "the clock of every service jumps an hour back, and ahead again 8 s later",
        "Nothing of requests and queries.",
        by.clock_jumps(-3_600),
        8.0,
        3.0,
        place="moved clock",
    ),
    Fault(
        "kafka-disk-full",
        "the disk of Kafka is filled to the last byte, and freed 10 s later; Kafka, which has ended, is started again",
        KILLED["kafka"],
        by.disk_full,
        10.0,
        5.0,
        place="small disk",
    ),
]

CONTROLS = [
    Fault(
        "control-sink-commits-first",
        "as sink-killed-in-insert, with a sink that commits before it inserts",
        "Must be a MISMATCH.",
        by.sink_killed_in_insert(4.0),  # it surely commits, on a busy machine too
        short=True,
        broken={"sink": "tests.faults.matrix.broken_sink"},
    ),
    Fault(
        "control-watermark-ignored",
        "as processor-killed, with processors that ignore the watermark",
        "Must be a MISMATCH.",
        by.killed("processor-1"),
        short=True,
        broken={"processor": "tests.faults.matrix.broken_processor"},
    ),
]
