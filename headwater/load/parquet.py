"""Rows of Parquet files. Needs pyarrow, which the extra `parquet` brings."""

import math
from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import IO, Any
from uuid import UUID

from headwater.load.mapping import Columns, check_columns, nested, path_of
from headwater.load.source import FormatError
from headwater.rules import RuleError, check_property_name

BATCH_ROWS = 5_000


def parquet_rows(
    content: IO[bytes], columns: Columns, needed: Collection[str] = (), besides: Collection[str] = ()
) -> Iterator[tuple[int, dict[str, Any] | None, str]]:
    """For every row its number from 1, its properties, or None and what is wrong with it. Columns that are left out, and not `needed`, are not read;
    `besides` are those that all rows have, though the file does not.

    A null and a float that is not a number are no property, as an empty cell of CSV is none. Times are ISO 8601 with microseconds, those without a
    zone UTC; a decimal is a number, an integer where it is whole; a column of 32-bit floats has the shortest decimals that they stand for; bytes are text where they are UTF-8, a UUID is its text, and
    a map whose keys may be properties' names an object, else a list of pairs. A column's dots make objects, as `path_of` says. Raises FormatError.
    """
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise FormatError("Parquet needs pyarrow: pip install 'headwater[parquet]'") from None
    number = 0
    try:
        file = ParquetFile(content, coerce_int96_timestamp_unit="us")  # in nanoseconds the year 1 would be another
        names = file.schema_arrow.names
        if len(set(names)) != len(names):
            raise FormatError("it names a column twice")
        check_columns([*names, *besides], columns.names, needed)
        left_out = columns.left_out.difference(name.partition(".")[0] for name in needed).difference(needed)
        kept = [name for name in names if name not in left_out] if left_out else None
        paths = {name: path_of(name, columns) for name in names}
        for batch in file.iter_batches(BATCH_ROWS, columns=kept):
            for row in _rows(_readable(batch)):
                number += 1
                try:
                    if isinstance(row, Exception):
                        raise row
                    values = ((paths[name], plain(value)) for name, value in row.items() if not _missing(value))
                    yield number, nested(values), ""
                except (ValueError, OverflowError) as error:
                    yield number, None, str(error)
    except ArrowException as error:
        raise FormatError(f"row {number + 1} is not readable Parquet: {error}") from None


def _rows(batch: Any) -> Iterator[dict[str, Any] | Exception]:
    """The rows of a batch; for one with a value that Python does not have, such as the year 10000, the error."""
    try:
        yield from batch.to_pylist()
    except (ValueError, OverflowError):
        for number in range(batch.num_rows):
            try:
                [row] = batch.slice(number, 1).to_pylist()
            except (ValueError, OverflowError) as error:
                row = error
            yield row


def _readable(batch: Any) -> Any:
    """The batch with values that Python has, and means the same by."""
    import pyarrow

    schema = _in_microseconds(batch.schema)
    if not batch.schema.equals(schema):
        batch = batch.cast(schema, safe=False)
    for place, field in enumerate(schema):
        if field.type in (pyarrow.float16(), pyarrow.float32()):
            shortest = batch.column(place).cast(pyarrow.float32()).cast(pyarrow.string()).cast(pyarrow.float64())
            batch = batch.set_column(place, field.name, shortest)
    return batch


def _in_microseconds(schema: Any) -> Any:
    """The schema with microseconds in the place of nanoseconds, which Python's times do not have."""
    import pyarrow

    def coarser(kind: Any) -> Any:
        types = pyarrow.types
        if types.is_timestamp(kind) and kind.unit == "ns":
            return pyarrow.timestamp("us", kind.tz)
        if types.is_time64(kind) and kind.unit == "ns":
            return pyarrow.time64("us")
        if types.is_duration(kind) and kind.unit == "ns":
            return pyarrow.duration("us")
        if types.is_list(kind):
            return pyarrow.list_(kind.value_field.with_type(coarser(kind.value_type)))
        if types.is_struct(kind):
            return pyarrow.struct([field.with_type(coarser(field.type)) for field in kind])
        return kind

    return pyarrow.schema([field.with_type(coarser(field.type)) for field in schema])


def plain(value: Any) -> Any:
    """A value of Arrow as JSON has it. Raises ValueError for one that JSON does not have."""
    if isinstance(value, dict):
        return {name: plain(member) for name, member in value.items()}
    if isinstance(value, list) and value and all(type(each) is tuple and _is_name(each[0]) for each in value):
        return {name: plain(member) for name, member in value}  # a map, as Arrow gives it
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
    if isinstance(value, UUID):
        return str(value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise ValueError(f"has a value of type {type(value).__name__}, which JSON does not have")


def _is_name(value: object) -> bool:
    if type(value) is not str:
        return False
    try:
        check_property_name(value)
    except RuleError:
        return False
    return True


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
