"""A row of a file: what every format's reader gives."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Row(NamedTuple):
    """One line, or row of Parquet: its number in the file, from 1, what tells it from all others, and its event; or what is wrong with it."""

    line: int
    key: str
    properties: Mapping[str, Any] | None
    problem: str = ""
