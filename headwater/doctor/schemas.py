"""Whether the newest records of each topic can be read by this version."""

from collections.abc import Iterable, Mapping

from confluent_kafka import Message

from headwater import topics
from headwater.aggregates import parse_key
from headwater.codec import CodecError, codec
from headwater.doctor.check import Check, failed, ok, several
from headwater.doctor.topics import base_topics, collection_topics
from headwater.offsets import Place
from headwater.scanning import Scanner
from headwater.settings import Settings
from headwater.trace.matching import read_raw

COLLECTIONS = 300  # of more, these are looked at
NEWEST = 3  # offsets of each partition: the last of all may be a transaction's marker
STATE = {"backfill": "watermark", "ids": "seen_ids"}  # kinds of the state whose schema has another name


def look(settings: Settings, scanner: Scanner, partitions: Mapping[str, int]) -> list[Message]:
    """The newest records of the deployment's topics. Blocks; raises KafkaException."""
    names = [name for name in base_topics(settings) if name in partitions]
    names += collection_topics(settings, partitions)[:COLLECTIONS]
    return scanner.newest((Place(name, number) for name in names for number in range(partitions[name])), NEWEST)


def judge(settings: Settings, records: Iterable[Message]) -> list[Check]:
    """Which topics have records that cannot be read."""
    base = base_topics(settings)
    read: set[str] = set()
    broken: dict[str, str] = {}
    for record in records:
        topic = record.topic() or ""
        problem = unreadable(base.get(topic, topics.EVENTS), record)
        read.add(topic)
        if problem:
            broken.setdefault(topic, f"partition {record.partition()}, offset {record.offset()}: {problem}")
    found = [
        failed(
            f"schema {topic}",
            problem,
            "a newer version wrote it: update this one"
            if "fingerprint" in problem
            else "see who else writes to this topic; services pass such records over or give them up as dead letters",
        )
        for topic, problem in broken.items()
    ]
    fine = sorted(read - broken.keys())
    return [
        ok(
            "schemas",
            f"the newest records of {len(fine)} topics are read ({several(fine)})" if fine else "no record yet",
        ),
        *found,
    ]


def unreadable(kind: topics.Topic, record: Message) -> str | None:
    """What is wrong with a record; None for nothing."""
    value = record.value()
    if value is None:
        return None  # in a compacted topic, a key that is gone
    try:
        if kind in (topics.RAW, topics.BACKFILL) and value.startswith(b"{"):
            return None if read_raw(record) else "a JSON envelope that processors cannot read"
        if kind is topics.STATE:
            of = parse_key(record.key() or b"").kind
            codec(STATE.get(of, of)).decode(value)
        elif kind is topics.DEAD_LETTERS and value.startswith(codec("dead_letter_outcome").header):
            codec("dead_letter_outcome").decode(value)
        else:
            codec(kind.schema or "").decode(value)
    except (CodecError, ValueError, TypeError) as error:
        return str(error)
    return None
