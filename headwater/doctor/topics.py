"""Topics as they are in Kafka, held against what the settings want of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from confluent_kafka.admin._config import ConfigResource  # the package offers both without saying so to type checkers
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from headwater import topics
from headwater.doctor.check import Check, failed, ok, several, warning
from headwater.kafka import admin_client, new_topic
from headwater.settings import Settings

ANSWER_SECONDS = 5.0
ASKED_AT_ONCE = 200
NO_LIMIT = -1
LARGER_IS_FINE = ("retention.ms", "max.message.bytes")
FIXED = (topics.RAW, topics.BACKFILL, topics.STATE)  # the processors' tables are partitioned like the raw topic
RAISE = "`kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {name}={value}`, or set HEADWATER_ to what is there"


class Seen(NamedTuple):
    """A topic as Kafka has it: of each partition how many replicas it has, how many of them are in sync, and whether one leads."""

    config: Mapping[str, str]
    replicas: Sequence[int]
    in_sync: Sequence[int]
    led: Sequence[bool]


def base_topics(settings: Settings) -> dict[str, topics.Topic]:
    """The topics that every deployment has."""
    return {
        topics.raw_topic(settings): topics.RAW,
        topics.backfill_topic(settings): topics.BACKFILL,
        topics.dead_letters_topic(settings): topics.DEAD_LETTERS,
        topics.control_topic(settings): topics.CONTROL,
        topics.state_topic(settings): topics.STATE,
    }


def collection_topics(settings: Settings, names: Iterable[str]) -> list[str]:
    """Those that are of collections."""
    start = f"{settings.topic_prefix}.events."
    return sorted(name for name in names if name.startswith(start))


def look(settings: Settings) -> dict[str, Seen]:
    """The deployment's topics. Blocks; raises KafkaException."""
    admin = admin_client(settings)
    known = admin.list_topics(timeout=ANSWER_SECONDS).topics
    names = [name for name in base_topics(settings) if name in known] + collection_topics(settings, known)
    configs: dict[str, dict[str, str]] = {}
    for first in range(0, len(names), ASKED_AT_ONCE):
        asked = [ConfigResource(ResourceType.TOPIC, name) for name in names[first : first + ASKED_AT_ONCE]]
        for resource, future in admin.describe_configs(asked, request_timeout=ANSWER_SECONDS).items():
            configs[resource.name] = {entry.name: entry.value for entry in future.result().values()}
    seen = {}
    for name in names:
        partitions = known[name].partitions.values()
        seen[name] = Seen(
            configs[name],
            [len(each.replicas) for each in partitions],
            [len(each.isrs) for each in partitions],
            [each.leader >= 0 for each in partitions],
        )
    return seen


def judge(settings: Settings, seen: Mapping[str, Seen], brokers: int) -> list[Check]:
    """What is wrong with each topic; one line for all where nothing is."""
    base = base_topics(settings)
    remedy = "start any service, or `headwater project list`: both create it"
    found = [failed(f"topic {name}", "does not exist", remedy) for name in base if name not in seen]
    for name, topic in seen.items():
        kind = base.get(name, topics.EVENTS)
        found += _judge_one(settings, name, new_topic(settings, name, kind), kind, topic, brokers)
    wrong = {check.name for check in found}
    fine = [name for name in seen if f"topic {name}" not in wrong]
    collections = len(collection_topics(settings, fine))
    said = f"{len(fine)} as the settings want them, {collections} of collections among them"
    return [ok("topics", said), *found]


def _judge_one(
    settings: Settings, name: str, wanted: NewTopic, kind: topics.Topic, seen: Seen, brokers: int
) -> list[Check]:
    topic = f"topic {name}"
    found: list[Check] = []
    partitions = len(seen.replicas)
    if partitions != wanted.num_partitions:
        said = f"has {partitions} partitions; the settings want {wanted.num_partitions}"
        if kind in FIXED or kind is topics.CONTROL:
            setting = (
                "1 is right"
                if kind is topics.CONTROL
                else f"set HEADWATER_RAW_PARTITIONS={partitions} where all three topics have so many"
            )
            found.append(failed(topic, said, f"a topic's partitions cannot be taken back: {setting}"))
        elif partitions < wanted.num_partitions:
            found.append(
                warning(topic, said, "harmless; `kafka-topics.sh --alter --partitions` adds some for more sinks")
            )
    for setting, value in (wanted.config or {}).items():
        has = seen.config.get(setting, "")
        if not _is_as_wanted(setting, has, str(value)):
            remedy = RAISE.format(topic=name, name=setting, value=value)
            found.append(failed(topic, f"{setting} is {has or 'not set'}; the settings want {value}", remedy))
    found += _judge_replicas(settings, topic, seen, brokers)
    return found


def _is_as_wanted(name: str, has: str, wanted: str) -> bool:
    if name in LARGER_IS_FINE and has.lstrip("-").isdigit():
        return int(has) == NO_LIMIT or int(has) >= int(wanted)
    if name == "min.insync.replicas" and has.isdigit():
        return int(has) >= int(wanted)
    return has == wanted


def _judge_replicas(settings: Settings, topic: str, seen: Seen, brokers: int) -> list[Check]:
    found: list[Check] = []
    replicas, in_sync = min(seen.replicas, default=0), min(seen.in_sync, default=0)
    least = int(seen.config.get("min.insync.replicas", "1") or 1)
    unled = [str(number) for number, led in enumerate(seen.led) if not led]
    if unled:
        found.append(failed(topic, f"no broker leads partition {several(unled)}", "bring the brokers that had it back"))
    elif in_sync < least:
        said = f"{in_sync} of {replicas} replicas are in sync, and min.insync.replicas is {least}: it takes no records"
        found.append(failed(topic, said, "bring the missing brokers back, or lower min.insync.replicas"))
    elif in_sync < replicas:
        found.append(
            warning(topic, f"{in_sync} of {replicas} replicas are in sync", "see which broker is down or slow")
        )
    if settings.replication_factor is not None and replicas < settings.replication_factor:
        said = f"has {replicas} replicas; HEADWATER_REPLICATION_FACTOR wants {settings.replication_factor}"
        found.append(failed(topic, said, "`kafka-reassign-partitions.sh` gives it more"))
    elif replicas == 1 and brokers > 1:
        said = f"has one replica in a cluster of {brokers} brokers: a lost disk loses events that were answered with success"
        found.append(
            failed(
                topic,
                said,
                "`kafka-reassign-partitions.sh` gives it more; HEADWATER_REPLICATION_FACTOR=3 for new topics",
            )
        )
    elif least >= replicas > 1:
        said = (
            f"min.insync.replicas is {least} of {replicas} replicas: it takes no records while one broker is restarted"
        )
        found.append(warning(topic, said, "lower it by one, or add a replica"))
    return found
