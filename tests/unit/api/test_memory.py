"""What is remembered holds for its time, within the bound, the least asked for going first."""

import time

from api.memory import Memory


def test_values_hold_until_their_time() -> None:
    memory = Memory[str, int](10)
    memory.put("a", 1, 1, time.time() + 60)
    memory.put("b", 2, 1, time.time() - 1)
    assert (memory.get("a"), memory.get("b"), memory.get("c")) == (1, None, None)


def test_the_bound_is_on_all_together_and_the_least_asked_for_goes() -> None:
    memory = Memory[str, int](10)
    for key in "abc":
        memory.put(key, 1, 3, time.time() + 60)
    assert memory.get("a") == 1
    memory.put("d", 1, 4, time.time() + 60)
    assert [memory.get(key) for key in "abcd"] == [1, None, 1, 1]
    memory.put("a", 2, 3, time.time() + 60)  # replaced, so not counted twice
    assert [memory.get(key) for key in "acd"] == [2, 1, 1]
    memory.put("e", 1, 11, time.time() + 60)
    assert [memory.get(key) for key in "acde"] == [None] * 4


def test_forgetting() -> None:
    memory = Memory[str, int](10)
    for key in "ab":
        memory.put(key, 1, 5, time.time() + 60)
    memory.forget(lambda key: key == "a")
    memory.put("c", 1, 5, time.time() + 60)
    assert [memory.get(key) for key in "abc"] == [None, 1, 1]
