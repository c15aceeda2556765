"""What a search has found of an event, in lines for people."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headwater.trace import Found, Verdict
    from headwater.trace.found import Put, Raw

SUMMARIES = {
    "visible": "It is visible in answers.",
    "deleted": "It was deleted.",
    "dropped": "It was dropped as a repetition: an event with its id was put out before.",
    "dead": "It is a dead letter: `headwater dead-letter show ID` has the record as it was.",
    "no_event": "It tells of a user and makes no event; what it says is attached to that user's events.",
    "waiting": "It is on its way.",
    "missing": "It was accepted and is gone, and nothing that was found explains it. Please report this with these lines.",
    "nowhere": "It is nowhere that was searched. Check the project and the id; an event that was answered with success is kept "
    "in the raw topic for its retention, and in ClickHouse.",
    "unknown": "Where it is cannot be said: not everything that was asked has answered.",
}


def lines(found: "Found", where: "Verdict", now: int) -> Iterator[str]:
    """All lines; `now` in milliseconds since 1970 UTC."""
    yield f"Event {found.id} of project {found.project_id}"
    for one in found.waiting:
        yield f"accepted   in {_place(one.topic, one.partition, one.offset)}, not yet taken in: {_records(one.before)} before it"
    repetitions = found.repetitions()
    for raw in sorted(found.raw, key=lambda each: each.written_at):
        yield from _raw(found, raw)
        if raw in repetitions:
            first = repetitions[raw]
            of = f"the one at offset {first.offset}" if first else _unseen(found)
            yield f"dropped    as a repetition of {of}; the project's ids.window is {found.window or 'not known'}"
    for put in found.put:
        yield from _put(found, put)
    for letter in found.letters:
        place = _place(letter["topic"], letter["partition"], letter["offset"])
        yield f"dead       {letter['id']}, given up by the {letter['stage']} at {at(letter['failed_at'])} ({letter['reason']}): {letter['message']}"
        yield f"           its record is {place}"
        outcome = found.outcomes.get(letter["id"])
        if outcome is not None:
            yield f"           {outcome['outcome']} at {at(outcome['settled_at'])}"
    for row in found.rows:
        copies = "1 copy" if row.copies == 1 else f"{row.copies} copies, which answers read as one"
        yield f"stored     in table {row.collection}: timestamp {at(row.timestamp)}, processed {at(row.processed_at)}, {copies}"
        yield "visible    in answers" if row.visible else "invisible  in answers"
    for deletion in found.deletions:
        state = "under way" if deletion.done_at is None else f"done {at(deletion.done_at)}"
        yield f"deleted    by {deletion.id} ({deletion.what} of {deletion.collection}), asked for at {at(deletion.deleted_at)}, {state}"
    for place, why in found.failed.items():
        yield f"no answer  {place}: {why}"
    if where in ("nowhere", "missing", "unknown"):
        for search in found.searched:
            since = (
                ""
                if search.since is None
                else f", the oldest of {at(search.since)} ({(now - search.since) / 3_600_000:.1f} h ago)"
            )
            yield f"searched   {search.place}: {_records(search.records)}{since}"
    yield SUMMARIES[where]


def at(milliseconds: int) -> str:
    """A time as ISO 8601."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return str(milliseconds)


def _raw(found: "Found", raw: "Raw") -> Iterator[str]:
    yield (
        f"accepted   {_place(raw.topic, raw.partition, raw.offset)}, collection {raw.collection}, received {at(raw.received_at)}, "
        f"written {at(raw.written_at)}, timestamp {at(raw.timestamp)}{'' if raw.time_given else ' (not given by its sender)'}"
    )
    if raw.copy_of:
        yield f"           written again; it stood first in {_place(*raw.copy_of)}"
    if "state" in found.failed:
        return
    yield "processed" if found.processed(raw) else f"processed  not yet: {_records(found.before(raw))} before it"


def _put(found: "Found", put: "Put") -> Iterator[str]:
    yield f"put out    {_place(put.topic, put.partition, put.offset)}, processed {at(put.processed_at)}, written {at(put.written_at)}"
    if put.copy_of:
        yield f"           written again; it stood first in {_place(*put.copy_of)}"
    if "committed" in found.failed:
        return
    yield (
        "committed  by the sink"
        if found.stored(put)
        else f"committed  not yet by the sink: {_records(found.ahead(put))} before it"
    )


def _unseen(found: "Found") -> str:
    if found.seen_at is not None:
        return f"one that was put out within a minute of {at(found.seen_at)}"
    return "one that the topics keep no more"


def _place(topic: str, partition: int, offset: int) -> str:
    return f"{topic}, partition {partition}, offset {offset}"


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count:,} records"
