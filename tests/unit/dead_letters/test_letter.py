"""Whose letter it is when a record fails: of the first record, however often that is written again; of a replay its own."""

from headwater.dead_letters import GivenUp, dead_letter
from headwater.identity import origin_id
from headwater.origin import Origin

RAW, HISTORY = "headwater.raw", "headwater.raw.backfill"
FIRST = Origin(RAW, 3, 17, 1_769_904_000_000)
OWN = ("id", b"order-7")


def test_a_record_is_given_up_where_it_stands() -> None:
    given_up = GivenUp.at(FIRST, b"k", b"v", [OWN])
    assert given_up == GivenUp(FIRST, b"k", b"v", [OWN])
    letter = dead_letter(given_up, "processor", "addon_failed", "E", "m", 1)
    assert (letter["id"], letter["attempt"]) == (origin_id(RAW, 3, 17), 1)
    assert letter["headers"] == [{"name": "id", "value": b"order-7"}]


def test_one_that_was_written_again_is_the_same_letter_in_its_next_attempt() -> None:
    headers = [OWN, *FIRST._replace(attempt=2).headers()]
    given_up = GivenUp.at(Origin(RAW, 3, 400, 5), b"k", b"v", headers)
    assert given_up == GivenUp(FIRST._replace(attempt=2), b"k", b"v", [OWN])


def test_a_replay_counts_already_and_must_never_be_taken_for_the_record_itself() -> None:
    headers = FIRST._replace(replay=True).headers()
    place = Origin(HISTORY, 3, 9, 5)
    given_up = GivenUp.at(place, b"k", b"v", headers)
    assert given_up == GivenUp(place, b"k", b"v", headers)
    assert dead_letter(given_up, "processor", "addon_failed", "E", "m", 1)["id"] == origin_id(HISTORY, 3, 9)


def test_an_origin_in_another_topic_is_nobodys() -> None:
    place = Origin(HISTORY, 3, 9, 5)
    assert GivenUp.at(place, None, None, FIRST.headers()) == GivenUp(place, None, None, [])
