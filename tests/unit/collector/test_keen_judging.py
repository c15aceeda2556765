"""What becomes of a bulk request's events, in turns."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import ApiError
from collector.judging import BATCH_EVENTS_MAX
from collector.keen_judging import Batch, Bulk, judge_batch, judge_event
from collector.records import RequestRecords
from headwater.control import Grant
from headwater.rules import RuleError
from headwater.settings import load_settings

PROJECT = "0123456789abcdef01234567"
GRANT = Grant(PROJECT, "id", "write", frozenset({"writes"}), {"writes": {"autofill": {"by": "the key"}}})


def make() -> RequestRecords:
    return RequestRecords(load_settings(), PROJECT, None, None)


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.sampled_from(["a", "$a", "a.b", 'q"'])
events = st.dictionaries(names, st.integers(-(2**70), 2**70) | st.text(max_size=3), max_size=3) | st.none()
batches = st.dictionaries(names, st.lists(events, max_size=7), max_size=3)


@given(batches, st.integers(1, 4))
def test_the_answer_has_each_event_in_its_place_whatever_the_turns(batch: dict[str, list[Any]], each: int) -> None:
    turns = list(judge_batch(Batch(batch, good_values=False), make(), GRANT, each))
    answer = orjson.loads(b"".join(turn.answer for turn in turns))
    assert [(name, len(results)) for name, results in answer.items()] == [(n, len(given)) for n, given in batch.items()]
    everything = [result for results in answer.values() for result in results]
    stored = [result for result in everything if result == {"success": True}]
    refused = [result["error"]["name"] for result in everything if not result["success"]]
    assert len(stored) == sum(len(turn.records) for turn in turns)
    assert len(refused) == sum(sum(turn.refused.values()) for turn in turns)
    assert {*refused} == {name for turn in turns for name in turn.refused}
    assert all(len(turn.records) <= each for turn in turns)


def test_what_is_refused_holds_nothing_but_the_reason() -> None:
    """Else thousands of them were garbage that only a collection, with everybody waiting, could find."""
    judged = make().records("c", [{"$a": 1}, {"keen": {"timestamp": "2026-99"}}, 1, RuleError("a", "b")])
    for error in judged:
        assert isinstance(error, RuleError)
        assert (error.__traceback__, error.__context__) == (None, None)


def test_more_events_than_a_bulk_request_may_have() -> None:
    body = b'{"a":[' + b",".join([b"0"] * BATCH_EVENTS_MAX) + b"]}"
    assert len(Bulk().read(body).collections["a"]) == BATCH_EVENTS_MAX
    for too_many in (body.replace(b"[", b"[0,"), body.replace(b"]}", b'],"b":[NaN]}')):
        with pytest.raises(ApiError) as refusal:
            Bulk().read_or_repair(too_many)
        assert (refusal.value.status, refusal.value.name) == (413, "InvalidBatchError")
        assert "100,001 events" in refusal.value.message


@pytest.mark.parametrize("body", [b'{"a":[{"b":1}', b'{"a":[{"b":1}]', b'{"a":[{"b":1},]}}', b""])
def test_a_bulk_request_that_cannot_be_cut_into_events(body: bytes) -> None:
    with pytest.raises(ApiError) as refusal:
        Bulk().read_or_repair(body)
    assert (refusal.value.status, refusal.value.name) == (400, "InvalidBatchError")


def test_the_key_fills_in_one_event_and_many() -> None:
    one = judge_event(b"{}", "c", make(), GRANT)
    [many, _] = judge_batch(Bulk().read(b'{"c":[{}]}'), make(), GRANT, 10)
    assert isinstance(one, tuple)
    assert all(value.endswith(b'{"by":"the key"}') for _, value in (one, *many.records))
