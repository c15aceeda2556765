"""Segment's messages in one form: clocks, defaults of an envelope, older names, pixels."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.lenient_json import parse_lenient
from collector.segment_messages import Envelope, batch_of, clock_behind, message_of, message_of_query
from headwater.rules import INT_MAX, RuleError, parse_timestamp

RECEIVED = 1_790_000_000_000
MINUTE = 60_000


def iso(milliseconds: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)).isoformat()


def happened(sent: int | None = None, **members: Any) -> int | None:
    """The time of a track message in milliseconds."""
    envelope = {} if sent is None else {"sentAt": iso(sent)}
    timestamp = message_of({"type": "track", **members}, Envelope.of(envelope, RECEIVED)).timestamp
    return None if timestamp is None else parse_timestamp(timestamp)


def test_a_clock_is_believed_within_five_minutes() -> None:
    at = RECEIVED - 90_000_123
    for behind in (0, 1, 299_999, 300_000, -300_000):
        assert happened(RECEIVED - behind, timestamp=iso(at)) == at
    assert happened(None, timestamp=iso(at)) == at


def test_beyond_it_is_put_right_by_whole_minutes() -> None:
    at = RECEIVED - 3_600_123
    assert happened(RECEIVED - 3_600_000, timestamp=iso(at)) == at + 60 * MINUTE
    assert happened(RECEIVED + 3_600_400, timestamp=iso(at)) == at - 60 * MINUTE


@given(
    behind=st.integers(-500, 500).filter(lambda minutes: abs(minutes) > 5).map(lambda minutes: minutes * MINUTE),
    late=st.integers(0, 29_999),
    later=st.integers(0, 29_999),
    pause=st.integers(0, 10**9),
)
def test_a_retry_with_a_time_of_its_own_is_put_right_alike(behind: int, late: int, later: int, pause: int) -> None:
    first = clock_behind(iso(RECEIVED - behind - late), RECEIVED)
    again = clock_behind(iso(RECEIVED + pause - behind - later), RECEIVED + pause)
    assert first == again == behind


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"timestamp": "2026-11-22T15:17:16.903+00:00"}, "2026-11-22T15:17:16.903Z"),
        ({"originalTimestamp": "2026-11-22T15:17:16.903Z"}, "2026-11-22T15:17:16.903Z"),
        (
            {"timestamp": "2026-11-22T15:17:16.903456789Z", "originalTimestamp": "2001-01-01"},
            "2026-11-22T15:17:16.903Z",
        ),
        ({"timestamp": 1_700_000_000}, "2023-11-14T22:13:20Z"),
        ({"timestamp": 1_700_000_000_123}, "2023-11-14T22:13:20.123Z"),
        ({"timestamp": "yesterday", "originalTimestamp": "2026-11-22"}, "2026-11-22T00:00:00Z"),
        ({"timestamp": "0001-01-01T00:00:00Z"}, None),
        ({"timestamp": True}, None),
        ({"timestamp": -1e300}, None),
        ({}, None),
    ],
)
def test_times_that_clients_send(members: dict[str, Any], expected: str | None) -> None:
    assert happened(**members) == (None if expected is None else parse_timestamp(expected))


def test_an_envelope_has_what_its_messages_have_in_common() -> None:
    envelope = {"context": {"ip": "1.2.3.4", "locale": "de"}, "integrations": {"All": False}, "sentAt": iso(RECEIVED)}
    given = {"type": "track", "context": {"ip": "5.6.7.8"}, "integrations": {"Keen": True}, "messageId": 7, "userId": 5}
    message = message_of(given, Envelope.of(envelope, RECEIVED))
    assert message.context == {"ip": "5.6.7.8", "locale": "de"}
    assert message.integrations == {"All": False, "Keen": True}
    assert (message.id, message.user_id, message.user) == ("7", "5", "5")


def test_a_time_that_another_clock_reading_may_change_is_not_called_the_clients() -> None:
    track = {"type": "track", "timestamp": iso(RECEIVED)}
    assert message_of(track, Envelope.of({}, RECEIVED)).time_given
    assert not message_of(track | {"sentAt": iso(RECEIVED)}, Envelope.of({}, RECEIVED)).time_given
    assert not message_of(track, Envelope.of({"sentAt": iso(RECEIVED)}, RECEIVED)).time_given


def test_older_names_and_nulls() -> None:
    message = message_of(
        {"userId": None, "sessionId": "s", "options": {"ip": "1"}, "properties": None},
        Envelope.of({}, RECEIVED),
        "page",
    )
    assert (message.user, message.anonymous_id, message.context, message.properties) == ("s", "s", {"ip": "1"}, {})
    assert (message.type, message.id, message.timestamp) == ("page", None, None)


@pytest.mark.parametrize("given", [None, [], "track", {}, {"type": "teleport"}, {"type": ["track"]}, {"type": {}}])
def test_what_is_no_message(given: object) -> None:
    with pytest.raises(RuleError, match="InvalidMessageError"):
        message_of(given, Envelope.of({}, RECEIVED))


@pytest.mark.parametrize("document", [None, [], {}, {"batch": {}}, {"batch": None}])
def test_what_is_no_batch(document: object) -> None:
    with pytest.raises(RuleError, match="InvalidBatchError"):
        batch_of(document)


def test_a_pixels_parameters_are_nested_by_their_dots() -> None:
    query = {
        "event": "Opened",
        "properties.mail.subject": "Hi",
        "properties.n": "1",
        "userId": "u",
        "userId.x": "later",
    }
    assert message_of_query(query) == {
        "event": "Opened",
        "properties": {"mail": {"subject": "Hi"}, "n": "1"},
        "userId": {"x": "later"},
    }


def test_json_of_clients_that_are_not_strict() -> None:
    text = b'\xef\xbb\xbf{"a":NaN,"b":[-Infinity,1e999,1.5],"c":"\\ud83d|\\ud83d\\ude00","d":"\xff","e":123456789012345678901234}'
    assert parse_lenient(text) == {
        "a": None,
        "b": [None, None, 1.5],
        "c": "\N{REPLACEMENT CHARACTER}|\N{GRINNING FACE}",
        "d": "\N{REPLACEMENT CHARACTER}",
        "e": INT_MAX + 1,
    }
    for broken in (b"", b"{", b'{"a":nan}', b"[" * 100_000):
        with pytest.raises(ValueError, match=r"."):
            parse_lenient(broken)
