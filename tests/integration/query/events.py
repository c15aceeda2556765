"""Generated events of the kind that break query engines: mixed types under one name, gaps, nesting, odd numbers."""

import random
from typing import Any

from tests.querying import event

START = 1_709_247_600_000  # 2024-03-01T00:00 in Berlin, whose clocks are set forward on the 31st
SPAN = 45 * 86_400_000

MIXED: list[Any] = [
    1, 1.0, 2, 2.5, -3, 0, 9_007_199_254_740_993, "a", "b", "1", "true", "", "2024-01-01", "ä€😀", True, False,
    [1, 2], [2.5], ["a", "b"], ["a", 1, True], [], [[1], [2]], {"inner": 1}, {}, None,
]  # fmt: skip
NUMBERS: list[Any] = [0, 1, 5, -7, 12, 2.5, -0.25, 1e6, 1_000_003, 3.0]


def generated(count: int, seed: int) -> list[dict[str, Any]]:
    """Events with timestamps of a month and a half."""
    pick = random.Random(seed)
    return [event(_properties(pick), START + pick.randrange(SPAN)) for _ in range(count)]


def _properties(pick: random.Random) -> dict[str, Any]:
    candidates: dict[str, Any] = {
        "mixed": pick.choice(MIXED),
        "number": pick.choice(NUMBERS),
        "integer": pick.randrange(-50, 50),
        "big": pick.choice([2**62, 2**62 + 1, -(2**61), 7]),
        "float": pick.choice([0.5, 1.25, -2.0, 1e-3]),
        "text": pick.choice(["red", "green", "blue", "2024-05-05T00:00:00Z", "line\nbreak", "it's"]),
        "flag": pick.random() < 0.5,
        "tags": pick.sample(["x", "y", "z", "long tag"], pick.randrange(4)),
        "user": {"name": pick.choice(["ann", "bob"]), "level": pick.choice([1, 2, 3.5])},
        "odd": {"`tick": {"'; DROP TABLE t --": pick.choice(["p", "q"])}},
    }
    return {name: value for name, value in candidates.items() if pick.random() < 0.8}
