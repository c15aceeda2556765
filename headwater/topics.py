"""Every Kafka topic, declared once with its meaning; and the names of the topics of collections.

docs/topics.md is generated from `TOPICS` (`scripts/docs`).
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

from headwater.settings import Settings

MIB = 1024 * 1024
NAME_MAX = 249  # Kafka's limit on a topic's name
HASH_LENGTH = 32
SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")


@dataclass(frozen=True)
class Topic:
    """A topic, or a family of topics, of a deployment."""

    suffix: str  # what follows the prefix; a family's has placeholders
    schema: str | None  # the .avsc that its records follow, without version; None for JSON
    cleanup: Literal["delete", "compact"]
    meaning: str


RAW = Topic(
    "raw",
    "raw_event",
    "delete",
    "Events as accepted, before enrichment. Keyed by project and user, else by event id. Records that start with `{` are JSON envelopes of the same fields.",
)
BACKFILL = Topic(
    "raw.backfill",
    "raw_event",
    "delete",
    "History, and copies of raw records that are processed once more (their headers say so): records as those of the raw topic, with the same keys. Processors take them when the raw topic has nothing that waits, no faster than sinks store them.",
)
EVENTS = Topic(
    "events.<project>.<collection>", "event", "delete", "The enriched events of one collection, keyed by event id."
)
DEAD_LETTERS = Topic(
    "dead-letters",
    "dead_letter",
    "delete",
    "Records that could not be processed or stored: reason, origin, untouched bytes. And what became of them (dead_letter_outcome), behind them.",
)
CONTROL = Topic(
    "control",
    "control_record",
    "compact",
    "The control plane: projects, keys, saved queries, datasets and deletions in their newest version. One partition; a consumer group on it (`.refresher`) decides which API refreshes results.",
)

STATE = Topic(
    "state",
    "aggregates",
    "compact",
    "The processors' tables, one partition for each of the raw topic: watermark, backfill (a second watermark), ownership, aggregates, property catalogue and users (each with the schema of that name) and ids (seen_ids), written in transactions. Keys are in headwater/aggregates.py.",
)

IN = Topic(
    "in.<project>.<collection>",
    None,
    "delete",
    "Made and written by producers: each record is a JSON object, the properties of an event of that collection. The collector puts them into the raw topic. docs/kafka.md says more.",
)

DOCTOR = Topic(
    "doctor",
    None,
    "delete",
    "Made by `headwater doctor` to ask for Kafka's clock: empty records that have the time at which the broker took them, kept for an hour.",
)

TOPICS = (RAW, BACKFILL, EVENTS, DEAD_LETTERS, CONTROL, STATE, IN, DOCTOR)


def raw_topic(settings: Settings) -> str:
    """The raw topic's full name."""
    return f"{settings.topic_prefix}.{RAW.suffix}"


def backfill_topic(settings: Settings) -> str:
    """The full name of the raw topic for history."""
    return f"{settings.topic_prefix}.{BACKFILL.suffix}"


def dead_letters_topic(settings: Settings) -> str:
    """The dead letters' full name."""
    return f"{settings.topic_prefix}.{DEAD_LETTERS.suffix}"


def control_topic(settings: Settings) -> str:
    """The control topic's full name."""
    return f"{settings.topic_prefix}.{CONTROL.suffix}"


def state_topic(settings: Settings) -> str:
    """The full name of the topic that holds the processors' tables."""
    return f"{settings.topic_prefix}.{STATE.suffix}"


def doctor_topic(settings: Settings) -> str:
    """The full name of the topic by which `headwater doctor` asks for Kafka's clock."""
    return f"{settings.topic_prefix}.{DOCTOR.suffix}"


def collection_topic(prefix: str, project_id: str, collection: str) -> str:
    """The topic of a collection. Injective: no two (project, collection) pairs share a topic.

    Letters, digits and `_` stand for themselves; every other byte of the UTF-8 name is `-` and two hexadecimal digits.
    A name that would be too long for Kafka is cut and ends in `-.` and a hash: `.` follows `-` in no escape, so a
    shortened name never equals a whole one.
    """
    head = f"{prefix}.events.{project_id}."
    escaped = _escaped(collection)
    if len(head) + len(escaped) > NAME_MAX:
        digest = hashlib.sha256(collection.encode()).hexdigest()[:HASH_LENGTH]
        escaped = escaped[: NAME_MAX - len(head) - HASH_LENGTH - 2] + "-." + digest
    return head + escaped


def in_topic(prefix: str, project_id: str, collection: str) -> str:
    """The topic in which producers may write plain events of a collection; the name is escaped as `collection_topic` does.

    Raises ValueError for a name that is too long for a topic.
    """
    name = f"{prefix}.in.{project_id}.{_escaped(collection)}"
    if len(name) > NAME_MAX:
        raise ValueError(f"Topic {name!r} has {len(name)} characters; Kafka takes {NAME_MAX}.")
    return name


def in_pattern(prefix: str) -> str:
    """A regular expression (as librdkafka wants it, from `^`) that the topics of `in_topic` match, and no others."""
    return f"^{re.escape(prefix)}\\.in\\.[0-9a-f]{{24}}\\..+"


def of_in_topic(prefix: str, topic: str) -> tuple[str, str]:
    """The project and the collection of a topic that `in_pattern` matches. A dot may stand for itself.

    Raises ValueError where the name's escapes are none that `collection_topic` writes.
    """
    project_id, _, escaped = topic.removeprefix(f"{prefix}.in.").partition(".")
    try:
        collection = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), escaped).encode("latin-1").decode()
    except UnicodeDecodeError:
        collection = ""
    if _escaped(collection) != escaped.replace(".", "-2e"):
        raise ValueError(
            f"Topic {topic!r} names no collection: `-` begins an escape, such as -20 for a space or -2d for `-`."
        )
    return project_id, collection


def collections_pattern(prefix: str) -> str:
    """A regular expression (as librdkafka wants it, from `^`) that the topics of all collections match, and no others."""
    return f"^{re.escape(prefix)}\\.events\\.[0-9a-f]{{24}}\\..+"


_ESCAPE = re.compile("-([0-9a-f]{2})")


def _escaped(collection: str) -> str:
    return "".join(chr(b) if chr(b) in SAFE else f"-{b:02x}" for b in collection.encode())
