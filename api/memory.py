"""What was read once and holds for a while, in bounded memory."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memory(Generic[K, V]):
    """Values with a size and a time until which they hold; beyond `most` in all, those not asked for longest go. For one thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._values: OrderedDict[K, tuple[V, int, float]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value of a key, while it holds."""
        found = self._values.get(key)
        if found is None or time.time() >= found[2]:
            return None
        self._values.move_to_end(key)
        return found[0]

    def put(self, key: K, value: V, size: int, until: float) -> None:
        """Keep a value until a time (seconds since 1970)."""
        self._drop(key)
        self._values[key] = value, size, until
        self._size += size
        while self._size > self._most:
            self._drop(next(iter(self._values)))

    def forget(self, which: Callable[[K], bool]) -> None:
        """Drop the values of these keys."""
        for key in [key for key in self._values if which(key)]:
            self._drop(key)

    def _drop(self, key: K) -> None:
        found = self._values.pop(key, None)
        if found is not None:
            self._size -= found[1]
