"""Events made without reading all of their lines: what is made is what reading would have made."""

import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headwater.client.event import Event
from headwater.client.writer import EVENT_BYTES
from headwater.load.loader import as_time
from headwater.load.quick import quick
from headwater.load.rows import Lines

START = "2026-01-31T12:00:00.000+00:00"
NAMES = st.sampled_from(["at", "id", "keen", "uniqueness_token", "timestamp", "a", "é", 'x"keen', "ke\\u0065n", "\\"])
TIMES = st.sampled_from([1769860800, 1769860800250, 1769860800.25, "2026-01-31", 'x"y', "", None, True, 10**30])
VALUES = st.recursive(
    TIMES | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | NAMES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
KEENS = st.dictionaries(st.sampled_from(["timestamp", "uniqueness_token", "addons"]), TIMES | NAMES, max_size=2)
EVENTS = st.dictionaries(NAMES, VALUES, max_size=4).flatmap(
    lambda event: st.one_of(st.just(event), KEENS.map(lambda keen: event | {"keen": keen}))
)
FIELDS = st.sampled_from([None, "at"]), st.sampled_from([None, "id"])


def made(timestamp_field: str | None = None, id_field: str | None = None) -> Callable[[str, bytes], Event | None]:
    """What makes the event of one line, or nothing of one that has to be read."""
    make = quick("visits", START, as_time, timestamp_field, id_field)
    assert make is not None

    def one(key: str, text: bytes) -> Event | None:
        events: list[Event] = []
        at, room = make(Lines(1, [text], [key]), 0, events, 1_000)
        assert (at, room) == (len(events), 1_000 - sum(len(event.payload) for event in events))
        return events[0] if events else None

    return one


def expected(text: bytes, timestamp_field: str | None, id_field: str | None) -> tuple[Any, Any]:
    """The id and the event, as they are by all that is in the line."""
    event = json.loads(text)
    keen = event.get("keen") or {}
    event_id = "key" if id_field is None else event[id_field]
    timestamp = (keen.get("timestamp") or START) if timestamp_field is None else as_time(event[timestamp_field], "at")
    return event_id, event | {"keen": keen | {"uniqueness_token": event_id, "timestamp": timestamp}}


@given(EVENTS, *FIELDS, st.sampled_from([(",", ":"), (", ", ": "), (" ,", " : ")]), st.booleans())
@settings(max_examples=200)
def test_what_is_made_is_what_reading_makes(
    event: dict[str, Any], timestamp_field: str | None, id_field: str | None, signs: tuple[str, str], escaped: bool
) -> None:
    text = json.dumps(event, separators=signs, ensure_ascii=escaped).encode()
    found = made(timestamp_field, id_field)("key", text)
    if found is not None:
        assert found.collection == "visits"
        assert (found.id, json.loads(found.payload)) == expected(text, timestamp_field, id_field)


PARTS = [
    *b'"\\{}[],:0-.eE \t',
    *map(str.encode, ("\\\\u", "\\\\ud800", "01", "1e400", "NaN", "true", "tru", "null", "é", "\\\\x", "+1", "1.")),
]
PIECES = st.sampled_from([part if isinstance(part, bytes) else bytes([part]) for part in PARTS]) | st.binary(max_size=2)


@given(EVENTS, st.lists(st.tuples(st.integers(0, 200), st.integers(0, 3), PIECES), min_size=1, max_size=3))
@settings(max_examples=400)
@example({"a": 1}, [(6, 0, b"e999")])
def test_of_what_is_no_json_nothing_is_made_but_of_infinite_numbers(
    event: dict[str, Any], changes: list[tuple[int, int, bytes]]
) -> None:
    text = json.dumps(event, ensure_ascii=False).encode()
    for at, gone, piece in changes:
        text = text[: at % (len(text) + 1)] + piece + text[at % (len(text) + 1) + gone :]
    if made()("key", text) is not None:
        assert refusal(text) in (None, "number is infinity when parsed as double")


def refusal(text: bytes) -> str | None:
    """Why a text is no JSON object."""
    try:
        return None if type(orjson.loads(text)) is dict else "no object"
    except orjson.JSONDecodeError as error:
        return error.msg


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        (b'{"a":"say \\"hi\\""}', b'{"keen":{"uniqueness_token":"key","timestamp":"%b"},"a":"say \\"hi\\""}'),
        (b'{"a":1}\r', b'{"keen":{"uniqueness_token":"key","timestamp":"%b"},"a":1}'),
        (b'{"a":1,"keen":{"addons":[]}}', b'{"a":1,"keen":{"uniqueness_token":"key","timestamp":"%b","addons":[]}}'),
    ],
)
def test_a_usual_line_is_not_read(text: bytes, payload: bytes) -> None:
    found = made()("key", text)
    assert found is not None
    assert found.payload == payload % START.encode()


def test_times_and_ids_of_usual_lines_are_taken() -> None:
    text = b'{"at":1769860800250,"id":"A \\"1\\"","b":{"at":1}}'
    found = made("at", "id")("key", text)
    assert found is not None
    assert found.id == 'A "1"'
    assert json.loads(found.payload)["keen"] == {
        "uniqueness_token": 'A "1"',
        "timestamp": "2026-01-31T12:00:00.250000+00:00",
    }


@pytest.mark.parametrize(("timestamp_field", "id_field"), [("a", "a"), ("keen", None), ('a"', None), (None, "a\\")])
def test_names_that_cannot_be_looked_for_leave_all_to_be_read(
    timestamp_field: str | None, id_field: str | None
) -> None:
    assert quick("visits", START, as_time, timestamp_field, id_field) is None


def test_lines_are_taken_until_one_has_to_be_read_or_there_is_no_room() -> None:
    make = quick("visits", START, as_time, None, None)
    assert make is not None
    texts = [b'{"n":0}', b'{"n":1}', b"nonsense", b'{"n":3}', b'{"n":4,"a":"%b"}' % (b"x" * EVENT_BYTES), b'{"n":5}']
    lines = Lines(7, texts, [f"key-{n}" for n in range(6)])

    def taken(start: int, room: int) -> tuple[int, list[str], int]:
        events: list[Event] = []
        at, left = make(lines, start, events, room)
        assert left == room - sum(len(event.payload) for event in events)
        return at, [event.id for event in events], left

    assert taken(0, 10_000)[:2] == (2, ["key-0", "key-1"])
    at, ids, left = taken(0, 10)
    assert (at, ids) == (1, ["key-0"]), "an event may be more than there is room for"
    assert left < 0
    assert taken(2, 10_000) == (2, [], 10_000)
    assert taken(3, 10_000)[:2] == (4, ["key-3"]), "one that is too large is read, to be refused"
    assert taken(5, 10_000)[:2] == (6, ["key-5"])
    assert taken(6, 10_000) == (6, [], 10_000)
