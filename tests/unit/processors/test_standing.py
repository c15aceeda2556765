"""Whether a processor does its work, told from what happens to it."""

import pytest

from processors.standing import DEAD_LOOP_SECONDS, DEAD_SETTLE_SECONDS, LOOP_SECONDS, STALLED_SECONDS, Standing


def looking(standing: Standing, first: float, last: float, waiting: dict[int, int], at: dict[int, int]) -> None:
    """A look each second."""
    now = first
    while now <= last:
        standing.look(waiting, at, now)
        now += 1.0


def test_one_that_works_has_no_problems() -> None:
    standing = Standing(0.0)
    for now in range(1, 100):
        standing.look({0: 5, 1: 0}, {0: now * 10, 1: 7}, float(now))
        standing.settle_begins(now)
        standing.settle_ends(now, failed=False)
    assert standing.problems(100.0) == standing.dead(100.0) == []


def test_settles_that_fail_are_a_problem_until_one_does_not() -> None:
    standing = Standing(0.0)
    standing.settle_ends(1.0, failed=True)
    standing.settle_ends(3.0, failed=True)
    standing.settle_ends(4.0, failed=None)  # nothing to settle shows nothing
    assert standing.problems(5.0) == ["settles fail, for 4 s: what is processed is not durable"]
    standing.settle_ends(6.0, failed=False)
    assert standing.problems(6.0) == []


def test_a_block_that_comes_back_is_a_problem_until_it_is_processed_or_the_partition_goes() -> None:
    standing = Standing(0.0)
    standing.stuck(3, "its output is not possible", 1.0)
    standing.stuck(3, "its output is not possible", 2.0)
    standing.stuck(1, "topics of collections cannot be made", 2.0)
    assert standing.problems(4.0) == [
        "partition 1 is stuck, for 2 s: topics of collections cannot be made",
        "partition 3 is stuck, for 3 s: its output is not possible",
    ]
    standing.processed(3)
    standing.gone([1])
    assert standing.problems(4.0) == []


@pytest.mark.parametrize(("waiting", "stalled"), [({0: 1, 2: 9}, True), ({0: 0, 2: 0}, False)])
def test_records_that_wait_while_none_is_processed_are_a_problem(waiting: dict[int, int], stalled: bool) -> None:
    standing = Standing(0.0)
    looking(standing, 0.0, STALLED_SECONDS + 1, waiting, {0: 5, 2: 5})
    expected = [f"records wait and none was processed for {STALLED_SECONDS:g} s: partitions 0, 2"] if stalled else []
    assert standing.problems(STALLED_SECONDS + 1) == expected
    standing.look(waiting, {0: 6, 2: 6}, STALLED_SECONDS + 2)
    assert standing.problems(STALLED_SECONDS + 2) == []


def test_who_lets_go_has_nothing_to_answer_for() -> None:
    standing = Standing(0.0)
    standing.stuck(0, "its output is not possible", 1.0)
    standing.settle_ends(1.0, failed=True)
    looking(standing, 1.0, STALLED_SECONDS + 2, {0: 1}, {0: 5})
    standing.let_go()
    assert standing.problems(STALLED_SECONDS + 2) == []


def test_a_loop_that_stands_still_is_not_ready_and_in_the_end_dead() -> None:
    standing = Standing(0.0)
    assert len(standing.problems(LOOP_SECONDS + 1)) == 1
    assert standing.dead(LOOP_SECONDS + 1) == []
    assert len(standing.dead(DEAD_LOOP_SECONDS + 1)) == 1


def test_a_settle_that_never_ends_is_dead() -> None:
    standing = Standing(0.0)
    standing.settle_begins(1.0)
    standing.look({}, {}, DEAD_SETTLE_SECONDS + 2)
    assert standing.dead(DEAD_SETTLE_SECONDS + 2) == [f"a settle has not ended in {DEAD_SETTLE_SECONDS + 1:.0f} s"]
