"""A block that was fetched and does not come is read again, after a while and once; one that is slow is not."""

from processors.overdue import LOST_SECONDS, Overdue


def test_what_does_not_come_is_lost_after_a_while_and_then_due_anew() -> None:
    overdue = Overdue()
    assert overdue.look({3: 100}, 0.0) == []
    assert overdue.look({3: 100}, LOST_SECONDS) == []
    assert overdue.look({3: 100}, LOST_SECONDS + 0.1) == [3]
    assert overdue.look({3: 100}, LOST_SECONDS + 0.2) == []
    assert overdue.look({3: 100}, 2 * LOST_SECONDS + 0.1) == []
    assert overdue.look({3: 100}, 2 * LOST_SECONDS + 0.3) == [3]


def test_a_partition_that_gets_on_is_not_lost_and_one_that_caught_up_is_forgotten() -> None:
    overdue = Overdue()
    for second in range(40):
        assert overdue.look({3: 100 + second // 9}, float(second)) == []
    assert overdue.look({}, 41.0) == []
    assert overdue.look({3: 104}, 60.0) == []


def test_partitions_are_looked_at_each_for_itself() -> None:
    overdue = Overdue()
    overdue.look({1: 5}, 0.0)
    overdue.look({1: 5, 2: 5}, 5.0)
    assert overdue.look({1: 5, 2: 5}, LOST_SECONDS + 1) == [1]
