"""Bytewax as its documentation shows it: a dataflow from its Kafka source to its Kafka sink, a batch of records at a time.

Run by `python -m bytewax.run "benchmarks.peers.bytewax_flow:flow('TOPIC')"`. Its connectors have their own defaults (batches
of 1,000, each flushed before the next), but for the producer's compression and linger, which are those of the processor and
of the other peers. It keeps no recovery store, so unlike the others it would begin anew after a crash.
"""

from bytewax import operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow

from benchmarks.peers.work import work
from headwater.settings import load_settings
from headwater.topics import raw_topic

PRODUCER = {"acks": "all", "enable.idempotence": "true", "compression.type": "lz4", "linger.ms": "5"}


def flow(topic: str) -> Dataflow:
    """The dataflow from the raw topic of the settings in the environment into `topic`."""
    settings = load_settings()
    event_of = work(settings)
    servers = settings.kafka.split(",")

    def events(records: list[KafkaSourceMessage]) -> list[KafkaSinkMessage]:
        return [
            KafkaSinkMessage(*event_of(record.value, record.partition, record.offset, record.timestamp[1]))
            for record in records
        ]

    made = Dataflow("processor")
    records = op.input("raw", made, KafkaSource(servers, [raw_topic(settings)]))
    op.output("out", op.flat_map_batch("events", records, events), KafkaSink(servers, topic, add_config=PRODUCER))
    return made
