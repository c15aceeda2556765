"""What the places where an event was found say of where it is."""

from dataclasses import replace
from typing import Any

import pytest

from headwater.control import Deletion
from headwater.segment_users import IDENTIFY
from headwater.trace.found import Found, Place, Put, Raw, Stored, Verdict, Waiting, verdict

ID = "6f4f6d5e-2a0b-4a1f-9f3e-6865616477a7"
PROJECT = "a" * 24
DELETION = Deletion("d", PROJECT, "orders", 99)


def raw(offset: int = 5, partition: int = 0, received_at: int = 10, **changes: Any) -> Raw:
    made = Raw(
        "raw", partition, offset, received_at, ID, PROJECT, "orders", received_at, received_at, True, False, "{}"
    )
    return made._replace(**changes)


def put(offset: int = 7, received_at: int = 10) -> Put:
    return Put("orders", 1, offset, 20, "orders", received_at, received_at, 20, "{}")


def stored(copies: int = 1, visible: bool = True, received_at: int = 10) -> Stored:
    return Stored("orders", received_at, received_at, 20, copies, visible)


def letter(topic: str, partition: int, offset: int) -> dict[str, Any]:
    return {"id": "l", "topic": topic, "partition": partition, "offset": offset}


def found(**members: Any) -> Found:
    return replace(Found(PROJECT, ID), **members)


PROCESSED = {("raw", 0): 5}
COMMITTED = {("orders", 1): 8}


@pytest.mark.parametrize(
    ("where", "members"),
    [
        ("nowhere", {}),
        ("unknown", {"failed": {"table": "no answer"}}),
        ("waiting", {"waiting": [Waiting("in", 0, 3, 2)]}),
        ("waiting", {"raw": [raw()]}),
        ("waiting", {"raw": [raw()], "watermarks": {("raw", 0): 4, ("raw", 1): 9}}),
        ("unknown", {"raw": [raw()], "failed": {"state": "no answer"}}),
        ("missing", {"raw": [raw()], "watermarks": PROCESSED}),
        ("unknown", {"raw": [raw()], "watermarks": PROCESSED, "failed": {"table": "no answer"}}),
        ("no_event", {"raw": [raw(collection=IDENTIFY)], "watermarks": PROCESSED}),
        ("dead", {"raw": [raw()], "watermarks": PROCESSED, "letters": [letter("raw", 0, 5)]}),
        ("dead", {"letters": [letter("orders", 1, 7)]}),
        ("dropped", {"raw": [raw()], "watermarks": PROCESSED, "seen_at": 3}),
        ("missing", {"raw": [raw(id_given=False)], "watermarks": PROCESSED, "seen_at": 3}),
        ("deleted", {"raw": [raw()], "watermarks": PROCESSED, "deletions": [DELETION]}),
        ("waiting", {"put": [put()]}),
        ("waiting", {"put": [put()], "committed": {("orders", 1): 7, ("orders", 0): 9}}),
        ("unknown", {"put": [put()], "failed": {"committed": "no answer"}}),
        ("missing", {"put": [put()], "committed": COMMITTED}),
        ("unknown", {"put": [put()], "committed": COMMITTED, "failed": {"table": "no answer"}}),
        ("deleted", {"put": [put()], "committed": COMMITTED, "deletions": [DELETION]}),
        ("dead", {"put": [put()], "committed": COMMITTED, "letters": [letter("orders", 1, 7)]}),
        ("visible", {"rows": [stored()]}),
        ("visible", {"put": [put()], "raw": [raw()], "rows": [stored(copies=3)]}),
        ("nowhere", {"rows": [stored(visible=False)]}),
    ],
)
def test_where_an_event_is(where: Verdict, members: dict[str, Any]) -> None:
    assert verdict(found(**members)) == where


def test_records_before_an_event_are_counted() -> None:
    one = found(raw=[raw()], watermarks={("raw", 0): 2}, put=[put()], committed={("orders", 1): 4})
    assert (one.before(raw()), one.ahead(put())) == (2, 3)
    assert found().before(raw()) == 5
    assert found(watermarks=PROCESSED).before(raw()) == 0


def test_what_came_again_with_another_time_is_the_repetition_of_what_was_put_out() -> None:
    first, again = raw(5, received_at=10), raw(8, received_at=60)
    both = {"raw": [again, first], "watermarks": {("raw", 0): 9}}
    assert found(**both, put=[put(received_at=10)]).repetitions() == {again: first}
    assert found(**both, rows=[stored(received_at=10)]).repetitions() == {again: first}
    assert found(**both, put=[put(received_at=10), put(8, received_at=60)]).repetitions() == {}


def test_a_record_that_was_written_again_has_the_letters_of_the_place_where_it_stood_first() -> None:
    first, again = raw(5), raw(8, copy_of=Place("raw", 0, 5))
    dead = found(raw=[first, again], watermarks={("raw", 0): 8}, letters=[letter("raw", 0, 5)])
    assert dead.letters_of(again) == dead.letters_of(first) == [letter("raw", 0, 5)]
    assert verdict(dead) == "dead", "it failed again"
    assert verdict(replace(dead, watermarks=PROCESSED)) == "waiting"
    assert verdict(replace(dead, put=[put()])) == "waiting"


def test_of_records_with_the_same_times_those_that_were_put_out_are_the_first() -> None:
    first, again = raw(5), raw(6)
    assert found(raw=[first, again], watermarks={("raw", 0): 6}, put=[put()]).repetitions() == {again: first}


def test_what_is_not_processed_or_dead_is_no_repetition() -> None:
    first, again = raw(5, received_at=10), raw(8, received_at=60)
    assert found(raw=[first, again], watermarks=PROCESSED, put=[put()]).repetitions() == {}
    dead = found(raw=[first, again], watermarks={("raw", 0): 8}, put=[put()], letters=[letter("raw", 0, 8)])
    assert dead.repetitions() == {}
