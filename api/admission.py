"""How many queries may be under way at once: of one key, and of all."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from headwater.query import QueryError


class Admission:
    """Counts queries under way, those that wait among them. Belongs to one event loop."""

    def __init__(self, most: int, most_per_key: int) -> None:
        self._most = most
        self._most_per_key = most_per_key
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def admitted(self, key_id: str) -> Iterator[None]:
        """A place for a query of a key for as long as it takes. Raises QueryError (429) where there is none."""
        if self._under_way[key_id] >= self._most_per_key:
            raise QueryError(
                "TooManyQueriesError",
                f"This key has {self._under_way[key_id]} queries under way, and may have no more; try again later.",
                429,
            )
        if self._under_way.total() >= self._most:
            raise QueryError(
                "TooManyQueriesError",
                f"{self._under_way.total()} queries are under way already; try again later.",
                429,
            )
        self._under_way[key_id] += 1
        try:
            yield
        finally:
            self._under_way[key_id] -= 1
            if not self._under_way[key_id]:
                del self._under_way[key_id]
