"""Finding the rows that ClickHouse refuses, so that the others are stored."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from sinks.errors import MEMORY_LIMIT_EXCEEDED, StoreError

T = TypeVar("T")
Insert = Callable[[Sequence[T]], None]


def insert_but_refused(rows: Sequence[T], insert: Insert[T], trial: Insert[T]) -> Iterator[tuple[T, StoreError]]:
    """Insert every row that is taken; yield each that is not, with the server's error.

    A batch that is refused for a row's fault is halved until the row stands alone: about log2 of the batch in extra
    inserts for each such row. A row that stands alone is refused only if `trial`, an insert into no table, refuses it
    too. A batch that is too much for the server's memory is halved as well, but a single row never is refused for that.
    Raises StoreError when an insert fails for another reason; what was inserted by then may be inserted again.
    """
    pending = [(0, len(rows))]
    while pending:
        start, end = pending.pop()
        try:
            insert(rows[start:end])
        except StoreError as error:
            if end - start > 1 and (error.row_fault or error.code == MEMORY_LIMIT_EXCEEDED):
                middle = (start + end) // 2
                pending += [(middle, end), (start, middle)]
            elif error.row_fault and _refused(rows[start:end], trial):
                yield rows[start], error
            else:
                raise


def _refused(rows: Sequence[T], trial: Insert[T]) -> bool:
    try:
        trial(rows)
    except StoreError as error:
        if error.row_fault:
            return True
        raise
    return False
