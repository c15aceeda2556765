"""Which dead letters are open: against a model of services that fail, work twice, and of operators; and which are meant."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.dead_letters import Ledger, Wanted

LETTER: dict[str, Any] = {
    "id": "a",
    "stage": "processor",
    "reason": "addon_failed",
    "topic": "headwater.raw",
    "partition": 0,
    "offset": 7,
    "failed_at": 1_000,
    "project_id": "p",
    "collection": "c",
    "record_timestamp": 5,
    "attempt": 1,
    "payload": b"x",
    "key": None,
    "headers": [],
}

Step = tuple[str, str, int | None]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["fails", "again", "replayed", "discarded"]),
            st.sampled_from("ab"),
            st.sampled_from([None, 1]),
        )
    )
)
def test_what_is_open_is_what_failed_since_it_was_settled(steps: list[Step]) -> None:
    """The model: how often a record failed, and which of these times is settled. `again`: a service does its last work twice."""
    ledger = Ledger()
    failed: dict[tuple[str, int | None], int] = {}
    settled: dict[tuple[str, int | None], tuple[int, str]] = {}
    for at, (step, id_, timestamp) in enumerate(steps):
        which = id_, timestamp
        match step:
            case "fails":  # once, and then only after somebody replayed it
                if (
                    failed.get(which, 0) == settled.get(which, (0, ""))[0]
                    and settled.get(which, (0, ""))[1] != "discarded"
                ):
                    failed[which] = failed.get(which, 0) + 1
                    ledger.add_letter(LETTER | _named(which, failed[which]), at)
            case "again":
                if which in failed:
                    ledger.add_letter(LETTER | _named(which, failed[which]), at)
            case way:
                if which in failed:
                    settled[which] = failed[which], way
                    ledger.add_outcome(_named(which, failed[which]) | {"outcome": way, "settled_at": at})
    found = {(entry.letter["id"], entry.letter["record_timestamp"]): entry for entry in ledger}
    assert found.keys() == failed.keys()
    for which, entry in found.items():
        attempt, way = settled.get(which, (0, ""))
        assert entry.letter["attempt"] == failed[which]
        assert entry.is_open == (attempt < failed[which])
        assert entry.outcome is None or entry.outcome["outcome"] == way
        assert "payload" not in entry.letter


def _named(which: tuple[str, int | None], attempt: int) -> dict[str, Any]:
    return {"id": which[0], "record_timestamp": which[1], "attempt": attempt}


@pytest.mark.parametrize(
    ("wanted", "has"),
    [
        (Wanted(), True),
        (Wanted(ids=frozenset("ab")), True),
        (Wanted(ids=frozenset()), False),
        (Wanted(reason="addon_failed", stage="processor", project_id="p", collection="c", topic="headwater.raw"), True),
        (Wanted(reason="unreadable"), False),
        (Wanted(stage="sink"), False),
        (Wanted(project_id="q"), False),
        (Wanted(collection="d"), False),
        (Wanted(topic="headwater"), False),
        (Wanted(since=1_000, until=1_001), True),
        (Wanted(since=1_001), False),
        (Wanted(until=1_000), False),
    ],
)
def test_each_filter_narrows_the_choice(wanted: Wanted, has: bool) -> None:
    assert wanted.has(LETTER) is has
    assert wanted.is_everything is (wanted == Wanted())
