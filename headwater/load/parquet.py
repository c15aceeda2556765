"""Rows of Parquet files. Needs pyarrow, which the extra `parquet` brings."""

import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import IO, Any

from headwater.load.source import FormatError

BATCH_ROWS = 5_000


def parquet_rows(content: IO[bytes]) -> Iterator[tuple[int, dict[str, Any] | None, str]]:
    """For every row its number from 1, its properties, or None and what is wrong with it.

    A null and a float that is not a number are no property, as an empty cell of CSV is none. Times are ISO 8601, those without a
    zone UTC; a decimal is a number, an integer where it is whole; bytes are text where they are UTF-8. Raises FormatError.
    """
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise FormatError("Parquet needs pyarrow: pip install 'headwater[parquet]'") from None
    number = 0
    try:
        for batch in ParquetFile(content).iter_batches(BATCH_ROWS):
            for row in batch.to_pylist():
                number += 1
                try:
                    yield number, {name: plain(value) for name, value in row.items() if not _missing(value)}, ""
                except ValueError as error:
                    yield number, None, str(error)
    except ArrowException as error:
        raise FormatError(f"row {number + 1} is not readable Parquet: {error}") from None


def plain(value: Any) -> Any:
    """A value of Arrow as JSON has it. Raises ValueError for one that JSON does not have."""
    if isinstance(value, dict):
        return {name: plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [plain(member) for member in value]
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise ValueError("has bytes that are not UTF-8, and so no text") from None
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise ValueError(f"has a value of type {type(value).__name__}, which JSON does not have")


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
