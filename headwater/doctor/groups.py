"""Consumer groups: who is in them, how far they are, and what Kafka has deleted before it was read."""

import time
from collections.abc import Collection, Mapping
from typing import NamedTuple

from confluent_kafka import KafkaException

from headwater import topics
from headwater.doctor.check import Check, duration, failed, ok, several, warning
from headwater.doctor.topics import collection_topics
from headwater.kafka import HOUR_MS, admin_client, intake_group, sink_group
from headwater.offsets import Offsets, Place
from headwater.scanning import Scanner, time_of
from headwater.settings import Settings

ANSWER_SECONDS = 5.0
AGED = 100  # partitions, those that are the furthest behind, whose oldest record is looked at
LATE_SECONDS = 60.0
SHARE_OF_RETENTION = 0.5


class Stage(NamedTuple):
    """What reads topics on an event's way: its group, what runs it, and how long what it reads is kept, where that is ours to say."""

    name: str
    group: str
    service: str
    retention_ms: int | None
    marked: bool  # whether transactions write there, whose markers are offsets and no records


class Position(NamedTuple):
    """How far a partition is read: `next` is the first record that is not, None where nothing was."""

    begin: int
    end: int
    next: int | None


class GroupSeen(NamedTuple):
    """A consumer group: how many members it has, its state, and which partitions have an owner."""

    members: int
    state: str
    owned: frozenset[Place] = frozenset()


def stages(settings: Settings) -> tuple[Stage, ...]:
    """Collectors over the topics of producers, processors over the raw topic and over history, and sinks."""
    prefix = settings.topic_prefix
    processors, process = f"{prefix}.processors", "worker processor"
    return (
        Stage("collectors", intake_group(settings), "serve collector", None, True),
        Stage("processors", processors, process, settings.raw_retention_hours * HOUR_MS, True),
        Stage("history", processors, process, settings.backfill_retention_hours * HOUR_MS, True),
        Stage("sinks", sink_group(settings), "worker sink", settings.events_retention_hours * HOUR_MS, False),
    )


def look_at_groups(settings: Settings) -> dict[str, GroupSeen]:
    """The groups by name. Blocks; raises KafkaException."""
    admin = admin_client(settings)
    names = list({stage.group for stage in stages(settings)})
    found = {}
    for name, future in admin.describe_consumer_groups(names, request_timeout=ANSWER_SECONDS).items():
        try:
            group = future.result()
        except KafkaException as error:
            if "does not exist" not in str(error) and "not found" not in str(error).lower():
                raise
            found[name] = GroupSeen(0, "never used")
            continue
        owned = frozenset(
            Place(place.topic, place.partition)
            for member in group.members
            for place in (member.assignment.topic_partitions if member.assignment else ())
        )
        found[name] = GroupSeen(len(group.members), str(group.state.name).lower(), owned)
    return found


def look_at_positions(
    settings: Settings, offsets: Offsets, scanner: Scanner, partitions: Mapping[str, int]
) -> tuple[dict[Place, Position], ...]:
    """How far the topics of each stage are read. Blocks; raises KafkaException."""
    raw, history = topics.raw_topic(settings), topics.backfill_topic(settings)
    given = [name for name in partitions if name.startswith(f"{settings.topic_prefix}.in.")]
    stored = collection_topics(settings, partitions)
    read = [given, [raw], [history], stored]
    places = [[Place(name, number) for name in names for number in range(partitions.get(name, 0))] for names in read]
    every = [place for some in places for place in some]
    begins, ends = offsets.beginnings(every), offsets.ends(every, committed=True)
    state = range(partitions.get(topics.state_topic(settings), 0))
    known = offsets.committed(intake_group(settings), places[0])
    known |= offsets.committed(sink_group(settings), places[3])
    known |= {Place(raw, number): offset + 1 for number, offset in scanner.watermarks(state).items()}
    known |= {Place(history, number): offset + 1 for number, offset in scanner.watermarks(state, "backfill").items()}
    return tuple({place: Position(begins[place], ends[place], known.get(place)) for place in some} for some in places)


def ages(scanner: Scanner, positions: Mapping[Place, Position]) -> dict[Place, float]:
    """How old the first unread record is, in seconds, of the partitions that are the furthest behind. Blocks; raises KafkaException."""
    behind = sorted((lag(each), place) for place, each in positions.items() if lag(each))[-AGED:]
    begin = {place: max(positions[place].begin, positions[place].next or 0) for _, place in behind}
    found = scanner.first(begin)
    now = time.time()
    return {place: max(0.0, now - time_of(record) / 1000) for place, record in found.items()}


def lag(position: Position) -> int:
    """How many records are not read."""
    return max(0, position.end - max(position.begin, position.next or 0))


def judge_group(stage: Stage, group: GroupSeen, places: Collection[Place]) -> Check:
    """Whether somebody does the work: the group has members, and each of the partitions to be read an owner."""
    name = f"group {stage.group}"
    if not group.members:
        remedy = f"start one: `headwater {stage.service}`, or see its log"
        return failed(name, f"has no member ({group.state}): nothing is done", remedy)
    owned = sum(place in group.owned for place in places)
    members = "1 member" if group.members == 1 else f"{group.members} members"
    said = f"{members}, {group.state}, {owned} of {len(places)} partitions have an owner"
    if group.state != "stable":
        return warning(name, said, "it is sharing out partitions: ask again in half a minute")
    if owned < len(places):
        return warning(
            name, said, f"a new topic has its owner within seconds: ask again; else restart the {stage.name}"
        )
    return ok(name, said)


def judge_lag(stage: Stage, positions: Mapping[Place, Position], aged: Mapping[Place, float], members: int) -> Check:
    """Whether what is to be read is read in time. Of a partition whose records are markers of transactions only, nothing is to be read."""
    name = f"lag of {stage.name}"
    records = sum(lag(position) for place, position in positions.items() if place in aged)
    if not aged:
        return ok(name, f"0 records in {len(positions)} partitions")
    oldest, place = max((seconds, place) for place, seconds in aged.items())
    said = f"{'1 record' if records == 1 else f'{records:,} records'}, the oldest {duration(oldest)} old ({place.topic}, partition {place.partition})"
    if stage.retention_ms is not None and oldest > stage.retention_ms / 1000 * SHARE_OF_RETENTION:
        kept = stage.retention_ms / 1000
        remedy = f"Kafka deletes it when it is {duration(kept)} old: raise that topic's retention.ms now, and start more of `headwater {stage.service}`"
        return failed(name, said, remedy)
    if not members:
        return failed(name, said, f"nobody reads: start `headwater {stage.service}`")
    if oldest > LATE_SECONDS:
        return warning(name, said, f"start more of `headwater {stage.service}`, or see its log for what it waits for")
    return ok(name, said)


def judge_lost(stage: Stage, positions: Mapping[Place, Position]) -> Check:
    """Whether Kafka has deleted records before they were read."""
    name = f"retention before {stage.name}"
    lost = {place: each.begin - (each.next or 0) for place, each in positions.items() if each.begin > (each.next or 0)}
    if not lost:
        return ok(name, "nothing was deleted unread")
    if stage.marked and max(lost.values()) == 1:
        said = f"one offset was deleted unread in {len(lost)} partitions: a transaction's marker, or a record"
        return warning(name, said, "see that lag stays well below the topic's retention")
    where = several(
        f"{place.topic} partition {place.partition} (before offset {positions[place].begin})" for place in lost
    )
    said = f"UP TO {sum(lost.values()):,} RECORDS ARE LOST: Kafka deleted them before the {stage.name} had read them: {where}"
    remedy = (
        "what is lost was older than the topic's retention: raise retention.ms, send those events again from where they came "
        "from (with the same ids they count once)"
    )
    return failed(name, said, remedy)
