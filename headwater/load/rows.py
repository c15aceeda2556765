"""The events in a file, each with the number of its line; and what CSV cells mean."""

import csv
import io
import itertools
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, NamedTuple, TypeAlias

from headwater.load.parquet import parquet_rows
from headwater.load.pipe import Pipe
from headwater.load.source import BYTE_ORDER_MARK, FormatError, Source
from headwater.rules import RuleError, check_property_name, parse_json

# What a CSV column must match in every cell to be numbers or booleans. A leading zero or plus makes a code, not a number.
NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")
BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
LONGEST_CELL = 10_000_000
BLOCK_BYTES = 196_608  # with what each event gets beside, nearly what a request takes
BLOCK_ROWS = 500

Read: TypeAlias = Callable[[str], Any]


class Row(NamedTuple):
    """One line, or row of Parquet: its number in the file, from 1, what tells it from all others, and its event; or what is wrong with it."""

    line: int
    key: str
    properties: Mapping[str, Any] | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of NDJSON, of which the first has the number `first`, without their ends, and the key of each; some may be blank."""

    first: int
    texts: list[bytes]
    keys: list[bytes]

    @property
    def numbers(self) -> list[int]:
        """The numbers of those that are not blank."""
        return [number for number, text in enumerate(self.texts, self.first) if text.strip()]

    def between(self, start: int, end: int) -> "Lines":
        """Some of them, by their places here."""
        return Lines(self.first + start, self.texts[start:end], self.keys[start:end])

    def __iter__(self) -> Iterator[Row]:
        """Their rows, read in full."""
        for number, (key, text) in enumerate(zip(self.keys, self.texts, strict=True), self.first):
            if (row := _read_line(number, key.decode(), text)) is not None:
                yield row


def _read_line(number: int, key: str, line: bytes) -> Row | None:
    """The row of a line of NDJSON; None for a blank one."""
    text = line.strip()
    if not text:
        return None
    try:
        properties = parse_json(text)
    except ValueError as error:
        return Row(number, key, None, f"is not JSON: {error}")
    if type(properties) is not dict:
        return Row(number, key, None, "is not a JSON object")
    return Row(number, key, properties)


def read_blocks(source: Source | Pipe, mapped: Callable[[str], bool] = lambda column: False) -> Iterator[Iterable[Row]]:
    """Every row, in order, in blocks, each to be read to its end before the next; blank lines are none. Raises FormatError, OSError, and EOFError for a cut gzip file.

    Of what is piped, a block is what has come. A CSV column's name may be against the rules where it is `mapped` to another.

    CSV has a header and commas; an empty cell is no property. A column is numbers when all its cells are (without leading
    zeros, so `02134` stays text), booleans when all are true or false, else text: that takes one reading more. Parquet is as
    headwater.load.parquet says.
    """
    if isinstance(source, Pipe) or (kind := source.format()) == "ndjson":
        with source.open() as content:
            number = 1
            for lines in _lines(content):
                keys = source.row_keys(number, lines)
                if number == 1:
                    lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
                yield Lines(number, lines, keys)
                number += len(lines)
    elif kind == "parquet":
        with source.open() as content:
            yield from _blocks(
                Row(n, source.row_key(n), properties, problem) for n, properties, problem in parquet_rows(content)
            )
    else:
        with source.open() as content:
            header, readers = _columns(content, mapped)
        with source.open() as content:
            yield from _blocks(_csv(content, header, readers, source.row_key))


def _blocks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while block := list(itertools.islice(rows, BLOCK_ROWS)):
        yield block


def _lines(content: IO[bytes]) -> Iterator[list[bytes]]:
    """The lines of each piece that is read, without their ends."""
    begun: list[bytes] = []  # a line whose end is not read yet
    while piece := content.read1(BLOCK_BYTES):  # type: ignore[attr-defined]  # all that Source and Pipe open have it
        lines: list[bytes] = piece.split(b"\n")
        begun.append(lines[0])
        if len(lines) > 1:
            lines[0] = b"".join(begun)
            begun = [lines.pop()]
            yield lines
    if last := b"".join(begun):
        yield [last]


def _csv(content: IO[bytes], header: list[str], readers: list[Read], row_key: Callable[[int], str]) -> Iterator[Row]:
    for number, cells in itertools.islice(_records(content), 1, None):
        if len(cells) != len(header):
            yield Row(number, row_key(number), None, f"has {len(cells)} cells where the header has {len(header)}")
            continue
        yield Row(
            number,
            row_key(number),
            {name: read(cell) for name, read, cell in zip(header, readers, cells, strict=True) if cell != ""},
        )


def _columns(content: IO[bytes], mapped: Callable[[str], bool]) -> tuple[list[str], list[Read]]:
    """The header of a CSV file and how each of its columns is read. Raises FormatError for a header that names no properties."""
    records = _records(content)
    _, header = next(records)
    for name in header:
        try:
            if not mapped(name):
                check_property_name(name)
        except RuleError as error:
            way_out = f"--map {shlex.quote(name)}=PROPERTY gives it another name"
            raise FormatError(f"its header cannot be used: {error.description} {way_out}") from None
    if len(set(header)) != len(header):
        raise FormatError("its header names a column twice")
    numbers = set(range(len(header)))
    booleans = set(numbers)
    for _, cells in records:
        if len(cells) == len(header):
            numbers -= {column for column in numbers if cells[column] and not NUMBER.fullmatch(cells[column])}
            booleans -= {column for column in booleans if cells[column] and cells[column] not in BOOLEANS}
            if not numbers and not booleans:
                break
    readers: list[Read] = [
        number if column in numbers else BOOLEANS.__getitem__ if column in booleans else str
        for column in range(len(header))
    ]
    return header, readers


def _records(content: IO[bytes]) -> Iterator[tuple[int, list[str]]]:
    """The CSV records with the numbers of their first lines; closes `content`. Bytes that are no UTF-8 are kept, for their row to be refused."""
    csv.field_size_limit(LONGEST_CELL)
    with io.TextIOWrapper(content, "utf-8-sig", "surrogateescape", newline="") as text:
        reader = csv.reader(text)
        line = 1
        try:
            for cells in reader:
                if cells:
                    yield line, cells
                line = reader.line_num + 1
        except csv.Error as error:
            raise FormatError(f"line {line} is not CSV: {error}") from None


def number(text: str) -> int | float:
    """A cell that matches NUMBER: an integer where it is written as one."""
    return float(text) if "." in text or "e" in text or "E" in text else int(text)
