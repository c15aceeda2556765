"""The order of group keys and results: in Python for what is shaped, in SQL for what is limited. Both are the same order.

Keys: null, then booleans, numbers, strings (by code point), lists (by their JSON text). Results: numbers; null is last in either
direction.
"""

from typing import Any

import orjson

from headwater.query.properties import KeyPart


def key_rank(value: Any) -> tuple[Any, ...]:
    """What to sort a group key by."""
    if value is None:
        return (0,)
    if isinstance(value, bool):
        return (1, value)
    if isinstance(value, int | float):
        return (2, value)
    if isinstance(value, str):
        return (3, value)
    return (4, orjson.dumps(value))


def result_rank(value: Any, descending: bool) -> tuple[Any, ...]:
    """What to sort a result by, ascending, so that it comes out in the wanted direction and null last."""
    if value is None:
        return (1,)
    if isinstance(value, str):  # the minimum or maximum of a time
        return (0, _Reversed(value) if descending else value)
    return (0, -value if descending else value)


class _Reversed:
    def __init__(self, value: str) -> None:
        self.value = value

    def __lt__(self, other: "_Reversed") -> bool:
        return other.value < self.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reversed) and other.value == self.value

    def __hash__(self) -> int:
        return hash(self.value)


def key_order_sql(parts: list[tuple[KeyPart, str]], descending: bool = False) -> list[str]:
    """The ORDER BY expressions of one group key; `parts` come with the names of their columns."""
    direction = "DESC NULLS LAST" if descending else "ASC NULLS FIRST"
    names = {part.kind: name for part, name in parts}
    if not names:
        return []
    orders = []
    if len(names) > 1:
        ranks = {"boolean": 1, "integer": 2, "real": 2, "text": 3, "array": 4}
        branches = ", ".join(f"isNotNull({name}), {ranks[kind]}" for kind, name in names.items())
        orders.append(f"multiIf({branches}, 0) {direction}")
    integer, real = names.get("integer"), names.get("real")
    if integer and real:
        orders.append(f"coalesce(toFloat64({integer}), {real}) {direction}")
    return orders + [f"{name} {direction}" for name in names.values()]
