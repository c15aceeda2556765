"""Messages of Segment's tracking API, as its many clients write them, in one form.

Pure. What the clients send decides; docs/segment.md has the choices where Segment's own documents are silent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headwater.rules import TIMESTAMP_MAX, TIMESTAMP_MIN, RuleError, parse_timestamp, timestamp_text

TYPES = ("identify", "track", "page", "screen", "group", "alias")
SKEW_MILLISECONDS = 300_000  # a clock may be off by so much before it is corrected
MINUTE = 60_000
SECONDS_MAX = 31_557_600_000  # numbers up to here are seconds since 1970, larger ones milliseconds


@dataclass(frozen=True, slots=True)
class Message:
    """One message; of its members those that do not depend on the type are read."""

    type: str
    id: str | None  # messageId: the same on every retry
    timestamp: str | None  # ISO 8601, the client's clock put right; None for the time of receipt
    time_given: bool  # whether that is the same on every retry: where nothing is known of the client's clock, it is not put right
    user_id: str | None
    anonymous_id: str | None
    properties: Mapping[str, Any]
    context: Mapping[str, Any]
    integrations: Mapping[str, Any]
    body: Mapping[str, Any]  # the message as it came

    @property
    def user(self) -> str | None:
        """Who it is about: the user where one is known, else the device or browser."""
        return self.user_id or self.anonymous_id

    def text(self, name: str) -> str | None:
        """A member that is text, numbers being taken as text; None where it is blank or something else."""
        return _text(self.body.get(name))


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the messages of a request have in common."""

    context: Mapping[str, Any]
    integrations: Mapping[str, Any]
    received: int  # milliseconds since 1970 UTC
    behind: int | None  # the client's clock, as `clock_behind` says; None where each message has its own sentAt

    @classmethod
    def of(cls, document: Mapping[str, Any], received: int) -> "Envelope":
        """The envelope of a batch; of a single message it is empty."""
        sent_at = document.get("sentAt")
        behind = clock_behind(sent_at, received) if sent_at else None
        return cls(object_of(document.get("context")), object_of(document.get("integrations")), received, behind)


def batch_of(document: object) -> list[Any]:
    """The messages of a batch's envelope. Raises RuleError where it has another form."""
    batch = document.get("batch") if isinstance(document, dict) else None
    if not isinstance(batch, list):
        raise RuleError(
            "InvalidBatchError", 'The body must be a JSON object with a list: {"batch": [message, ...], ...}.'
        )
    return batch


def message_of(given: object, envelope: Envelope, implied: str | None = None) -> Message:
    """A message of an envelope.

    Raises RuleError where it is none: no object, or of no known type (`implied` by its path, else its own).
    """
    if not isinstance(given, dict):
        raise RuleError("InvalidMessageError", "A message is a JSON object.")
    kind = implied or given.get("type")
    if kind not in TYPES:
        raise RuleError("InvalidMessageError", f"Member 'type' is {str(kind)[:80]!r}: it must be {', '.join(TYPES)}.")
    behind = envelope.behind
    tells_clock = behind is not None
    if behind is None:
        behind = clock_behind(given.get("sentAt"), envelope.received)
        tells_clock = bool(given.get("sentAt"))
    return Message(
        type=kind,
        id=_text(given.get("messageId")),
        timestamp=_corrected(given.get("timestamp"), behind) or _corrected(given.get("originalTimestamp"), behind),
        time_given=not tells_clock,
        user_id=_text(given.get("userId")),
        anonymous_id=_text(given.get("anonymousId")) or _text(given.get("sessionId")),
        properties=object_of(given.get("properties")),
        context=_merged(envelope.context, given.get("context") or given.get("options")),
        integrations=_merged(envelope.integrations, given.get("integrations")),
        body=given,
    )


def clock_behind(sent_at: object, received: int) -> int:
    """By how many milliseconds a client's clock is behind, going by when it says that it sent: whole minutes, and nothing
    within five.

    A retry says another `sentAt` and comes at another time, but their difference is the clock's; so rounded it is nearly
    always the same. It is not about the five minutes, half way between two whole ones, and where a client stores what it sends
    with a `sentAt` (as Segment's for phones): no such time can tell a repetition, the id does.
    """
    sent = _milliseconds(sent_at)
    if sent is None or abs(received - sent) <= SKEW_MILLISECONDS:
        return 0
    return round((received - sent) / MINUTE) * MINUTE


def message_of_query(query: Mapping[str, str]) -> dict[str, Any]:
    """The message of a pixel's query parameters, whose dots stand for nesting."""
    message: dict[str, Any] = {}
    for path, value in query.items():
        *parents, name = path.split(".")
        holder = message
        for parent in parents:
            inner = holder.get(parent)
            if not isinstance(inner, dict):
                inner = holder[parent] = {}
            holder = inner
        holder[name] = value
    return message


def object_of(value: object) -> dict[str, Any]:
    """The object that this is, else an empty one."""
    return value if isinstance(value, dict) else {}


def _merged(common: Mapping[str, Any], own: object) -> dict[str, Any]:
    return {**common, **object_of(own)} if common else object_of(own)


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value or None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return None


def _corrected(time: object, behind: int) -> str | None:
    """A client's time as ISO 8601 text, its clock put right; None where it is no time that can be kept."""
    milliseconds = _milliseconds(time)
    if milliseconds is None:
        return None
    if not behind and isinstance(time, str):
        return time
    milliseconds += behind
    if not TIMESTAMP_MIN <= milliseconds <= TIMESTAMP_MAX:
        return None
    return timestamp_text(milliseconds)


def _milliseconds(time: object) -> int | None:
    if isinstance(time, int | float) and not isinstance(time, bool):
        milliseconds = int(time if abs(time) > SECONDS_MAX else time * 1_000)
        return milliseconds if TIMESTAMP_MIN <= milliseconds <= TIMESTAMP_MAX else None
    try:
        return parse_timestamp(time)
    except RuleError:
        return None
